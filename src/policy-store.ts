import { AirsealError, isObject, type Json } from './core/index.ts'
import {
  isPolicyDocument,
  parsePolicyDocument,
  type PolicyFinder,
  type VerificationPolicy,
} from './evidence/index.ts'
import type { AuditRow, Records, StoredDocument } from './log/index.ts'

/** Characters of one policy. */
const MAX_POLICY = 1024 * 1024
const KIND = 'policy'

/** The policies of a site. Everything that changes them goes through here, so that a change counts for the next question. */
export interface PolicyStore extends PolicyFinder {
  /** By name, ascending. */
  all(): Promise<readonly StoredDocument[]>
  /** Null when there is none. */
  stored(name: string): Promise<StoredDocument | null>
  /** Adds or replaces. @throws AirsealError CONFLICT when another change came between, TOO_LARGE */
  put(name: string, text: string, audit: AuditRow): Promise<StoredDocument>
}

export function createPolicyStore(records: Records): PolicyStore {
  const parsed = new Map<string, VerificationPolicy>()
  let generation = 0
  return {
    get generation() {
      return generation
    },
    find: async (name) => {
      const known = parsed.get(name)
      if (known !== undefined) return known
      const before = generation
      const stored = await records.document(KIND, name)
      if (stored === null) return null
      const policy = await nativePolicy(stored)
      if (before === generation) parsed.set(name, policy)
      return policy
    },
    all: () => records.documents(KIND),
    stored: (name) => records.document(KIND, name),
    put: async (name, text, audit) => {
      if (text.length > MAX_POLICY) throw new AirsealError('TOO_LARGE', 'the policy is too large')
      const before = await records.document(KIND, name)
      const document = { kind: KIND, name, expected: before?.revision ?? null, text, audit }
      try {
        return await records.putDocument(document)
      } finally {
        // Also after a failure, whose outcome may be unknown.
        generation++
        parsed.clear()
      }
    },
  }
}

async function nativePolicy({ name, text }: StoredDocument): Promise<VerificationPolicy> {
  const document = await readPolicyText(text)
  if (isPolicyDocument(document)) return parsePolicyDocument(document)
  const kind = isObject(document) && typeof document['kind'] === 'string' ? document['kind'] : ''
  throw new AirsealError(
    'POLICY_INVALID',
    `the policy "${name}" is of kind ${kind.slice(0, 80)}, want VerificationPolicy`,
  )
}

/**
 * One document in YAML or JSON: nothing twice, no aliases, no tags of its own.
 * @throws AirsealError POLICY_INVALID
 */
export async function readPolicyText(text: string): Promise<Json> {
  if (text.length > MAX_POLICY) throw new AirsealError('TOO_LARGE', 'the policy is too large')
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text, { strict: true, uniqueKeys: true, schema: 'core' })
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined) {
    const [first = ''] = problem.message.split('\n')
    throw new AirsealError('POLICY_INVALID', `the policy is not YAML: ${first}`)
  }
  try {
    // Through JSON, so that nothing but JSON comes out.
    return JSON.parse(JSON.stringify(document.toJS({ maxAliasCount: 0 }) ?? null)) as Json
  } catch (cause) {
    throw new AirsealError('POLICY_INVALID', 'the policy has aliases or values that are no JSON', {
      cause,
    })
  }
}
