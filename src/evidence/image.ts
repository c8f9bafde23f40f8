import { asAirsealError, type AirsealError, type Digest, type ErrorCode } from '../core/index.ts'
import type { Account, Repository } from '../oci/index.ts'
import {
  type Demand,
  type Evidence,
  judgeDemand,
  type Judgement,
  type Policy,
  type Reason,
  type Trust,
  type Verdict,
} from '../verify/index.ts'
import { collectEvidence, type Collected, type EvidenceKind } from './collect.ts'
import type { EntryCheck } from './local-log.ts'
import { pieceId } from './piece.ts'

/** What holds for one image. `error`: it could not be found out, which callers must treat as no. */
export interface ImageResult {
  readonly outcome: 'verified' | 'rejected' | 'error'
  /** Null when verified; an error has the code of the fault. */
  readonly reason: Reason | ErrorCode | null
  /** One sentence for people. */
  readonly message: string
  /** Every piece of evidence with its verdict, demand by demand, in the order found. */
  readonly judged: readonly JudgedPiece[]
  /** One for each demand, in their order; empty when it did not come to judging. */
  readonly demands: readonly { readonly demand: NamedDemand; readonly judgement: Judgement }[]
  /** Until when the verdict holds while trust, question and evidence are the same, milliseconds since 1970; null: without end. */
  readonly holdsUntil: number | null
}

export interface JudgedPiece {
  readonly evidence: Evidence
  readonly verdict: Verdict
}

/** A demand as results name it. */
export interface NamedDemand extends Demand {
  readonly name: string
  /** Null for signatures. */
  readonly predicateType: string | null
}

/** What is asked about one image. */
export interface ImageDemands {
  /** All of them must hold; at least one. */
  readonly demands: readonly NamedDemand[]
  readonly trust: Trust
  /** Milliseconds since 1970. */
  readonly now: number
  /** Asks the local log about entries that verified; absent: not asked. */
  readonly localEntryCheck?: EntryCheck | undefined
  /** Stops the judging. */
  readonly signal?: AbortSignal | undefined
  /** Told how many bytes of evidence are about to be read. */
  readonly account?: Account | undefined
}

export interface ImageQuestion extends Omit<ImageDemands, 'demands'> {
  readonly kind: EvidenceKind
  readonly policy: Policy
}

/**
 * Judges what lies beside the image `digest` by one policy. A place that could not be read makes it an error unless the rest suffices:
 * what verifies does so whatever else there is.
 */
export function verifyReference(
  repository: Repository,
  digest: Digest,
  { kind, policy, ...question }: ImageQuestion,
): Promise<ImageResult> {
  const predicateType = policy.predicateType ?? null
  const demand = { kind, policies: [policy], threshold: 1, name: kind, predicateType }
  return judgeRepository(repository, digest, { ...question, demands: [demand] }).then(
    ({ result }) => result,
  )
}

/**
 * The same by any number of demands, with what was found.
 * @param known - evidence from elsewhere, judged together with what lies there: half of what is demanded may be in each place
 */
export async function judgeRepository(
  repository: Repository,
  digest: Digest,
  question: ImageDemands,
  known: readonly Evidence[] = [],
): Promise<{ readonly result: ImageResult; readonly evidence: readonly Evidence[] }> {
  try {
    const collected = await collectEvidence(
      repository,
      digest,
      kindsOf(question.demands),
      question.account,
    )
    const there = new Set(collected.evidence.map(pieceId))
    const others = known.filter((piece) => !there.has(pieceId(piece)))
    const evidence = [...collected.evidence, ...others]
    return {
      result: await judgeCollected({ ...collected, evidence }, digest, question),
      evidence,
    }
  } catch (thrown) {
    return { result: faultResult(asAirsealError(thrown)), evidence: [] }
  }
}

/** What must be read for these demands. */
function kindsOf(demands: readonly Demand[]): EvidenceKind[] {
  return [...new Set(demands.map(({ kind }) => kind))]
}

/** Judges evidence, wherever it comes from. @throws AirsealError OVERLOADED, and what the local log throws */
export async function judgeCollected(
  { evidence, faults }: Collected,
  digest: Digest,
  question: ImageDemands,
): Promise<ImageResult> {
  const { trust, now, signal } = question
  const demands: ImageResult['demands'][number][] = []
  const judged: JudgedPiece[] = []
  for (const demand of question.demands) {
    const pieces = evidence.filter((one) => one.format === 'bundle' || one.kind === demand.kind)
    const judgement = await judgeDemand(pieces, demand, { digest, trust, now, signal })
    demands.push({ demand, judgement })
    for (const [at, verdict] of judgement.verdicts.entries()) {
      const piece = pieces[at]
      if (piece !== undefined) judged.push({ evidence: piece, verdict })
    }
  }
  const [fault] = faults
  const failed = demands.find(({ judgement }) => judgement.outcome !== 'verified')
  if (failed !== undefined && fault !== undefined) return { ...faultResult(fault), judged, demands }
  if (failed !== undefined) {
    const { reason, message } = failed.judgement
    const named = demands.length > 1 ? `${failed.demand.name}: ${message}` : message
    return { outcome: 'rejected', reason, message: named, judged, demands, holdsUntil: null }
  }
  const denied = await askLog(judged, question)
  if (denied !== null) return { ...denied, judged, demands, holdsUntil: null }
  return {
    outcome: 'verified',
    reason: null,
    message: demands.map(({ judgement }) => judgement.message).join('; '),
    judged,
    demands,
    holdsUntil: earliest(judged),
  }
}

/** Of all that verified, though less might suffice: too early is only a question asked once more. */
function earliest(judged: readonly JudgedPiece[]): number | null {
  const ends = judged.flatMap(({ verdict }) =>
    verdict.outcome === 'verified' ? (verdict.evidence.holdsUntil ?? []) : [],
  )
  return ends.length === 0 ? null : Math.min(...ends)
}

/**
 * A fault as result. Bytes that differ from their digest are no fault of the line: that content is refused, whoever changed it.
 */
export function faultResult({ code, message }: AirsealError): ImageResult {
  const rest = { message, judged: [], demands: [], holdsUntil: null }
  return code === 'DIGEST_MISMATCH'
    ? { outcome: 'rejected', reason: 'CONTENT_MISMATCH', ...rest }
    : { outcome: 'error', reason: code, ...rest }
}

/**
 * Asks the local log about every entry that verified. One that it denies refuses the image, even where another signature is sound: a log
 * that does not hold what it signed was damaged or rolled back, and nobody else can make such an entry.
 */
async function askLog(
  judged: readonly JudgedPiece[],
  { localEntryCheck }: ImageDemands,
): Promise<Pick<ImageResult, 'outcome' | 'reason' | 'message'> | null> {
  if (localEntryCheck === undefined) return null
  for (const { verdict } of judged) {
    const { entry } = verdict.evidence
    if (entry === null) continue
    const presence = await localEntryCheck(entry)
    const { logIndex } = entry
    if (presence === 'absent') {
      const message = `the local log does not hold entry ${logIndex}, which it signed`
      return { outcome: 'rejected', reason: 'ENTRY_NOT_IN_LOG', message }
    }
    if (presence === 'damaged') {
      const message = `the local log is damaged at entry ${logIndex}`
      return { outcome: 'rejected', reason: 'LOG_DAMAGED', message }
    }
  }
  return null
}
