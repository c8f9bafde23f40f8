import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto'
import { fromHex, sha256Hex, type AirsealError } from '../core/index.ts'
import { awsFault } from './aws-fault.ts'

/** A client of the door. */
export interface AwsCredential {
  readonly accessKeyId: string
  /** `AWS4` and the secret access key: where the derivation begins. Outside of JavaScript's heap. */
  readonly seed: KeyObject
}

export interface SignedRequest {
  readonly method: string
  /** As it stands in the request line. */
  readonly url: string
  /** Name, value, name, value…, as they came. */
  readonly rawHeaders: readonly string[]
  readonly body: Uint8Array
}

/** Who signed a request, and for which region. */
export interface AwsIdentity {
  readonly accessKeyId: string
  readonly region: string
  /** Of the request, 64 hex digits: the same request has the same one. */
  readonly signature: string
}

/** How far the client's clock may be off, milliseconds: five minutes, as AWS KMS has it. */
export const MAX_SKEW_MS = 300_000

const ALGORITHM = 'AWS4-HMAC-SHA256'
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9_]{1,128})\/([0-9]{8})\/([a-z0-9-]{1,40})\/([a-z0-9-]{1,40})\/aws4_request *, *SignedHeaders=([a-z0-9-]+(?:;[a-z0-9-]+)*) *, *Signature=([0-9a-f]{64})$/
const DATE = /^([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z$/
const MAX_AUTHORIZATION = 4_096

/**
 * Checks Signature Version 4 in the Authorization header. Everything that steers the answer must be signed: host, date, target and all
 * other `x-amz-` headers, and the body, whatever `x-amz-content-sha256` claims. Presigned URLs are refused, as are session tokens.
 * @param region - the only one that requests may be signed for; null: any
 * @param now - Unix milliseconds
 * @throws AirsealError UNAUTHENTICATED with the type that AWS gives
 */
export function authenticate(
  request: SignedRequest,
  credentials: ReadonlyMap<string, AwsCredential>,
  region: string | null,
  now: number,
): AwsIdentity {
  const headers = headersOf(request.rawHeaders)
  const authorization = headers.get('authorization')
  if (authorization === undefined) {
    throw refused('MissingAuthenticationTokenException', 'Missing Authentication Token')
  }
  const found = authorization.length > MAX_AUTHORIZATION ? null : AUTHORIZATION.exec(authorization)
  if (found === null) {
    throw refused('IncompleteSignatureException', `Authorization is not ${ALGORITHM} and complete`)
  }
  const [, accessKeyId = '', day = '', scopeRegion = '', service = '', list = '', given = ''] =
    found
  if (service !== 'kms' || (region !== null && scopeRegion !== region)) {
    const wanted = region === null ? 'service kms' : `region ${region} and service kms`
    throw refused('InvalidSignatureException', `Credential should be scoped to ${wanted}`)
  }
  if (headers.has('x-amz-security-token')) {
    throw refused('UnrecognizedClientException', 'Session tokens are not used here')
  }
  const names = list.split(';')
  checkSignedHeaders(names, headers)
  const date = headers.get('x-amz-date') ?? ''
  checkTime(date, day, now)
  const credential = credentials.get(accessKeyId)
  if (credential === undefined) {
    throw refused(
      'UnrecognizedClientException',
      'The security token included in the request is invalid.',
    )
  }
  const scope = `${day}/${scopeRegion}/kms/aws4_request`
  const canonical = canonicalRequest(request, names, headers)
  const text = `${ALGORITHM}\n${date}\n${scope}\n${sha256Hex(canonical)}`
  const wanted = signatureOf(credential.seed, [day, scopeRegion, 'kms', 'aws4_request', text])
  if (!timingSafeEqual(wanted, fromHex(given, 'the signature'))) {
    throw refused(
      'InvalidSignatureException',
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.',
    )
  }
  return { accessKeyId, region: scopeRegion, signature: given }
}

/** HMAC over HMAC: each text is keyed with the result before it. */
function signatureOf(seed: KeyObject, texts: readonly string[]): Buffer {
  let key: KeyObject | Buffer = seed
  for (const text of texts) key = createHmac('sha256', key).update(text).digest()
  return key as Buffer
}

/** By lower-case name; a header that comes twice counts as one that nobody could have meant. */
function headersOf(raw: readonly string[]): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase()
    if (headers.has(name)) {
      throw refused('IncompleteSignatureException', `the header ${name.slice(0, 64)} is repeated`)
    }
    headers.set(name, (raw[i + 1] ?? '').trim().replace(/ +/g, ' '))
  }
  return headers
}

function checkSignedHeaders(names: readonly string[], headers: ReadonlyMap<string, string>): void {
  const signed = new Set(names)
  if (
    signed.size !== names.length ||
    names.some((name, i) => i > 0 && name < (names[i - 1] ?? ''))
  ) {
    throw refused('IncompleteSignatureException', 'SignedHeaders are not sorted, each once')
  }
  const needed = ['host', 'x-amz-date', 'x-amz-target']
  for (const name of headers.keys()) if (name.startsWith('x-amz-')) needed.push(name)
  for (const name of needed) {
    if (headers.has(name) && signed.has(name)) continue
    throw refused('IncompleteSignatureException', `the header ${name.slice(0, 64)} is not signed`)
  }
  for (const name of names) {
    if (headers.has(name)) continue
    throw refused(
      'IncompleteSignatureException',
      `the signed header ${name.slice(0, 64)} is missing`,
    )
  }
}

function checkTime(date: string, day: string, now: number): void {
  const found = DATE.exec(date)
  if (found === null || !date.startsWith(day)) {
    throw refused(
      'IncompleteSignatureException',
      'X-Amz-Date is not YYYYMMDDTHHMMSSZ, or not of the day in Credential',
    )
  }
  const [year, month, dayOfMonth, hour, minute, second] = found.slice(1).map(Number)
  const time = Date.UTC(year ?? 0, (month ?? 0) - 1, dayOfMonth, hour, minute, second)
  if (Math.abs(time - now) <= MAX_SKEW_MS) return
  // SDKs know these words, and correct their clock by our Date header.
  const isOld = time < now
  const server = stamp(now)
  const bound = stamp(isOld ? now - MAX_SKEW_MS : now + MAX_SKEW_MS)
  const words = isOld
    ? `Signature expired: ${date} is now earlier than ${bound} (${server} - 5 min.)`
    : `Signature not yet current: ${date} is still later than ${bound} (${server} + 5 min.)`
  throw refused('InvalidSignatureException', words)
}

/** `20261124T193700Z`; empty for a time that no calendar has. */
function stamp(time: number): string {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString().replace(/[-:]|\.[0-9]{3}/g, '')
}

/** The path is `/` and has no query: the door serves nothing else. */
function canonicalRequest(
  { method, url, body }: SignedRequest,
  names: readonly string[],
  headers: ReadonlyMap<string, string>,
): string {
  const hash = sha256Hex(body)
  const claimed = headers.get('x-amz-content-sha256')
  if (url !== '/' || (claimed !== undefined && claimed !== hash)) {
    throw refused('InvalidSignatureException', 'the request is not what was signed')
  }
  const lines = names.map((name) => `${name}:${headers.get(name) ?? ''}\n`).join('')
  return `${method}\n/\n\n${lines}\n${names.join(';')}\n${hash}`
}

function refused(type: string, message: string): AirsealError {
  return awsFault(type, 'UNAUTHENTICATED', message)
}
