import { asAirsealError, type AirsealError, type Digest, type ErrorCode } from '../core/index.ts'
import type { Repository } from '../oci/index.ts'
import {
  type AttestationQuestion,
  type Evidence,
  judgeAttestations,
  type Judgement,
  judgeSignatures,
  type Question,
  type Reason,
  type Verdict,
} from '../verify/index.ts'
import { collectEvidence, type EvidenceKind } from './collect.ts'
import type { EntryCheck } from './local-log.ts'

/** What holds for one image. `error`: it could not be found out, which callers must treat as no. */
export interface ImageResult {
  readonly outcome: 'verified' | 'rejected' | 'error'
  /** Null when verified; an error has the code of the fault. */
  readonly reason: Reason | ErrorCode | null
  /** One sentence for people. */
  readonly message: string
  /** Every piece of evidence with its verdict, in the order found. */
  readonly judged: readonly { readonly evidence: Evidence; readonly verdict: Verdict }[]
}

export interface ImageQuestion extends Omit<Question, 'digest'> {
  readonly kind: EvidenceKind
  /** Asks the local log about entries that verified; absent: not asked. */
  readonly localEntryCheck?: EntryCheck | undefined
}

/**
 * Judges what lies beside the image `digest`. A place that could not be read makes it an error unless the rest suffices: what verifies
 * does so whatever else there is.
 */
export async function verifyReference(
  repository: Repository,
  digest: Digest,
  question: ImageQuestion,
): Promise<ImageResult> {
  try {
    const { evidence, faults } = await collectEvidence(repository, digest, question.kind)
    const judgement = await judge(evidence, { ...question, digest })
    const judged = judgement.verdicts.flatMap((verdict, at) => {
      const piece = evidence[at]
      return piece === undefined ? [] : [{ evidence: piece, verdict }]
    })
    const { outcome, reason, message } = judgement
    const [fault] = faults
    if (outcome !== 'verified' && fault !== undefined) return { ...faultResult(fault), judged }
    const denied = outcome === 'verified' ? await askLog(judgement, question) : null
    return { ...(denied ?? { outcome, reason, message }), judged }
  } catch (thrown) {
    return faultResult(asAirsealError(thrown))
  }
}

/**
 * A fault as result. Bytes that differ from their digest are no fault of the line: that content is refused, whoever changed it.
 */
export function faultResult({ code, message }: AirsealError): ImageResult {
  return code === 'DIGEST_MISMATCH'
    ? { outcome: 'rejected', reason: 'CONTENT_MISMATCH', message, judged: [] }
    : { outcome: 'error', reason: code, message, judged: [] }
}

function judge(
  evidence: readonly Evidence[],
  question: ImageQuestion & Question,
): Promise<Judgement> {
  return question.kind === 'signature'
    ? judgeSignatures(evidence, question)
    : judgeAttestations(evidence, withType(question))
}

/** Without a type no attestation can match: the empty text is no predicate type. */
function withType(question: Question): AttestationQuestion {
  const { policy } = question
  return { ...question, policy: { ...policy, predicateType: policy.predicateType ?? '' } }
}

/**
 * Asks the local log about every entry that verified. One that it denies refuses the image, even where another signature is sound: a log
 * that does not hold what it signed was damaged or rolled back, and nobody else can make such an entry.
 */
async function askLog(
  { verdicts }: Judgement,
  { localEntryCheck }: ImageQuestion,
): Promise<Omit<ImageResult, 'judged'> | null> {
  if (localEntryCheck === undefined) return null
  for (const { evidence } of verdicts) {
    if (evidence.entry === null) continue
    const presence = await localEntryCheck(evidence.entry)
    const { logIndex } = evidence.entry
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
