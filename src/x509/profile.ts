import { AirsealError, bytesEqual, fromUtf8, toHex } from '../core/index.ts'
import type { Certificate } from './certificate.ts'
import { children, childrenOf, type Der, encodeDer, oidText, readDer, TAG, withTag } from './der.ts'

/** What path validation needs to know of a certificate (RFC 5280 §4); nothing about it is verified. */
export interface Profile {
  /** Serial number, hex of its DER content. */
  readonly serial: string
  /** Names as DER. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly extensions: ReadonlyMap<string, Extension>
  readonly authority: {
    readonly ca: boolean
    /** Certificates that may follow below; null: any number. */
    readonly pathLength: number | null
  }
  /** Null when the certificate does not say. */
  readonly keyUsage: { readonly digitalSignature: boolean; readonly certSign: boolean } | null
  /** Object identifiers; null when the certificate does not say. */
  readonly extendedKeyUsage: readonly string[] | null
}

export interface Extension {
  readonly critical: boolean
  /** Content of the OCTET STRING. */
  readonly value: Uint8Array
}

export const EXTENSION = {
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  extendedKeyUsage: '2.5.29.37',
  precertificatePoison: '1.3.6.1.4.1.11129.2.4.3',
  sctList: '1.3.6.1.4.1.11129.2.4.2',
} as const

/** ECDSA, RSA PKCS#1 v1.5 with SHA-2, and Ed25519: what MD5 or SHA-1 signed proves nothing. */
const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112',
])

const MAX_EXTENSIONS = 64
const EXPLICIT_VERSION = 0xa0
const EXPLICIT_EXTENSIONS = 0xa3

/**
 * Reads the strict profile of a certificate: X.509 v3, positive serial number, SHA-2 signature, no extension twice.
 * @throws AirsealError KEY_INVALID
 */
export function readProfile({ der }: Certificate): Profile {
  const [tbs, algorithm] = childrenOf(readDer(der), TAG.sequence)
  const [version, serial, signature, issuer, , subject, , ...rest] = childrenOf(tbs, TAG.sequence)
  if (toHex(withTag(version, EXPLICIT_VERSION).content) !== '020102')
    throw invalid('is not of version 3')
  const number = withTag(serial, TAG.integer).content
  if (
    number.length === 0 ||
    number.length > 21 ||
    (number[0] ?? 0) >= 0x80 ||
    number.every((byte) => byte === 0)
  ) {
    throw invalid('has a serial number that is not positive')
  }
  if (
    algorithm === undefined ||
    signature === undefined ||
    !bytesEqual(algorithm.bytes, signature.bytes)
  ) {
    throw invalid('names two signature algorithms')
  }
  if (!SIGNATURE_ALGORITHMS.has(oidText(childrenOf(signature, TAG.sequence)[0]))) {
    throw invalid('is signed with an algorithm that is not accepted')
  }
  const extensions = readExtensions(rest.find(({ tag }) => tag === EXPLICIT_EXTENSIONS))
  const altNames = extensions.get(EXTENSION.subjectAltName)
  const name = withTag(subject, TAG.sequence)
  // RFC 5280 §4.1.2.6: with an empty subject the alternative names are critical.
  if (name.content.length === 0 && altNames?.critical !== true) {
    throw invalid('has neither a subject nor critical alternative names')
  }
  return {
    serial: toHex(number),
    issuer: withTag(issuer, TAG.sequence).bytes,
    subject: name.bytes,
    extensions,
    authority: readBasicConstraints(extensions.get(EXTENSION.basicConstraints)),
    keyUsage: readKeyUsage(extensions.get(EXTENSION.keyUsage)),
    extendedKeyUsage: readExtendedKeyUsage(extensions.get(EXTENSION.extendedKeyUsage)),
  }
}

function readExtensions(holder: Der | undefined): ReadonlyMap<string, Extension> {
  const found = new Map<string, Extension>()
  if (holder === undefined) return found
  const [list] = children(holder)
  const items = childrenOf(list, TAG.sequence)
  if (items.length > MAX_EXTENSIONS) throw invalid(`has more than ${MAX_EXTENSIONS} extensions`)
  for (const item of items) {
    const parts = childrenOf(item, TAG.sequence)
    const id = oidText(parts[0])
    const flag = parts.length === 3 ? withTag(parts[1], TAG.boolean) : null
    if (flag !== null && toHex(flag.content) !== 'ff') throw invalid('has a malformed extension')
    if (found.has(id)) throw invalid(`has the extension ${id} twice`)
    found.set(id, {
      critical: flag !== null,
      value: withTag(parts[flag === null ? 1 : 2], TAG.octetString).content,
    })
  }
  return found
}

function readBasicConstraints(extension: Extension | undefined): Profile['authority'] {
  if (extension === undefined) return { ca: false, pathLength: null }
  const parts = childrenOf(readDer(extension.value), TAG.sequence)
  const [first, second] = parts
  if (first === undefined) return { ca: false, pathLength: null }
  // DER leaves FALSE out, so what is there must be TRUE.
  if (first.tag !== TAG.boolean || toHex(first.content) !== 'ff' || parts.length > 2) {
    throw invalid('has malformed basic constraints')
  }
  if (second === undefined) return { ca: true, pathLength: null }
  const { content } = withTag(second, TAG.integer)
  const length = content[0]
  if (length === undefined || content.length !== 1 || length >= 0x80) {
    throw invalid('has a path length that is not accepted')
  }
  return { ca: true, pathLength: length }
}

function readKeyUsage(extension: Extension | undefined): Profile['keyUsage'] {
  if (extension === undefined) return null
  const { content } = withTag(readDer(extension.value), TAG.bitString)
  const bits = content[1] ?? 0
  return { digitalSignature: (bits & 0x80) !== 0, certSign: (bits & 0x04) !== 0 }
}

function readExtendedKeyUsage(extension: Extension | undefined): readonly string[] | null {
  if (extension === undefined) return null
  const uses = childrenOf(readDer(extension.value), TAG.sequence).map(oidText)
  if (uses.length === 0) throw invalid('has an empty extended key usage')
  return uses
}

/**
 * The TBSCertificate without the extension `id`, as a certificate-transparency log signed it (RFC 6962 §3.2).
 * @throws AirsealError KEY_INVALID
 */
export function tbsWithout({ der }: Certificate, id: string): Uint8Array {
  const [tbs] = childrenOf(readDer(der), TAG.sequence)
  const parts = childrenOf(tbs, TAG.sequence).map((part) => {
    if (part.tag !== EXPLICIT_EXTENSIONS) return part.bytes
    const kept = childrenOf(children(part)[0], TAG.sequence).filter(
      (extension) => oidText(childrenOf(extension, TAG.sequence)[0]) !== id,
    )
    if (kept.length === 0) return new Uint8Array()
    return encodeDer(
      EXPLICIT_EXTENSIONS,
      encodeDer(TAG.sequence, ...kept.map(({ bytes }) => bytes)),
    )
  })
  return encodeDer(TAG.sequence, ...parts)
}

/** Text of the one DER UTF8String that `value` is. @throws AirsealError KEY_INVALID */
export function utf8Value(value: Uint8Array): string {
  const { content } = withTag(readDer(value), TAG.utf8String)
  return fromUtf8(content, 'the extension', 'KEY_INVALID')
}

function invalid(problem: string): AirsealError {
  return new AirsealError('KEY_INVALID', `the certificate ${problem}`)
}
