export type { EvidenceKind } from './collect.ts'
export { judgeRepository, verifyReference } from './image.ts'
export type { ImageDemands, ImageQuestion, ImageResult, NamedDemand } from './image.ts'
export { checkAgainst } from './local-log.ts'
export type { EntryCheck, LocalLog, Presence } from './local-log.ts'
export {
  isPolicyDocument,
  parsePolicyDocument,
  POLICY_API_VERSION,
  POLICY_KIND,
} from './policy-document.ts'
export type { VerificationPolicy } from './policy-document.ts'
export { parseSigner } from './signer-request.ts'
export { NO_REVOCATIONS, siteTrustOf } from './site-trust.ts'
export type { SiteTrust } from './site-trust.ts'
export { createEvidenceStore } from './store.ts'
export type { EvidenceCache, EvidenceSource, EvidenceStore, KeptPiece } from './store.ts'
export { createVerification } from './verification.ts'
export type { PolicyFinder, Verification, VerificationParts } from './verification.ts'
