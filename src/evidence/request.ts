import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { predicateTypeUri, type TrustedRoot } from '../sigstore/index.ts'
import type { SignerPolicy } from '../verify/index.ts'
import { parseRequestRoot, parseSigner, SIGNER_MEMBERS } from './signer-request.ts'

/** What to verify, from a command or from `POST /v1/verify`. */
export interface VerifyRequest {
  readonly images: readonly string[]
  /** Name of a trusted key, or a public key as PEM; null: any trusted key. */
  readonly key: string | null
  /** Annotations that must be signed. */
  readonly annotations: Readonly<Record<string, string>>
  /** Predicate type URI of the attestations asked for; null: signatures are asked for. */
  readonly predicateType: string | null
  /** Repository names of which legacy signatures must bear one; null: not compared. */
  readonly identity: readonly string[] | null
  readonly requireLog: boolean
  /** Whose certificate must have signed; null: keys are asked for. */
  readonly signer: SignerPolicy | null
  readonly requireSct: boolean
  /** Distinct authorities that must have stamped the signature; null: none need have. */
  readonly timestampThreshold: number | null
  /** Trusted for this request in place of the site's; null: the site's. */
  readonly trustedRoot: TrustedRoot | null
}

const MEMBERS: readonly string[] = [
  'images',
  'key',
  'annotations',
  'type',
  'identity',
  'requireLog',
  'requireSct',
  'timestampThreshold',
  'trustedRoot',
  ...SIGNER_MEMBERS,
]
const MAX_IMAGES = 100
const MAX_LIST = 64
const MAX_TEXT = 4096

/**
 * Reads the body of `POST /v1/verify`: `images`, and optionally `key`, `annotations`, `type` (a predicate type's name or URI: then
 * attestations are verified), `identity` (a name or a list), `requireLog` (default true); for certificates the members of {@link parseSigner} in place of
 * `key`, `requireSct` (default true), `timestampThreshold` and `trustedRoot`.
 * @throws AirsealError REQUEST_INVALID naming the member, PREDICATE_INVALID for an unknown type, TRUST_INVALID
 */
export function parseVerifyRequest(body: Json): VerifyRequest {
  if (!isObject(body)) throw new AirsealError('REQUEST_INVALID', 'the body must be a JSON object')
  for (const name of Object.keys(body)) {
    // A misspelt demand that is passed over would be a demand that is not made.
    if (!MEMBERS.includes(name))
      throw invalid(name.slice(0, 80), `is not known; known: ${MEMBERS.join(', ')}`)
  }
  const type = text(body, 'type')
  const key = text(body, 'key')
  const signer = parseSigner(body)
  if (key !== null && signer !== null) {
    throw invalid('key', 'and a certificate identity are two questions: ask one at a time')
  }
  return {
    images: texts(body['images'] ?? [], 'images', MAX_IMAGES),
    key,
    annotations: annotations(body['annotations'] ?? {}),
    predicateType: type === null ? null : predicateTypeUri(type),
    identity: identity(body['identity'] ?? null),
    requireLog: flag(body, 'requireLog'),
    signer,
    requireSct: flag(body, 'requireSct'),
    timestampThreshold: threshold(body['timestampThreshold'] ?? null),
    trustedRoot: parseRequestRoot(body['trustedRoot']),
  }
}

function flag(members: JsonObject, name: string): boolean {
  const value = members[name] ?? true
  if (typeof value !== 'boolean') throw invalid(name, 'must be true or false')
  return value
}

function threshold(value: Json): number | null {
  if (value === null) return null
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > MAX_LIST) {
    throw invalid('timestampThreshold', `must be a whole number from 1 to ${MAX_LIST}`)
  }
  return value
}

function identity(value: Json): readonly string[] | null {
  return value === null
    ? null
    : texts(typeof value === 'string' ? [value] : value, 'identity', MAX_LIST)
}

function texts(value: Json, name: string, limit: number): readonly string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > limit) {
    throw invalid(name, `must be a list of 1 to ${limit} strings`)
  }
  return value.map((item) => {
    if (typeof item !== 'string' || item === '' || item.length > MAX_TEXT) {
      throw invalid(name, `must hold strings of 1 to ${MAX_TEXT} characters`)
    }
    return item
  })
}

function text(members: JsonObject, name: string): string | null {
  const value = members[name] ?? null
  if (value === null) return null
  if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT) {
    throw invalid(name, `must be a string of 1 to ${MAX_TEXT} characters`)
  }
  return value
}

function annotations(value: Json): Readonly<Record<string, string>> {
  if (!isObject(value)) throw invalid('annotations', 'must be an object of strings')
  const entries = Object.entries(value).map(([name, item]): [string, string] => {
    if (
      name === '' ||
      typeof item !== 'string' ||
      name.length > MAX_TEXT ||
      item.length > MAX_TEXT
    ) {
      throw invalid('annotations', `must hold strings of at most ${MAX_TEXT} characters`)
    }
    return [name, item]
  })
  if (entries.length > MAX_LIST) throw invalid('annotations', `has more than ${MAX_LIST} members`)
  return Object.fromEntries(entries)
}

function invalid(name: string, problem: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `${name} ${problem}`)
}
