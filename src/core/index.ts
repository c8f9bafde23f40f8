export { KEY_ALGORITHMS } from './algorithms.ts'
export type { HashName, KeyAlgorithm } from './algorithms.ts'
export {
  bytesEqual,
  concat,
  fromBase64,
  fromHex,
  fromUtf8,
  toBase64,
  toHex,
  utf8,
} from './bytes.ts'
export { systemClock } from './clock.ts'
export type { Clock } from './clock.ts'
export { digestHex, digestOf, isDigest, parseDigest, sha256, sha256Hex } from './digest.ts'
export type { Digest } from './digest.ts'
export { derSignature } from './ecdsa-signature.ts'
export { AirsealError, asAirsealError, ERRORS, oneLine } from './errors.ts'
export type { ErrorCode, ErrorFacts } from './errors.ts'
export { canonicalJson, isObject, parseJson } from './json.ts'
export type { Json, JsonLimits, JsonObject } from './json.ts'
export { fromPem, publicKeyFromPem, publicKeyFromSpki, samePublicKey, toPem } from './public-key.ts'
export type { PublicKey } from './public-key.ts'
export {
  DIGEST_SIZES,
  loadDigestVerifier,
  messageVerifier,
  verifyDigest,
  verifyMessage,
} from './signature.ts'
export type { DigestVerifier, MessageVerifier } from './signature.ts'
