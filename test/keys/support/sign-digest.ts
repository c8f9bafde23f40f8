// What a key service does inside, for the fakes: node:crypto signs messages, not digests.
import { constants, generateKeyPairSync, privateEncrypt, type KeyObject } from 'node:crypto'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import type { KeyAlgorithm } from '../../../src/core/index.ts'

const CURVES = { prime256v1: p256, secp384r1: p384, secp521r1: p521 }
const SHA256_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex')

export function pairOf(algorithm: KeyAlgorithm): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (algorithm.kind) {
    case 'ec':
      return generateKeyPairSync('ec', { namedCurve: algorithm.curve ?? '' })
    case 'rsa':
      return generateKeyPairSync('rsa', { modulusLength: algorithm.bits ?? 0 })
    case 'ed25519':
      return generateKeyPairSync('ed25519')
  }
}

/** ECDSA in DER, or RSA PKCS#1 v1.5 with SHA-256, over a ready-made digest. */
export function signDigest(algorithm: KeyAlgorithm, key: KeyObject, digest: Uint8Array): Buffer {
  if (algorithm.kind === 'rsa') {
    const padding = constants.RSA_PKCS1_PADDING
    return privateEncrypt({ key, padding }, Buffer.concat([SHA256_INFO, digest]))
  }
  const curve = CURVES[algorithm.curve as keyof typeof CURVES]
  const secret = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url')
  return Buffer.from(curve.sign(digest, secret, { prehash: false, format: 'der', lowS: false }))
}
