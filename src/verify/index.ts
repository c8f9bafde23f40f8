export { verifyBlobBundle, verifyBundle, verifyBundleAttestation } from './bundle.ts'
export type { BundleQuestion } from './bundle.ts'
export type { AttestationQuestion, Question } from './examine.ts'
export { judgeAttestations, judgeDemand, judgeSignatures, MAX_EVIDENCE } from './judge.ts'
export type { Demand, Judgement, Subject } from './judge.ts'
export { LEGACY_ANNOTATIONS, verifyLegacyAttestation, verifyLegacySignature } from './legacy.ts'
export { verifyLegacyBlob } from './legacy-blob.ts'
export type { LegacyBlobQuestion } from './legacy-blob.ts'
export type { LegacyLayerEvidence } from './legacy.ts'
export type { CertifiedIdentity } from '../x509/index.ts'
export type {
  Condition,
  ConditionInput,
  Evidence,
  EvidenceUsed,
  IndexRange,
  Policy,
  Revocations,
  SignerPolicy,
  TextDemand,
  Trust,
  TrustedAuthority,
  TrustedCtLog,
  TrustedKey,
  TrustedLog,
  Verdict,
} from './model.ts'
export { compilePattern } from './pattern.ts'
export type { TextPattern } from './pattern.ts'
export { REASONS } from './reasons.ts'
export type { Reason, ReasonFacts } from './reasons.ts'
export { pinnedAuthority, trustFromRoot } from './trust.ts'
