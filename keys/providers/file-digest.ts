import { constants, privateEncrypt, type KeyObject } from 'node:crypto'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { AirsealError, concat, type HashName, type PublicKey } from '../../src/core/index.ts'
import { SHA256_INFO } from '../digest-info.ts'

const CURVES: ReadonlyMap<string, typeof p256> = new Map([
  ['prime256v1', p256],
  ['secp384r1', p384],
  ['secp521r1', p521],
])

/**
 * Signs a digest that was computed elsewhere with a key of this process. node:crypto would hash it once more, so ECDSA is done by
 * @noble/curves with the deterministic nonce of RFC 6979; RSA PKCS#1 v1.5 is its padding around a DigestInfo.
 * @returns ECDSA in ASN.1 DER
 * @throws AirsealError KEY_UNSUPPORTED
 */
export function signDigest(
  key: KeyObject,
  { algorithm }: PublicKey,
  digest: Uint8Array,
  hash: HashName | null,
): Uint8Array {
  if (algorithm.kind === 'rsa' && hash === 'sha256') {
    const padding = constants.RSA_PKCS1_PADDING
    return privateEncrypt({ key, padding }, concat(SHA256_INFO, digest))
  }
  const curve = CURVES.get(algorithm.curve ?? '')
  if (curve === undefined || hash === null) {
    throw new AirsealError('KEY_UNSUPPORTED', `a ${algorithm.name} key signs no such digest`)
  }
  // Not as JSON Web Key: its text could not be overwritten.
  const der = key.export({ format: 'der', type: 'sec1' })
  try {
    const scalar = scalarOf(der, algorithm.coordinateSize ?? 0)
    // High s is left as it comes: clients of Sigstore take both.
    return curve.sign(digest, scalar, { prehash: false, lowS: false, format: 'der' })
  } finally {
    der.fill(0)
  }
}

/** The scalar of an ECPrivateKey: version 1, then an octet string as long as a coordinate (RFC 5915 §3). Shares the memory of `der`. */
function scalarOf(der: Buffer, size: number): Uint8Array {
  const at = (der[1] ?? 0) < 0x80 ? 2 : 3
  const header = [0x02, 0x01, 0x01, 0x04, size]
  if (!header.every((byte, i) => der[at + i] === byte)) {
    throw new AirsealError('KEY_INVALID', 'the private key is not in the form of RFC 5915')
  }
  return der.subarray(at + header.length, at + header.length + size)
}
