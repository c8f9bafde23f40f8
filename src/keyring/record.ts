import {
  AirsealError,
  canonicalJson,
  isObject,
  parseJson,
  publicKeyFromPem,
  type Json,
  type JsonObject,
  type PublicKey,
} from '../core/index.ts'
import { parseKeyPolicy, policyJson, type KeyPolicy } from './policy.ts'

/** Life of a key: it signs and verifies; it only verifies; neither; it is known to be in other hands. */
export type KeyState = 'active' | 'verify-only' | 'retired' | 'compromised'

/** A moment, told twice: by this machine's clock, and by the log, which no clock can move. */
export interface Mark {
  /** Unix milliseconds. */
  readonly time: number
  /** Index of the own log. */
  readonly index: number
}

/** What the registry knows of one key. */
export interface KeyRecord {
  readonly name: string
  /** Where the private key is; `file:` paths are relative to the data directory. Never holds a secret. */
  readonly uri: string
  readonly publicKey: PublicKey
  readonly state: KeyState
  /** Signatures count from this log index on. */
  readonly validFrom: Mark
  /** Set when the key stopped signing: the first log index at which its signatures no longer count. */
  readonly validTo: Mark | null
  /** Set when it is compromised: the first log index at which its signatures no longer count. */
  readonly compromisedFrom: Mark | null
  /** Why it is no longer active, in the operator's words; null: nothing was said. */
  readonly reason: string | null
  /** The key that took over; null: none. */
  readonly successor: string | null
  /** Null: signs and attests whatever its callers may ask for, and no bare digest. */
  readonly policy: KeyPolicy | null
}

/** A record with the revision that it has in the registry. */
export interface RegisteredKey extends KeyRecord {
  readonly revision: number
}

const STATES: readonly KeyState[] = ['active', 'verify-only', 'retired', 'compromised']
const VERSION = 1
const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/
/** Names that commands, files or answers use for something else. */
const RESERVED: ReadonlySet<string> = new Set(['log', 'default', 'all', 'none'])
const MAX_REASON = 1_000

/**
 * Checks a name: it becomes part of file names, so lower case only.
 * @throws AirsealError REQUEST_INVALID
 */
export function checkKeyName(name: string): string {
  if (!NAME.test(name) || name.includes('..') || RESERVED.has(name)) {
    throw new AirsealError(
      'REQUEST_INVALID',
      `name "${name.slice(0, 80)}": want 1 to 63 of a-z 0-9 . _ - and none of ${[...RESERVED].join(', ')}`,
    )
  }
  return name
}

/** @throws AirsealError REQUEST_INVALID */
export function checkReason(reason: string | null): string | null {
  if (reason !== null && reason.length > MAX_REASON)
    throw new AirsealError('REQUEST_INVALID', `reason is longer than ${MAX_REASON} characters`)
  return reason
}

/** Text that the registry stores: canonical JSON. */
export function serialiseKey(record: KeyRecord): string {
  return canonicalJson({ version: VERSION, ...keyJson(record) })
}

/** A key as answers and `public/keys.json` show it; everything in it is public. */
export function keyJson(record: KeyRecord): JsonObject {
  const { publicKey, policy, validFrom, validTo, compromisedFrom } = record
  return {
    name: record.name,
    uri: record.uri,
    publicKeyPem: publicKey.pem,
    keyId: publicKey.id,
    algorithm: publicKey.algorithm.name,
    state: record.state,
    validFrom: { ...validFrom },
    validTo: validTo && { ...validTo },
    compromisedFrom: compromisedFrom && { ...compromisedFrom },
    reason: record.reason,
    successor: record.successor,
    policy: policy && policyJson(policy),
  }
}

/** Reads what {@link serialiseKey} wrote. @throws AirsealError STORAGE */
export function parseKey(text: string): KeyRecord {
  const stored = parseJson(text, { code: 'STORAGE', what: 'a stored key' })
  if (!isObject(stored) || stored['version'] !== VERSION) throw damaged('version')
  const publicKey = publicKeyFromPem(textOf(stored, 'publicKeyPem'))
  if (publicKey.id !== stored['keyId']) throw damaged('keyId')
  const state = STATES.find((one) => one === stored['state'])
  if (state === undefined) throw damaged('state')
  const policy = stored['policy'] ?? null
  const validFrom = markOf(stored['validFrom'])
  if (validFrom === null) throw damaged('validFrom')
  return {
    name: textOf(stored, 'name'),
    uri: textOf(stored, 'uri'),
    publicKey,
    state,
    validFrom,
    validTo: markOf(stored['validTo']),
    compromisedFrom: markOf(stored['compromisedFrom']),
    reason: optionalText(stored, 'reason'),
    successor: optionalText(stored, 'successor'),
    policy: policy === null ? null : parseKeyPolicy(policy),
  }
}

function markOf(value: Json | undefined): Mark | null {
  if (value === undefined || value === null) return null
  const { time, index } = isObject(value) ? value : {}
  if (!isCount(time) || !isCount(index)) throw damaged('a mark')
  return { time, index }
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function textOf(stored: JsonObject, member: string): string {
  const value = stored[member]
  if (typeof value !== 'string') throw damaged(member)
  return value
}

function optionalText(stored: JsonObject, member: string): string | null {
  return (stored[member] ?? null) === null ? null : textOf(stored, member)
}

function damaged(member: string): AirsealError {
  return new AirsealError('STORAGE', `a stored key has no valid ${member}`)
}
