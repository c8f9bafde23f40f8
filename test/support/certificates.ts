import { parseCertificate, readProfile, USAGE, type Link } from '../../src/x509/index.ts'
import { encodeDer, TAG } from '../../src/x509/der.ts'
import { testKey, type TestKey } from './evidence.ts'

/** DER of a dotted object identifier. */
export function oid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const digits = [first * 40 + second, ...rest].flatMap((arc) => {
    const bytes = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      bytes.unshift((left % 128) | 0x80)
    }
    return bytes
  })
  return encodeDer(TAG.oid, Uint8Array.from(digits))
}

export function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [encodeDer(TAG.boolean, Uint8Array.of(0xff))] : []
  return encodeDer(TAG.sequence, oid(id), ...flag, encodeDer(TAG.octetString, value))
}

export const basicConstraints = (pathLength: number | null): Uint8Array =>
  extension(
    '2.5.29.19',
    true,
    encodeDer(
      TAG.sequence,
      encodeDer(TAG.boolean, Uint8Array.of(0xff)),
      ...(pathLength === null ? [] : [encodeDer(TAG.integer, Uint8Array.of(pathLength))]),
    ),
  )
/** @param bits - first octet of the BIT STRING: 0x80 digitalSignature, 0x04 keyCertSign */
export const keyUsage = (bits: number): Uint8Array =>
  extension('2.5.29.15', true, encodeDer(TAG.bitString, Uint8Array.of(0, bits)))
export const extendedKeyUsage = (...ids: readonly string[]): Uint8Array =>
  extension('2.5.29.37', false, encodeDer(TAG.sequence, ...ids.map(oid)))
/** One alternative name; `tag` is the context tag of its type. */
export const altName = (tag: number, value: Uint8Array): Uint8Array =>
  extension('2.5.29.17', true, encodeDer(TAG.sequence, encodeDer(tag, value)))

export interface CertificateInput {
  readonly name: string
  readonly issuer: Issued | null
  /** Milliseconds since 1970. */
  readonly from: number
  readonly to: number
  readonly extensions: readonly Uint8Array[]
  readonly key?: TestKey
  readonly serial?: Uint8Array
  readonly version?: number
  /** Object identifier of the signature algorithm that is named. */
  readonly algorithm?: string
}

export interface Issued {
  readonly name: string
  readonly key: TestKey
  readonly der: Uint8Array
}

/** A certificate, signed by its issuer or by itself; nothing keeps it from being a wrong one. */
export function issue(input: CertificateInput): Issued {
  const key = input.key ?? testKey()
  const signer = input.issuer?.key ?? key
  const algorithm = encodeDer(TAG.sequence, oid(input.algorithm ?? '1.2.840.10045.4.3.2'))
  const time = (at: number) =>
    encodeDer(
      TAG.generalizedTime,
      Buffer.from(new Date(at).toISOString().replace(/[-:T]|\.\d+/g, '')),
    )
  const tbs = encodeDer(
    TAG.sequence,
    encodeDer(0xa0, encodeDer(TAG.integer, Uint8Array.of(input.version ?? 2))),
    encodeDer(TAG.integer, input.serial ?? Uint8Array.of(1)),
    algorithm,
    distinguished(input.issuer?.name ?? input.name),
    encodeDer(TAG.sequence, time(input.from), time(input.to)),
    distinguished(input.name),
    key.publicKey.spki,
    encodeDer(0xa3, encodeDer(TAG.sequence, ...input.extensions)),
  )
  const signature = encodeDer(TAG.bitString, Uint8Array.of(0), signer.sign(tbs))
  return { name: input.name, key, der: encodeDer(TAG.sequence, tbs, algorithm, signature) }
}

function distinguished(name: string): Uint8Array {
  if (name === '') return encodeDer(TAG.sequence)
  const value = encodeDer(TAG.utf8String, Buffer.from(name))
  return encodeDer(TAG.sequence, encodeDer(TAG.set, encodeDer(TAG.sequence, oid('2.5.4.3'), value)))
}

export function link({ der }: Issued): Link {
  const certificate = parseCertificate(der)
  return { certificate, profile: readProfile(certificate) }
}

/** Extensions of a certificate for signing code. */
export const LEAF: readonly Uint8Array[] = [
  keyUsage(0x80),
  extendedKeyUsage(USAGE.codeSigning),
  altName(0x81, Buffer.from('signer@corp.test')),
]
export const AUTHORITY: readonly Uint8Array[] = [keyUsage(0x06), basicConstraints(null)]
