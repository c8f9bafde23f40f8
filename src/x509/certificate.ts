import { X509Certificate } from 'node:crypto'
import { AirsealError, bytesEqual, publicKeyFromSpki } from '../core/index.ts'
import type { PublicKey } from '../core/index.ts'

/** A certificate as parsed; nothing about it is verified. */
export interface Certificate {
  /** DER, exactly as it came. */
  readonly der: Uint8Array
  readonly publicKey: PublicKey
  /** Subject alternative names of types DNS, email, IP and URI, in that order. */
  readonly subjectAltNames: readonly SubjectAltName[]
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  readonly certificateAuthority: boolean
  readonly handle: X509Certificate
}

export interface SubjectAltName {
  readonly kind: 'dns' | 'email' | 'ip' | 'uri'
  readonly value: string
}

/** Names of node:crypto for the types of RFC 5280 §4.2.1.6, in the order in which they are returned. */
const NAME_KINDS: readonly (readonly [string, SubjectAltName['kind']])[] = [
  ['DNS', 'dns'],
  ['email', 'email'],
  ['IP Address', 'ip'],
  ['URI', 'uri'],
]

/**
 * Parses one attacker-controlled X.509 certificate.
 * @throws AirsealError KEY_INVALID when it is none, KEY_UNSUPPORTED when airseal does not use its key
 */
export function parseCertificate(der: Uint8Array): Certificate {
  let handle: X509Certificate
  let spki: Uint8Array
  try {
    handle = new X509Certificate(der)
    spki = handle.publicKey.export({ format: 'der', type: 'spki' })
  } catch (cause) {
    throw new AirsealError('KEY_INVALID', 'not an X.509 certificate', { cause })
  }
  // The parser passes over bytes behind the end: two texts must never be the same certificate.
  if (!bytesEqual(handle.raw, der)) {
    throw new AirsealError('KEY_INVALID', 'certificate is not in DER, or has bytes after its end')
  }
  const notBefore = handle.validFromDate.getTime()
  const notAfter = handle.validToDate.getTime()
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) {
    throw new AirsealError('KEY_INVALID', 'certificate has no readable validity')
  }
  return {
    der,
    publicKey: publicKeyFromSpki(spki),
    subjectAltNames: parseSubjectAltNames(handle.subjectAltName ?? ''),
    notBefore,
    notAfter,
    certificateAuthority: handle.ca,
    handle,
  }
}

/**
 * True when `certificate` was issued by `issuer`: names and key identifiers match, the issuer may issue, its key verifies the signature, and
 * the issuer was valid at `time` (milliseconds since 1970). Path length and name constraints are not looked at.
 */
export function issuedBy(certificate: Certificate, issuer: Certificate, time: number): boolean {
  return (
    issuer.certificateAuthority &&
    issuer.notBefore <= time &&
    time <= issuer.notAfter &&
    certificate.handle.checkIssued(issuer.handle) &&
    certificate.handle.verify(issuer.publicKey.handle)
  )
}

/** One name of node:crypto's list: `TYPE:value`, the value in JSON quotes when it holds a comma, a quote or a control character. */
const NAME = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/y

function parseSubjectAltNames(text: string): readonly SubjectAltName[] {
  const found: SubjectAltName[] = []
  NAME.lastIndex = 0
  for (let match = NAME.exec(text); match !== null && match[0] !== ''; match = NAME.exec(text)) {
    const [, type = '', raw = ''] = match
    const kind = NAME_KINDS.find(([name]) => name === type)?.[1]
    if (kind !== undefined) found.push({ kind, value: raw.startsWith('"') ? unquote(raw) : raw })
  }
  return NAME_KINDS.flatMap(([, kind]) => found.filter((name) => name.kind === kind))
}

function unquote(text: string): string {
  try {
    return JSON.parse(text) as string
  } catch {
    return text
  }
}
