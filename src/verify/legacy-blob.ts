import { hash } from 'node:crypto'
import { bytesEqual, digestHex, fromBase64, fromHex, sha256, toHex } from '../core/index.ts'
import type { HashName } from '../core/index.ts'
import { parseCertificateAnnotations, parseTimestampAnnotation } from '../sigstore/index.ts'
import { Examination, type Question } from './examine.ts'
import { LEGACY_ANNOTATIONS, readEntry } from './legacy.ts'
import type { Verdict } from './model.ts'
import { refusal } from './reasons.ts'

export interface LegacyBlobQuestion extends Question {
  /** Signature, certificate, log entry and time stamp under the names that cosign's layers have for them. */
  readonly annotations: Readonly<Record<string, string>>
  /** The file itself, where it is at hand: needed for signatures that are not made over its SHA-256. */
  readonly artifact?: Uint8Array | undefined
}

/** Judges a detached signature of a file, as cosign wrote them before there were Sigstore bundles. */
export function verifyLegacyBlob(question: LegacyBlobQuestion): Promise<Verdict> {
  const examination = new Examination(question, 'legacy', 'blob')
  return examination.verdict(() => {
    const { annotations, artifact } = question
    const wanted = fromHex(digestHex(question.digest), 'digest')
    if (artifact !== undefined && !bytesEqual(sha256(artifact), wanted)) {
      return refusal('DIGEST_MISMATCH', 'the file does not have the digest')
    }
    const entries = readEntry(annotations)
    if ('reason' in entries) return entries
    const { certificate, chain, timestamp } = LEGACY_ANNOTATIONS
    const text = annotations[LEGACY_ANNOTATIONS.signature] ?? ''
    const signature = fromBase64(text, 'the signature', 'BUNDLE_INVALID')
    if (signature.length === 0) return refusal('BUNDLE_INVALID', 'there is no signature')
    return {
      signed: artifact === undefined ? { hash: 'sha256', digest: wanted } : { message: artifact },
      signature,
      signedHash: (algorithm: HashName) => {
        if (artifact !== undefined) return hash(algorithm, artifact, 'hex')
        return algorithm === 'sha256' ? toHex(wanted) : null
      },
      envelope: null,
      entries,
      proofRequired: false,
      keyHint: null,
      certificates: parseCertificateAnnotations(annotations[certificate], annotations[chain]),
      timestamps: parseTimestampAnnotation(annotations[timestamp]),
      stamped: signature,
      annotations: {},
      reference: null,
      statement: null,
      unchecked: ['inclusion proof (the legacy format carries none)'],
    }
  })
}
