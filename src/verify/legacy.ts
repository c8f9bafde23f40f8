import { hash } from 'node:crypto'
import { AirsealError, fromBase64, fromUtf8, sha256Hex } from '../core/index.ts'
import type { HashName } from '../core/index.ts'
import {
  type LogEntryEvidence,
  parseCertificateAnnotations,
  parseEnvelope,
  parseRekorBundleAnnotation,
  parseSimpleSigning,
  parseTimestampAnnotation,
} from '../sigstore/index.ts'
import { claimOfEnvelope } from './envelope.ts'
import { type AttestationQuestion, type Claim, Examination, type Question } from './examine.ts'
import type { Verdict } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

/** Annotations of a layer (cosign), by what they hold. */
export const LEGACY_ANNOTATIONS = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  entry: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
} as const

/** A layer of a `.sig` or `.att` manifest. */
export interface LegacyLayerEvidence {
  readonly payload: Uint8Array
  readonly annotations: Readonly<Record<string, string>>
}

/** Judges one layer of a `.sig` manifest (simple signing). */
export function verifyLegacySignature(
  question: Question & { readonly layer: LegacyLayerEvidence },
): Promise<Verdict> {
  const examination = new Examination(question, 'legacy', 'signature')
  return examination.verdict(() => {
    const { payload, annotations } = question.layer
    examination.note({ payloadSha256: sha256Hex(payload) })
    const signing = readPayload(payload)
    if ('reason' in signing) return signing
    if (signing.digest !== question.digest) {
      return refusal('DIGEST_MISMATCH', `the signature is for ${signing.digest}`)
    }
    const entries = readEntry(annotations)
    if ('reason' in entries) return entries
    const signature = fromBase64(
      annotations[LEGACY_ANNOTATIONS.signature] ?? '',
      'the signature',
      'BUNDLE_INVALID',
    )
    if (signature.length === 0) return refusal('BUNDLE_INVALID', 'the layer has no signature')
    return {
      signed: { message: payload },
      signature,
      signedHash: (algorithm: HashName) => hash(algorithm, payload, 'hex'),
      envelope: null,
      entries,
      proofRequired: false,
      keyHint: null,
      certificates: parseCertificateAnnotations(
        annotations[LEGACY_ANNOTATIONS.certificate],
        annotations[LEGACY_ANNOTATIONS.chain],
      ),
      timestamps: parseTimestampAnnotation(annotations[LEGACY_ANNOTATIONS.timestamp]),
      stamped: signature,
      annotations: signing.optional,
      reference: signing.reference,
      statement: null,
      unchecked: uncheckedOf(question),
    }
  })
}

/** Judges one layer of an `.att` manifest (DSSE) as an attestation of `policy.predicateType`. */
export function verifyLegacyAttestation(
  question: AttestationQuestion & { readonly layer: LegacyLayerEvidence },
): Promise<Verdict> {
  const examination = new Examination(question, 'legacy', 'attestation')
  return examination.verdict(() => {
    const { payload, annotations } = question.layer
    const text = fromUtf8(payload, 'the envelope', 'BUNDLE_INVALID')
    const entries = readEntry(annotations)
    if ('reason' in entries) return entries
    return claimOfEnvelope(examination, question, {
      envelope: parseEnvelope(text),
      text,
      wantedType: question.policy.predicateType,
      entries,
      proofRequired: false,
      keyHint: null,
      certificates: parseCertificateAnnotations(
        annotations[LEGACY_ANNOTATIONS.certificate],
        annotations[LEGACY_ANNOTATIONS.chain],
      ),
      timestamps: parseTimestampAnnotation(annotations[LEGACY_ANNOTATIONS.timestamp]),
      // As cosign does it, and unlike bundles: the whole envelope is stamped.
      stamped: payload,
      unchecked: uncheckedOf(question),
    })
  })
}

function readPayload(payload: Uint8Array): ReturnType<typeof parseSimpleSigning> | Refusal {
  try {
    return parseSimpleSigning(payload)
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('PAYLOAD_INVALID', thrown.message)
  }
}

/** The log entry of a layer: none or one. */
export function readEntry(
  annotations: Readonly<Record<string, string>>,
): readonly LogEntryEvidence[] | Refusal {
  const text = annotations[LEGACY_ANNOTATIONS.entry] ?? ''
  if (text === '') return []
  try {
    return [parseRekorBundleAnnotation(text)]
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('LOG_ENTRY_INVALID', thrown.message)
  }
}

function uncheckedOf({ policy }: Question): Claim['unchecked'] {
  return [
    'inclusion proof (the legacy format carries none)',
    ...(policy.identity === undefined ? ['repository name in the signature'] : []),
  ]
}
