import type * as pkcs11js from 'pkcs11js'
import { KEY_ALGORITHMS, toHex } from '../../src/core/index.ts'
import { Refusal } from './pkcs11-model.ts'

/** The addon's constants. */
export type Constants = typeof pkcs11js
export type Handle = pkcs11js.Handle

/** Of PKCS#11 3.0, which the addon does not name. */
export const CKK_EC_EDWARDS = 0x40

/** id-Ed25519 as object identifier: what tokens other than SoftHSM put into CKA_EC_PARAMS. */
const ED25519_OID = '06032b6570'
const JWK_CURVES: ReadonlyMap<string, string> = new Map([
  ['ecdsa-p256', 'P-256'],
  ['ecdsa-p384', 'P-384'],
  ['ecdsa-p521', 'P-521'],
])

export interface PrivateKeyFacts {
  readonly type: number
  /** CKA_ID, hex. */
  readonly id: string
  readonly sensitive: boolean
  readonly extractable: boolean
  readonly neverExtractable: boolean
  readonly local: boolean
}

export function readPrivateKey(
  module: pkcs11js.PKCS11,
  ck: Constants,
  session: Handle,
  key: Handle,
): PrivateKeyFacts {
  const value = (type: number): Buffer => attribute(module, session, key, type)
  const flag = (type: number): boolean => value(type)[0] === 1
  return {
    type: value(ck.CKA_KEY_TYPE).readUInt32LE(0),
    id: toHex(value(ck.CKA_ID)),
    sensitive: flag(ck.CKA_SENSITIVE),
    extractable: flag(ck.CKA_EXTRACTABLE),
    neverExtractable: flag(ck.CKA_NEVER_EXTRACTABLE),
    local: flag(ck.CKA_LOCAL),
  }
}

/** The public key as JSON Web Key, and the most bytes that a signature has. */
export function readPublicKey(
  module: pkcs11js.PKCS11,
  ck: Constants,
  session: Handle,
  { key, half, type }: { key: Handle; half: Handle | null; type: number },
): { jwk: Readonly<Record<string, string>>; signatureSize: number } {
  if (type === ck.CKK_RSA) {
    // A private RSA key carries its modulus; only the exponent may be missing there.
    const from = half ?? key
    const modulus = stripZeros(attribute(module, session, from, ck.CKA_MODULUS))
    const exponent = stripZeros(attribute(module, session, from, ck.CKA_PUBLIC_EXPONENT))
    return {
      jwk: { kty: 'RSA', n: base64url(modulus), e: base64url(exponent) },
      signatureSize: modulus.length,
    }
  }
  if (half === null) {
    throw new Refusal('MISSING', 'the token holds the private key but not its public key')
  }
  const parameters = toHex(attribute(module, session, half, ck.CKA_EC_PARAMS))
  const point = attribute(module, session, half, ck.CKA_EC_POINT)
  if (type === CKK_EC_EDWARDS) {
    const isEd25519 =
      parameters === ED25519_OID || parameters === KEY_ALGORITHMS.get('ed25519')?.ecParameters
    const raw = unwrap(point, 32)
    if (!isEd25519 || raw === null) throw unsupported()
    return { jwk: { kty: 'OKP', crv: 'Ed25519', x: base64url(raw) }, signatureSize: 64 }
  }
  const algorithm = [...KEY_ALGORITHMS.values()].find(
    ({ kind, ecParameters }) => kind === 'ec' && ecParameters === parameters,
  )
  const size = algorithm?.coordinateSize ?? 0
  const raw = unwrap(point, 1 + 2 * size)
  const curve = JWK_CURVES.get(algorithm?.name ?? '')
  if (type !== ck.CKK_EC || curve === undefined || raw?.[0] !== 4) throw unsupported()
  const x = base64url(raw.subarray(1, 1 + size))
  return {
    jwk: { kty: 'EC', crv: curve, x, y: base64url(raw.subarray(1 + size)) },
    signatureSize: 2 * size,
  }
}

function attribute(module: pkcs11js.PKCS11, session: Handle, object: Handle, type: number): Buffer {
  const value: unknown = module.C_GetAttributeValue(session, object, [{ type }])[0]?.value
  if (!Buffer.isBuffer(value)) throw new Refusal('UNSUPPORTED', 'the key lacks an attribute')
  return value
}

/** A point as bare bytes; tokens give it so, or as DER OCTET STRING (PKCS#11 v2.40 §2.3.3). */
function unwrap(point: Buffer, size: number): Buffer | null {
  if (point.length === size) return point
  const header = size < 0x80 ? [0x04, size] : [0x04, 0x81, size]
  const isWrapped =
    point.length === header.length + size && header.every((byte, i) => point[i] === byte)
  return isWrapped ? point.subarray(header.length) : null
}

function stripZeros(value: Buffer): Buffer {
  let start = 0
  while (start < value.length - 1 && value[start] === 0) start += 1
  return value.subarray(start)
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url')
}

function unsupported(): Refusal {
  return new Refusal('UNSUPPORTED', 'the key is not P-256, P-384, P-521, RSA or Ed25519')
}
