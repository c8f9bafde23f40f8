import { hash } from 'node:crypto'
import { bytesEqual, digestHex, fromHex, sha256, toHex } from '../core/index.ts'
import type { HashName } from '../core/index.ts'
import { type Bundle, COSIGN_SIGN_TYPE, parseBundle } from '../sigstore/index.ts'
import { claimOfEnvelope, type EnvelopeEvidence } from './envelope.ts'
import { type AttestationQuestion, type Claim, Examination, type Question } from './examine.ts'
import type { EvidenceUsed, Verdict } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

export interface BundleQuestion extends Question {
  readonly bundleText: string
  /** The file itself, where it is at hand: needed for message signatures that are not made over its SHA-256. */
  readonly artifact?: Uint8Array | undefined
}

/**
 * Judges a bundle as the signature of an image: a DSSE statement of cosign's signature type. Unlike cosign, which takes any statement
 * about the digest, an SBOM for instance, as a signature.
 */
export function verifyBundle(question: BundleQuestion): Promise<Verdict> {
  return examine(question, 'signature', COSIGN_SIGN_TYPE)
}

/** Judges a bundle as an attestation of `policy.predicateType`. */
export function verifyBundleAttestation(
  question: BundleQuestion & AttestationQuestion,
): Promise<Verdict> {
  return examine(question, 'attestation', question.policy.predicateType)
}

/** Judges a bundle as the signature of a file with this digest: a message signature, or a statement of any type about it. */
export function verifyBlobBundle(question: BundleQuestion): Promise<Verdict> {
  return examine(question, 'blob', null)
}

function examine(
  question: BundleQuestion,
  kind: EvidenceUsed['kind'],
  wantedType: string | null,
): Promise<Verdict> {
  const examination = new Examination(question, 'bundle', kind)
  return examination.verdict(() => {
    const bundle = parseBundle(question.bundleText)
    const seen = new Set(bundle.entries.map(({ logId, logIndex }) => `${logId} ${logIndex}`))
    if (seen.size !== bundle.entries.length) {
      return refusal('BUNDLE_INVALID', 'the bundle has one log entry twice')
    }
    const common = {
      entries: bundle.entries,
      // Version 0.1 has the log's promise alone, as legacy signatures do.
      proofRequired: bundle.version !== '0.1',
      keyHint: bundle.material.kind === 'publicKey' ? hintId(bundle.material.hint) : null,
      certificates: bundle.material.kind === 'certificate' ? bundle.material.chain : null,
      timestamps: bundle.timestamps,
      unchecked: bundle.entries.some(({ inclusionProof }) => inclusionProof === null)
        ? ['inclusion proof (the bundle carries none)']
        : [],
    }
    const { content } = bundle
    if (content.kind === 'dsse') {
      return claimOfEnvelope(examination, question, {
        ...common,
        envelope: content.envelope,
        text: null,
        wantedType,
      })
    }
    if (kind !== 'blob') {
      return refusal(
        'PAYLOAD_INVALID',
        'the bundle signs a message, not a statement about an image',
      )
    }
    return claimOfMessage(question, content, common)
  })
}

function claimOfMessage(
  { digest, artifact }: BundleQuestion,
  { message }: Extract<Bundle['content'], { kind: 'message' }>,
  common: Omit<EnvelopeEvidence, 'envelope' | 'text' | 'wantedType' | 'stamped'>,
): Claim | Refusal {
  const wanted = fromHex(digestHex(digest), 'digest')
  if (artifact !== undefined && !bytesEqual(sha256(artifact), wanted)) {
    return refusal('DIGEST_MISMATCH', 'the file does not have the digest')
  }
  const hashOf = (algorithm: HashName): string | null => {
    if (artifact !== undefined) return hash(algorithm, artifact, 'hex')
    return algorithm === 'sha256' ? toHex(wanted) : null
  }
  const said = message.messageDigest
  if (said !== null && hashOf(said.algorithm) !== toHex(said.digest)) {
    return refusal('DIGEST_MISMATCH', 'the bundle is for another digest')
  }
  return {
    ...common,
    signed: artifact === undefined ? { hash: 'sha256', digest: wanted } : { message: artifact },
    signature: message.signature,
    stamped: message.signature,
    signedHash: hashOf,
    envelope: null,
    annotations: {},
    reference: null,
    statement: null,
  }
}

/** The SPKI hash (hex) that cosign writes as hint; null for a hint of another form. */
function hintId(hint: string): string | null {
  const bytes = Buffer.from(hint, 'base64')
  return bytes.length === 32 ? toHex(bytes) : null
}
