import { fromBase64, isObject } from '../core/index.ts'
import type { Json, JsonObject } from '../core/index.ts'
import type { TransparencyLog } from '../log/index.ts'
import { requestError, SCHEMA, schemaError } from './problems.ts'
import { parseVerifier, subjectKey } from './verifier.ts'

/** Ids looked at for one criterion. A criterion that fits more entries gives the oldest ones. */
const MAX_RESULTS = 1000
const MAX_SUBJECT = 512
const HASH = /^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$/
const PREFIX_BY_LENGTH: ReadonlyMap<number, string> = new Map([
  [40, 'sha1:'],
  [64, 'sha256:'],
  [128, 'sha512:'],
])
const FORMATS: ReadonlySet<string> = new Set(['pgp', 'x509', 'minisign', 'ssh', 'tuf'])

/** Ids of the entries that carry the criteria: any of them, or with operator `and` all of them. */
export async function searchEntries(body: Json, log: TransparencyLog): Promise<readonly string[]> {
  if (body === null) throw schemaError(SCHEMA.required, 'query in body is required')
  if (!isObject(body)) throw schemaError(SCHEMA.type, 'query in body must be of type object')
  const operator = body['operator'] ?? 'or'
  if (operator !== 'and' && operator !== 'or')
    throw schemaError(606, 'operator in body should be one of [and or]')
  const keys = [
    hashKey(body),
    publicKeyKey(body),
    textKey(body, 'email'),
    textKey(body, 'subject'),
  ].filter((key) => key !== null)
  const results = await Promise.all(keys.map((key) => log.search(key, MAX_RESULTS)))
  const [first = [], ...others] = results
  if (operator === 'or') return [...new Set(results.flat())]
  return others
    .map((ids) => new Set(ids))
    .reduce<readonly string[]>((kept, ids) => kept.filter((id) => ids.has(id)), [...new Set(first)])
}

function text(body: JsonObject, name: string): string | null {
  const value = body[name] ?? null
  if (value !== null && typeof value !== 'string')
    throw schemaError(SCHEMA.type, `${name} in body must be of type string: "${typeof value}"`)
  return value
}

function hashKey(body: JsonObject): string | null {
  const value = text(body, 'hash')
  if (value === null) return null
  if (!HASH.test(value))
    throw schemaError(SCHEMA.pattern, `hash in body should match '${HASH.source}'`)
  const lower = value.toLowerCase()
  return lower.includes(':') ? lower : `${PREFIX_BY_LENGTH.get(lower.length) ?? ''}${lower}`
}

function textKey(body: JsonObject, name: string): string | null {
  const value = text(body, name)
  if (value === null) return null
  if (value === '') throw schemaError(604, `${name} in body should be at least 1 chars long`)
  if (value.length > MAX_SUBJECT)
    throw schemaError(603, `${name} in body should be at most ${MAX_SUBJECT} chars long`)
  return subjectKey(value)
}

/** Unlike Rekor, a key finds entries of every kind: all of them carry its hash in one form. */
function publicKeyKey(body: JsonObject): string | null {
  const publicKey = body['publicKey'] ?? null
  if (publicKey === null) return null
  if (!isObject(publicKey))
    throw schemaError(SCHEMA.type, 'publicKey in body must be of type object')
  const format = text(publicKey, 'format')
  if (format === null) throw schemaError(SCHEMA.required, 'publicKey.format in body is required')
  if (!FORMATS.has(format))
    throw schemaError(606, 'publicKey.format in body should be one of [pgp x509 minisign ssh tuf]')
  if (format !== 'x509')
    throw requestError('the PKI format requested is not supported by this server')
  try {
    return parseVerifier(fromBase64(text(publicKey, 'content') ?? '', 'publicKey.content'))
      .searchKey
  } catch {
    throw requestError('public key provided could not be parsed')
  }
}
