export { ageOf, alarmsOf } from './age.ts'
export type { Age, AgeLimits, Alarm, Stage } from './age.ts'
export {
  bundleFile,
  parseTrustBundle,
  readUnsigned,
  sealBundle,
  signedBytes,
  signersOf,
  unsignedBundle,
} from './bundle.ts'
export type { UnsignedTrustBundle } from './bundle.ts'
export { contentOf, differences, mergeRevocations, restricted, withLog } from './content.ts'
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
export {
  isProposal,
  parseTrustProposal,
  proposalFile,
  proposalState,
  sealProposal,
  withSignature,
} from './proposal.ts'
export type { TrustProposal } from './proposal.ts'
export type { TrustFile } from './render.ts'
export { trustOf } from './trust-of.ts'
export type { Believed, BundleTrust } from './trust-of.ts'
export {
  chainAfter,
  requireClock,
  requireTimely,
  rootsFingerprint,
  verifyTrustUpdate,
} from './update.ts'
