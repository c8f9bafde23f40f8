import { verifyBundle, verifyBundleAttestation } from './bundle.ts'
import type { AttestationQuestion, Question } from './examine.ts'
import { verifyLegacyAttestation, verifyLegacySignature } from './legacy.ts'
import type { Evidence, Verdict } from './model.ts'
import { type Reason, reasonRank } from './reasons.ts'

/** Pieces of evidence judged for one digest; a repository of an attacker can hold many. */
export const MAX_EVIDENCE = 256

/** The judgement of everything that was found for one digest. */
export interface Judgement {
  readonly outcome: 'verified' | 'rejected'
  /** Null when verified; otherwise of the rejections the one that came furthest. */
  readonly reason: Reason | null
  readonly message: string
  /** One for each piece of evidence, in its order. */
  readonly verdicts: readonly Verdict[]
}

/** Judges signatures: one that verifies completely suffices; bad ones beside it change nothing. */
export function judgeSignatures(
  evidence: readonly Evidence[],
  question: Question,
): Promise<Judgement> {
  return judge(evidence, 'signature', (piece) =>
    piece.format === 'bundle'
      ? verifyBundle({ ...question, bundleText: piece.text })
      : verifyLegacySignature({ ...question, layer: piece }),
  )
}

/**
 * Judges attestations of `policy.predicateType`; one that verifies completely suffices. No attestation of the type is a rejection
 * (CVE-2022-35929).
 */
export function judgeAttestations(
  evidence: readonly Evidence[],
  question: AttestationQuestion,
): Promise<Judgement> {
  return judge(evidence, 'attestation', (piece) =>
    piece.format === 'bundle'
      ? verifyBundleAttestation({ ...question, bundleText: piece.text })
      : verifyLegacyAttestation({ ...question, layer: piece }),
  )
}

async function judge(
  evidence: readonly Evidence[],
  kind: 'signature' | 'attestation',
  verify: (piece: Evidence) => Promise<Verdict>,
): Promise<Judgement> {
  if (evidence.length > MAX_EVIDENCE) {
    return {
      outcome: 'rejected',
      reason: 'TOO_MANY',
      message: `there are ${evidence.length} signatures or attestations, at most ${MAX_EVIDENCE} are judged`,
      verdicts: [],
    }
  }
  const verdicts: Verdict[] = []
  for (const piece of evidence) verdicts.push(await verify(piece))
  return sumUp(verdicts, kind)
}

/** The judgement that follows from verdicts on all pieces of evidence for one digest. */
function sumUp(verdicts: readonly Verdict[], kind: 'signature' | 'attestation'): Judgement {
  const good = verdicts.find(({ outcome }) => outcome === 'verified')
  if (good !== undefined) {
    return { outcome: 'verified', reason: null, message: good.message, verdicts }
  }
  const best = verdicts.reduce<Verdict | null>(
    (found, verdict) => (found === null || rank(verdict) > rank(found) ? verdict : found),
    null,
  )
  return {
    outcome: 'rejected',
    reason: best?.reason ?? (kind === 'signature' ? 'NO_SIGNATURES' : 'NO_ATTESTATIONS'),
    message: best?.message ?? `there is no ${kind} for this digest`,
    verdicts,
  }
}

function rank({ reason }: Verdict): number {
  return reason === null ? Number.POSITIVE_INFINITY : reasonRank(reason)
}
