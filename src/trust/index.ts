export {
  bundleFile,
  parseTrustBundle,
  sealBundle,
  signedBytes,
  signersOf,
  unsignedBundle,
} from './bundle.ts'
export type { UnsignedTrustBundle } from './bundle.ts'
export { compileTrustFiles, TRUST_FORMATS } from './compile.ts'
export { TRUST_PAYLOAD_TYPE } from './model.ts'
export type {
  ForeignRoot,
  KeyState,
  Range,
  RootKey,
  ScopePolicy,
  SignedTrustBundle,
  SignerKey,
  TrustDocument,
  TrustRevocations,
  TrustRoots,
} from './model.ts'
export type { TrustFile } from './render.ts'
export { trustOf } from './trust-of.ts'
export type { Believed, BundleTrust } from './trust-of.ts'
export { chainAfter, requireTimely, verifyTrustUpdate } from './update.ts'
