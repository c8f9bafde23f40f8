import { AirsealError, verifyMessage } from '../core/index.ts'
import {
  type EntryBody,
  type LogEntryEvidence,
  parseEntryBody,
  signedEntryTimestampPayload,
  type Validity,
} from '../sigstore/index.ts'
import { leafHash, verifyInclusion } from '../tlog/index.ts'
import { type Bound, checkBinding } from './binding.ts'
import { checkCheckpoint, type LogVersion } from './checkpoint.ts'
import type { Trust, TrustedLog } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

/** How far the clock of a log or authority may run ahead of ours; sites without time servers drift. */
export const CLOCK_SKEW_MS = 5 * 60 * 1000

export interface EntryContext {
  readonly trust: Trust
  /** Milliseconds since 1970. */
  readonly now: number
  /** Legacy annotations have no place for one; everything else must carry it. */
  readonly proofRequired: boolean
  /** Times at which trusted authorities stamped the signature, milliseconds since 1970. */
  readonly stampTimes: readonly number[]
}

/**
 * Checks a log entry completely: its log is known, it is the entry of this signature, and the inclusion proof leads to a checkpoint that the
 * log signed. Rekor v1: the log promised it (SET) within the validity of its key and not in the future. Rekor v2 tells no time: there the
 * time stamps must lie within that validity, or now must when there are none.
 * @returns null when all of that holds
 */
export async function checkEntry(
  entry: LogEntryEvidence,
  bound: Bound,
  context: EntryContext,
): Promise<Refusal | null> {
  const body = readBody(entry)
  if ('reason' in body) return body
  const log = context.trust.logs.find(({ logId }) => logId === entry.logId)
  if (log === undefined) {
    return refusal('LOG_UNKNOWN', `the log ${entry.logId.slice(0, 16)}… is not trusted`)
  }
  const version = logVersion(body)
  const promised = version === 1 ? checkSet : checkUntimed
  return (
    checkBinding(body, bound) ??
    (await promised(entry, log, context)) ??
    (await checkProof(entry, log, version, context.proofRequired || version === 2))
  )
}

/** When the log says that it took the entry in, milliseconds since 1970; null when nothing vouches for the time. Of verified entries only. */
export function provenTime({ set, integratedTime }: LogEntryEvidence): number | null {
  return set === null ? null : integratedTime * 1000
}

function logVersion(body: EntryBody): LogVersion {
  return body.version === '0.0.2' && body.kind === 'hashedrekord' ? 2 : 1
}

function readBody(entry: LogEntryEvidence): EntryBody | Refusal {
  let body: EntryBody
  try {
    body = parseEntryBody(entry.body)
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('LOG_ENTRY_INVALID', thrown.message)
  }
  if (body.kind === 'other') {
    return refusal('UNSUPPORTED', 'the log entry is of a kind that is not judged')
  }
  const said = entry.kindVersion
  if (said !== null && (said.kind !== body.kind || said.version !== body.version)) {
    return refusal('LOG_ENTRY_INVALID', 'the log entry is of another kind than the bundle says')
  }
  return body
}

async function checkSet(
  entry: LogEntryEvidence,
  log: TrustedLog,
  { now }: EntryContext,
): Promise<Refusal | null> {
  // Without it nothing vouches for the time (CVE-2026-48816).
  if (entry.set === null) {
    return refusal('SET_INVALID', 'the log entry has no signed entry timestamp')
  }
  const good = await verifyMessage(log.key, 'sha256', signedEntryTimestampPayload(entry), entry.set)
  return good
    ? checkTime(entry, log, now)
    : refusal('SET_INVALID', 'the signed entry timestamp is not by the log')
}

function checkUntimed(
  { set }: LogEntryEvidence,
  { validFor }: TrustedLog,
  { stampTimes, now }: EntryContext,
): Refusal | null {
  if (set !== null) {
    return refusal('SET_INVALID', 'a Rekor v2 entry has no signed entry timestamp')
  }
  const times = stampTimes.length === 0 ? [now] : stampTimes
  return times.every((time) => within(validFor, time))
    ? null
    : refusal('LOG_TIME_INVALID', 'the signature was stamped outside the validity of the log key')
}

function checkTime(entry: LogEntryEvidence, log: TrustedLog, now: number): Refusal | null {
  const time = entry.integratedTime * 1000
  if (!within(log.validFor, time)) {
    return refusal('LOG_TIME_INVALID', 'the entry was logged outside the validity of the log key')
  }
  return time > now + CLOCK_SKEW_MS
    ? refusal('LOG_TIME_INVALID', 'the entry was logged in the future')
    : null
}

async function checkProof(
  entry: LogEntryEvidence,
  log: TrustedLog,
  version: LogVersion,
  required: boolean,
): Promise<Refusal | null> {
  const proof = entry.inclusionProof
  if (proof === null) {
    return required
      ? refusal('INCLUSION_PROOF_INVALID', 'the log entry has no inclusion proof')
      : null
  }
  // Rekor v1: the index of the proof is local to its tree, and the entry's global one is signed with its time. Rekor v2 has one index, which
  // nothing else vouches for.
  if (version === 2 && proof.index !== entry.logIndex) {
    return refusal('INCLUSION_PROOF_INVALID', 'the inclusion proof is for another index')
  }
  if (!verifyInclusion({ ...proof, leafHash: leafHash(entry.body) })) {
    return refusal('INCLUSION_PROOF_INVALID', 'the inclusion proof does not lead to its root')
  }
  return checkCheckpoint(proof, log, version)
}

/** True when `time` (ms) lies inside; both ends inclusive. */
export function within({ start, end }: Validity, time: number): boolean {
  return time >= start && (end === null || time <= end)
}
