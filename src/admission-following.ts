import type { Admission } from './admission-service.ts'
import type { AdmissionConfig } from './config.ts'
import {
  AirsealError,
  canonicalJson,
  isObject,
  publicKeyFromPem,
  sha256Hex,
  utf8,
  type Json,
  type JsonObject,
} from './core/index.ts'
import { siteTrustOf, type SiteTrust } from './evidence/index.ts'
import type { IndexRange, TrustedKey } from './verify/index.ts'

/** What a replica follows: all that verdicts rest on, and nothing that is secret. */
export interface Followed {
  readonly version: string
  readonly trust: SiteTrust
  /** Policies and what they refer to, one JSON text each. */
  readonly policies: readonly string[]
  readonly settings: Pick<AdmissionConfig, 'parity' | 'uncoveredImages'>
  readonly keysByUri: (uri: string) => readonly TrustedKey[]
}

/** The state of the appliance, as its replicas read it. The version changes with everything in it. */
export function followedState(
  admission: Admission,
  trust: SiteTrust,
  settings: Pick<AdmissionConfig, 'parity' | 'uncoveredImages'>,
  trustedRoot: Uint8Array,
  uris: ReadonlyMap<string, readonly string[]>,
): { readonly version: string; readonly body: Json } {
  const state: JsonObject = {
    format: 1,
    trustVersion: trust.version,
    trustedRoot: new TextDecoder().decode(trustedRoot),
    keys: trust.keys.map(({ name, key, validFor, validIn }) => ({
      name,
      pem: key.pem,
      validFor: validFor === null ? null : { ...validFor },
      validIn: (validIn ?? null)?.map((range) => ({ ...range })) ?? null,
    })),
    uris: Object.fromEntries([...uris].map(([uri, ids]) => [uri, [...ids]])),
    revoked: {
      digests: Object.fromEntries(trust.revoked.digests),
      entries: Object.fromEntries(trust.revoked.entries),
    },
    settings: { parity: settings.parity, uncoveredImages: settings.uncoveredImages },
    policies: admission.documents().map(({ source }) => canonicalJson(source)),
  }
  const version = versionOf(state)
  return { version, body: { ...state, version } }
}

function versionOf(state: JsonObject): string {
  return sha256Hex(utf8(canonicalJson(state)))
}

/**
 * Reads the state that an appliance gave. A part that can't be read refuses all of it: half a state would be another one.
 * @throws AirsealError TRUST_INVALID, KEY_INVALID
 */
export function parseFollowed(body: Json): Followed {
  if (!isObject(body)) throw bad('is no object')
  const { version, ...state } = body
  if (body['format'] !== 1 || version !== versionOf(state))
    throw bad('is of another format, or incomplete')
  const keys = list(body['keys']).map(keyOf)
  const uris = isObject(body['uris']) ? body['uris'] : {}
  const revoked = isObject(body['revoked']) ? body['revoked'] : {}
  const settings = isObject(body['settings']) ? body['settings'] : {}
  const { parity, uncoveredImages } = settings
  if (
    (parity !== 'none' && parity !== 'kyverno-1.19') ||
    (uncoveredImages !== 'allow' && uncoveredImages !== 'deny')
  )
    throw bad('has unknown settings')
  return {
    version,
    trust: siteTrustOf({
      version: text(body['trustVersion']),
      keys,
      trustedRoot: utf8(text(body['trustedRoot'])),
      revoked: { digests: mapOf(revoked['digests']), entries: mapOf(revoked['entries']) },
    }),
    policies: texts(body['policies']),
    settings: { parity, uncoveredImages },
    keysByUri: (uri) => {
      const ids = Object.hasOwn(uris, uri) ? texts(uris[uri]) : []
      return keys.filter(({ key }) => ids.includes(key.id))
    },
  }
}

function keyOf(value: Json): TrustedKey {
  if (!isObject(value)) throw bad('has a key that is no object')
  const { validFor, validIn } = value
  return {
    name: text(value['name']),
    key: publicKeyFromPem(text(value['pem'])),
    validFor: validFor === null || validFor === undefined ? null : validityOf(validFor),
    validIn: validIn === null || validIn === undefined ? null : list(validIn).map(rangeOf),
  }
}

function validityOf(value: Json): { start: number; end: number | null } {
  if (!isObject(value)) throw bad('has a validity that is no object')
  return { start: number(value['start']), end: value['end'] === null ? null : number(value['end']) }
}

function rangeOf(value: Json): IndexRange {
  if (!isObject(value)) throw bad('has a range that is no object')
  const { first, last } = value
  return {
    logId: text(value['logId']),
    first: first === null ? null : number(first),
    last: last === null ? null : number(last),
  }
}

function number(value: Json | undefined): number {
  if (typeof value !== 'number') throw bad('lacks a number')
  return value
}

function text(value: Json | undefined): string {
  if (typeof value !== 'string') throw bad('lacks a text')
  return value
}

function list(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw bad('lacks a list')
  return value
}

function texts(value: Json | undefined): readonly string[] {
  return list(value).map(text)
}

function mapOf(value: Json | undefined): ReadonlyMap<string, string> {
  if (!isObject(value)) throw bad('lacks an object')
  return new Map(Object.entries(value).map(([name, why]) => [name, text(why)]))
}

function bad(problem: string): AirsealError {
  return new AirsealError('TRUST_INVALID', `the state of the appliance ${problem}`)
}
