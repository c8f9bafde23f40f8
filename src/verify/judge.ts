import { AirsealError } from '../core/index.ts'
import { verifyBundle, verifyBundleAttestation } from './bundle.ts'
import type { AttestationQuestion, Question } from './examine.ts'
import { verifyLegacyAttestation, verifyLegacySignature } from './legacy.ts'
import type { Evidence, Policy, Verdict } from './model.ts'
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

/** One thing that must hold of an image. */
export interface Demand {
  readonly kind: 'signature' | 'attestation'
  /** Whose signature counts, and how: a piece of evidence counts by the first that it meets. At least one. Attestations need their type in each. */
  readonly policies: readonly Policy[]
  /** Distinct signers that must be found, from 1: keys count by their SPKI, certificates by the policy that they meet. */
  readonly threshold: number
}

/** What is asked about, without the demand. */
export interface Subject extends Omit<Question, 'policy'> {
  /** Stops the judging. */
  readonly signal?: AbortSignal | undefined
}

/** Judges signatures: one that verifies completely suffices; bad ones beside it change nothing. */
export function judgeSignatures(
  evidence: readonly Evidence[],
  { policy, ...subject }: Question,
): Promise<Judgement> {
  return judgeDemand(evidence, { kind: 'signature', policies: [policy], threshold: 1 }, subject)
}

/**
 * Judges attestations of `policy.predicateType`; one that verifies completely suffices. No attestation of the type is a rejection
 * (CVE-2022-35929).
 */
export function judgeAttestations(
  evidence: readonly Evidence[],
  { policy, ...subject }: AttestationQuestion,
): Promise<Judgement> {
  return judgeDemand(evidence, { kind: 'attestation', policies: [policy], threshold: 1 }, subject)
}

/**
 * Judges every piece of evidence by one demand.
 * @throws AirsealError OVERLOADED when `signal` stopped it
 */
export async function judgeDemand(
  evidence: readonly Evidence[],
  demand: Demand,
  subject: Subject,
): Promise<Judgement> {
  const refused = senseless(demand) ?? revoked(subject) ?? tooMany(evidence)
  if (refused !== null) return refused
  const verdicts: Verdict[] = []
  const signers = new Set<string>()
  for (const piece of evidence) {
    const { verdict, signer } = await judgePiece(piece, demand, subject)
    verdicts.push(verdict)
    if (signer !== null) signers.add(signer)
  }
  return sumUp(verdicts, signers.size, demand)
}

function senseless({ policies, threshold }: Demand): Judgement | null {
  if (Number.isSafeInteger(threshold) && threshold >= 1 && policies.length > 0) return null
  return rejected('POLICY_INVALID', 'the number of signers is not a whole number from 1')
}

/** Whatever the evidence says; an image without any is revoked as well. */
function revoked({ trust, digest }: Subject): Judgement | null {
  const why = trust.revoked?.digests.get(digest)
  return why === undefined
    ? null
    : rejected('DIGEST_REVOKED', `it was revoked: ${why.slice(0, 200)}`)
}

function tooMany(evidence: readonly Evidence[]): Judgement | null {
  return evidence.length <= MAX_EVIDENCE
    ? null
    : rejected(
        'TOO_MANY',
        `there are ${evidence.length} signatures or attestations, at most ${MAX_EVIDENCE} are judged`,
      )
}

function rejected(reason: Reason, message: string): Judgement {
  return { outcome: 'rejected', reason, message, verdicts: [] }
}

interface Judged {
  readonly verdict: Verdict
  /** Names the signer that counts; null when the piece does not. */
  readonly signer: string | null
}

/** By the first policy that the piece meets; else the rejection that came furthest. */
async function judgePiece(
  piece: Evidence,
  { kind, policies }: Demand,
  { signal, ...subject }: Subject,
): Promise<Judged> {
  let best: Verdict | null = null
  for (const [at, policy] of policies.entries()) {
    if (signal?.aborted === true)
      throw new AirsealError('OVERLOADED', 'judging the evidence took too long')
    const verdict = await verify(piece, kind, { ...subject, policy })
    if (verdict.outcome === 'verified') {
      return {
        verdict,
        signer: policy.signer === undefined ? `key ${verdict.evidence.keyId ?? ''}` : `${at}`,
      }
    }
    if (best === null || rank(verdict) > rank(best)) best = verdict
  }
  return { verdict: best as Verdict, signer: null }
}

function verify(piece: Evidence, kind: Demand['kind'], question: Question): Promise<Verdict> {
  if (kind === 'signature') {
    return piece.format === 'bundle'
      ? verifyBundle({ ...question, bundleText: piece.text })
      : verifyLegacySignature({ ...question, layer: piece })
  }
  // Without a type no attestation can match: the empty text is no predicate type.
  const { policy } = question
  const typed = { ...question, policy: { ...policy, predicateType: policy.predicateType ?? '' } }
  return piece.format === 'bundle'
    ? verifyBundleAttestation({ ...typed, bundleText: piece.text })
    : verifyLegacyAttestation({ ...typed, layer: piece })
}

/** The judgement that follows from verdicts on all pieces of evidence for one digest. */
function sumUp(
  verdicts: readonly Verdict[],
  signers: number,
  { kind, threshold }: Demand,
): Judgement {
  const good = verdicts.find(({ outcome }) => outcome === 'verified')
  if (good !== undefined && signers >= threshold) {
    return { outcome: 'verified', reason: null, message: good.message, verdicts }
  }
  if (good !== undefined) {
    const message = `${signers} distinct signers of it count, want ${threshold}`
    return { outcome: 'rejected', reason: 'SIGNERS_MISSING', message, verdicts }
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
