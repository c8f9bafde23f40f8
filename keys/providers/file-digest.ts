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
  const { d = '' } = key.export({ format: 'jwk' })
  const scalar = new Uint8Array(Buffer.from(d, 'base64url'))
  try {
    // High s is left as it comes: clients of Sigstore take both.
    return curve.sign(digest, scalar, { prehash: false, lowS: false, format: 'der' })
  } finally {
    scalar.fill(0)
  }
}
