export {
  parseCertificateAnnotations,
  parseCertificates,
  parseTimestampAnnotation,
} from './annotations.ts'
export { bundleText } from './bundle.ts'
export type {
  Bundle,
  BundleContent,
  BundleInput,
  BundleMaterial,
  BundleVersion,
  MessageSignature,
} from './bundle.ts'
export { DSSE_TYPE, envelopeJson, envelopeText, IN_TOTO_TYPE, pae, parseEnvelope } from './dsse.ts'
export type { Envelope, EnvelopeSignature } from './dsse.ts'
export { parseBundle } from './parse-bundle.ts'
export { parseEntryBody } from './entry-bodies.ts'
export type { BodyHash, BodySignature, EntryBody } from './entry-bodies.ts'
export {
  parseRekorBundleAnnotation,
  rekorBundleAnnotation,
  signedEntryTimestampPayload,
} from './log-entry.ts'
export type { InclusionProofEvidence, LogEntryEvidence } from './log-entry.ts'
export { PREDICATE_NAMES, predicateOf, predicateTypeUri } from './predicates.ts'
export type { Predicate } from './predicates.ts'
export { dsseProposal, hashedrekordProposal } from './proposals.ts'
export type { DsseInput, HashedrekordInput } from './proposals.ts'
export { signingConfigText } from './signing-config.ts'
export type { SigningConfigInput } from './signing-config.ts'
export { parseSimpleSigning, SIMPLE_SIGNING_TYPE, simpleSigningPayload } from './simple-signing.ts'
export type { SimpleSigning, SimpleSigningInput } from './simple-signing.ts'
export {
  attestationStatement,
  COSIGN_SIGN_TYPE,
  parseStatement,
  signStatement,
} from './statement.ts'
export type { AttestationInput, Statement, Subject } from './statement.ts'
export { parseTrustedRoot, trustedRootText } from './trusted-root.ts'
export type {
  RootAuthority,
  RootCtLog,
  RootLog,
  TrustedRoot,
  TrustedRootInput,
  Validity,
} from './trusted-root.ts'
