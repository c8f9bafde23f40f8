import { fromHex } from '../src/core/index.ts'

/** DigestInfo before a SHA-256 digest (RFC 8017 §9.2, note 1): what pads for RSA does not name the hash. */
export const SHA256_INFO = fromHex(
  '3031300d060960864801650304020105000420',
  'DigestInfo',
  'INTERNAL',
)
