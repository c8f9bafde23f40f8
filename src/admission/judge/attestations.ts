import { AirsealError, isObject, parseJson, type Json, type JsonObject } from '../../core/index.ts'
import { evaluateConditions } from '../expression/conditions.ts'
import type { Scope } from '../expression/variables.ts'
import type { Attestation } from '../policy/verify-entry.ts'
import { judgeSet, type ImageQuestion, type Problem, type SetVerdict } from './attestors.ts'
import type { Finding } from './ports.ts'

/** What the attestations of an entry came to; `predicates` by the names that the policy gives them. */
export interface AttestationVerdict extends SetVerdict {
  readonly predicates: JsonObject
}

const CUSTOM = 'https://cosign.sigstore.dev/attestation/v1'
/** Members that a predicate never takes the place of. */
const RESERVED: readonly string[] = [
  'request',
  'images',
  'image',
  'element',
  'serviceAccountName',
  'serviceAccountNamespace',
]

/**
 * Whether every attestation that the entry asks for is there, by its attestors, and meets its conditions. All statements of the type that verify
 * must meet them; with none there is nothing to meet, and the answer is no.
 */
export async function judgeAttestations(
  question: ImageQuestion,
  attestations: readonly Attestation[],
  scope: Scope,
): Promise<AttestationVerdict> {
  const predicates: JsonObject = {}
  for (const [index, attestation] of attestations.entries()) {
    const path = `.attestations[${index}]`
    // Only Kyverno's own laxness comes here without attestors: then anybody would do, and nobody can be asked for.
    if (attestation.attestors.length === 0)
      return {
        ...refused(
          path,
          'POLICY_UNSUPPORTED',
          'an attestation without attestors is not supported by airseal',
        ),
        predicates,
      }
    for (const [at, set] of attestation.attestors.entries()) {
      const verdict = await judgeSet(set, `${path}.attestors[${at}]`, question, {
        predicateType: attestation.type,
        check: (finding) => checkPredicates(finding, attestation, scope, predicates),
      })
      if (verdict.outcome !== 'verified') return { ...verdict, predicates }
    }
  }
  return { outcome: 'verified', problems: [], signers: [], predicates }
}

function checkPredicates(
  { statements }: Finding,
  attestation: Attestation,
  scope: Scope,
  named: JsonObject,
): Omit<Problem, 'path'> | null {
  for (const statement of statements) {
    const read = readPredicate(statement['predicate'] ?? null, attestation.type)
    if (read === null)
      return {
        code: 'PREDICATE_INVALID',
        message: 'failed to extract predicate from statement: it is no object',
        remedy: 'Attest a predicate that is a JSON object.',
      }
    if (attestation.name !== '') named[attestation.name] ??= read
    else for (const [name, value] of Object.entries(read)) named[name] ??= value
    const verdict = holds(attestation, scope, read)
    if (verdict !== null) return verdict
  }
  return null
}

function holds(
  { conditions, type }: Attestation,
  scope: Scope,
  predicate: JsonObject,
): Omit<Problem, 'path'> | null {
  if (conditions.length === 0) return null
  const remedy = 'Attest what the conditions of the policy ask for, or change them.'
  try {
    const { holds: met, message } = evaluateConditions(conditions, {
      ...scope,
      members: merged(scope.members, predicate),
    })
    if (met) return null
    const why = message === '' ? 'its conditions do not hold' : message
    return {
      code: 'CONDITION_NOT_MET',
      message: `attestation checks failed for predicate ${type}: ${why}`,
      remedy,
    }
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return {
      code: thrown.code,
      message: `attestation checks failed for predicate ${type}: ${thrown.message}`,
      remedy,
    }
  }
}

/** The predicate at the root of what variables see, as Kyverno has it; it can't pretend to be the request. */
function merged(members: Json, predicate: JsonObject): Json {
  const base = isObject(members) ? members : {}
  const own = Object.entries(predicate).filter(([name]) => !RESERVED.includes(name))
  return { ...base, ...Object.fromEntries(own) }
}

/** cosign wraps custom predicates: `Data` is the text of what was attested. */
function readPredicate(predicate: Json, type: string): JsonObject | null {
  if (!isObject(predicate)) return null
  const { Data } = predicate
  if (type !== CUSTOM || typeof Data !== 'string' || !Data.trimStart().startsWith('{'))
    return predicate
  try {
    return { ...predicate, Data: parseJson(Data) }
  } catch {
    return predicate
  }
}

function refused(path: string, code: string, message: string): SetVerdict {
  return {
    outcome: 'error',
    problems: [{ path, code, message, remedy: 'Name the attestors in the policy.' }],
    signers: [],
  }
}
