import { isObject, utf8 } from '../core/index.ts'
import type { Json, JsonObject } from '../core/index.ts'
import { leafHash } from '../tlog/index.ts'
import { dsse } from './dsse.ts'
import { hashedrekord } from './hashedrekord.ts'
import { intoto001, intoto002 } from './intoto.ts'
import type { EntryKind, Purpose } from './kind.ts'
import type { CanonicalEntry } from './model.ts'
import { entryError, SCHEMA, schemaError } from './problems.ts'
import type { VerifierCache } from './verifier.ts'

const KINDS: ReadonlyMap<string, ReadonlyMap<string, EntryKind>> = new Map([
  ['hashedrekord', new Map([['0.0.1', hashedrekord]])],
  ['dsse', new Map([['0.0.1', dsse]])],
  [
    'intoto',
    new Map([
      ['0.0.1', intoto001],
      ['0.0.2', intoto002],
    ]),
  ],
])

/** Kinds that Rekor knows and this log does not take: the answer differs from that to a name nobody knows. */
const OTHER_KINDS: ReadonlySet<string> = new Set([
  'alpine',
  'cose',
  'helm',
  'jar',
  'rekord',
  'rfc3161',
  'rpm',
  'tuf',
])

/** Semantic Versioning 2.0.0, as the interface description has it. */
const VERSION =
  /^(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})\.(0|[1-9]\d{0,9})(?:-[0-9A-Za-z.-]{1,64})?(?:\+[0-9A-Za-z.-]{1,64})?$/

const MAX_SEARCH_KEYS = 64

interface ProposedEntry {
  readonly kind: string
  readonly apiVersion: string
  readonly spec: JsonObject
}

/**
 * Checks one attacker-controlled proposed entry, signatures included, and gives its leaf.
 * @throws AirsealError ENTRY_SCHEMA (outer members), ENTRY_INVALID (kind, version and what is inside)
 */
export async function canonicaliseEntry(
  proposed: Json,
  purpose: Purpose,
  verifiers: VerifierCache,
): Promise<CanonicalEntry> {
  const { kind, apiVersion, spec } = parseOuter(proposed)
  const versions = KINDS.get(kind)
  if (versions === undefined)
    throw entryError(`entry kind '${kind}' is not enabled for submission on this server`)
  const check = versions.get(apiVersion)
  if (check === undefined) {
    throw entryError(
      `entry kind '${kind}' does not support inserting entries of version '${apiVersion}'`,
    )
  }
  const checked = await check(spec, purpose, verifiers)
  const body = utf8(`{"apiVersion":"${apiVersion}","kind":"${kind}","spec":${checked.spec}}`)
  const searchKeys = [...new Set(checked.searchKeys)].slice(0, MAX_SEARCH_KEYS)
  return { body, leafHash: leafHash(body), searchKeys }
}

function parseOuter(proposed: Json): ProposedEntry {
  if (proposed === null) throw schemaError(SCHEMA.required, 'proposedEntry in body is required')
  if (!isObject(proposed))
    throw schemaError(SCHEMA.type, 'proposedEntry in body must be of type object')
  const { kind = null, apiVersion = null, spec = null } = proposed
  if (typeof kind !== 'string' || !(KINDS.has(kind) || OTHER_KINDS.has(kind))) {
    throw schemaError(
      SCHEMA.plain,
      `invalid kind value: ${JSON.stringify(kind ?? '').slice(0, 100)}`,
    )
  }
  if (apiVersion === null) throw schemaError(SCHEMA.required, 'apiVersion in body is required')
  if (typeof apiVersion !== 'string')
    throw schemaError(
      SCHEMA.type,
      `apiVersion in body must be of type string: "${typeof apiVersion}"`,
    )
  if (!VERSION.test(apiVersion))
    throw schemaError(SCHEMA.pattern, `apiVersion in body should match '${VERSION.source}'`)
  if (spec === null) throw schemaError(SCHEMA.required, 'spec in body is required')
  if (!isObject(spec)) throw schemaError(SCHEMA.type, 'spec in body must be of type object')
  return { kind, apiVersion, spec }
}
