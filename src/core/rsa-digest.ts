import { constants, publicDecrypt } from 'node:crypto'
import type { HashName } from './algorithms.ts'
import { bytesEqual, fromHex } from './bytes.ts'
import type { PublicKey } from './public-key.ts'

/** DER of DigestInfo up to the digest itself (RFC 8017 §9.2, notes). */
const DIGEST_INFO: Readonly<Record<HashName, string>> = {
  sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
}

/**
 * RSASSA-PKCS1-v1_5 over a digest. Builds the one block that is right and compares all of it: reading the padding loosely is how
 * signatures have been forged for small exponents.
 */
export function verifyRsaDigest(
  key: PublicKey,
  hash: HashName,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean {
  const size = (key.algorithm.bits ?? 0) / 8
  if (signature.length !== size) return false
  const info = Buffer.concat([fromHex(DIGEST_INFO[hash], 'DigestInfo'), digest])
  const wanted = Buffer.alloc(size, 0xff)
  wanted[0] = 0
  wanted[1] = 1
  wanted[size - info.length - 1] = 0
  wanted.set(info, size - info.length)
  try {
    const block = publicDecrypt({ key: key.handle, padding: constants.RSA_NO_PADDING }, signature)
    return bytesEqual(block, wanted)
  } catch {
    // A number that is not below the modulus.
    return false
  }
}
