import { encodeDer, TAG } from './der.ts'

/** What is to be certified: a server by its names, or an authority. */
export interface CertificateRequest {
  /** Common name; of an authority it is what its certificates name as issuer. */
  readonly subject: string
  readonly issuer: string
  /** SubjectPublicKeyInfo, DER, of a P-256 key. */
  readonly spki: Uint8Array
  /** Positive, at most 20 octets, the first below 0x80. */
  readonly serial: Uint8Array
  /** Milliseconds since 1970. */
  readonly notBefore: number
  readonly notAfter: number
  readonly authority: boolean
  /** DNS names and IPv4 addresses of a server. */
  readonly names: readonly string[]
}

const ECDSA_SHA256 = '1.2.840.10045.4.3.2'
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'

/**
 * Makes a certificate (RFC 5280), DER: for servers with their names, which is what API servers compare, or for an authority that may certify nothing but servers.
 * @param sign - ECDSA P-256 with SHA-256 by the issuer's key, the signature in DER
 */
export function issueCertificate(
  request: CertificateRequest,
  sign: (toBeSigned: Uint8Array) => Uint8Array,
): Uint8Array {
  const { authority, names } = request
  const algorithm = encodeDer(TAG.sequence, oid(ECDSA_SHA256))
  const extensions = authority
    ? [
        extension(
          '2.5.29.19',
          true,
          sequence(encodeDer(TAG.boolean, Uint8Array.of(0xff)), integer(0)),
        ),
        // keyCertSign and cRLSign
        extension('2.5.29.15', true, encodeDer(TAG.bitString, Uint8Array.of(1, 0x06))),
      ]
    : [
        // digitalSignature
        extension('2.5.29.15', true, encodeDer(TAG.bitString, Uint8Array.of(7, 0x80))),
        extension('2.5.29.37', false, sequence(oid(SERVER_AUTH))),
        extension('2.5.29.17', false, sequence(...names.map(alternative))),
      ]
  const toBeSigned = sequence(
    encodeDer(0xa0, integer(2)),
    encodeDer(TAG.integer, request.serial),
    algorithm,
    distinguished(request.issuer),
    sequence(time(request.notBefore), time(request.notAfter)),
    distinguished(request.subject),
    request.spki,
    encodeDer(0xa3, sequence(...extensions)),
  )
  const signature = encodeDer(TAG.bitString, Uint8Array.of(0), sign(toBeSigned))
  return sequence(toBeSigned, algorithm, signature)
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return encodeDer(TAG.sequence, ...parts)
}

function integer(value: number): Uint8Array {
  return encodeDer(TAG.integer, Uint8Array.of(value))
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [encodeDer(TAG.boolean, Uint8Array.of(0xff))] : []
  return sequence(oid(id), ...flag, encodeDer(TAG.octetString, value))
}

function alternative(name: string): Uint8Array {
  return /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name)
    ? encodeDer(0x87, Uint8Array.from(name.split('.').map(Number)))
    : encodeDer(0x82, Buffer.from(name, 'ascii'))
}

function distinguished(name: string): Uint8Array {
  const value = encodeDer(TAG.utf8String, Buffer.from(name, 'utf8'))
  return sequence(encodeDer(TAG.set, sequence(oid('2.5.4.3'), value)))
}

/** UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
function time(milliseconds: number): Uint8Array {
  const text = new Date(milliseconds).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  const utc = Number(text.slice(0, 4)) < 2050
  return encodeDer(
    utc ? TAG.utcTime : TAG.generalizedTime,
    Buffer.from(utc ? text.slice(2) : text, 'ascii'),
  )
}

function oid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const arcs = [first * 40 + second, ...rest].flatMap((arc) => {
    const bytes = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      bytes.unshift((left % 128) | 0x80)
    }
    return bytes
  })
  return encodeDer(TAG.oid, Uint8Array.from(arcs))
}
