import { AirsealError } from '../core/index.ts'
import type { KeyRecord, Mark } from './record.ts'

/** Part of one log, both ends inclusive; null: without end. */
export interface Range {
  readonly logId: string
  readonly first: number | null
  readonly last: number | null
}

/**
 * Where signatures by a key count; null: anywhere. Entries of other logs have no index of ours: they count for a key that was never in other
 * hands, and for no compromised one.
 * @param logId - of the own log
 * @param otherLogs - ids of the other logs that are trusted
 */
export function validRanges(
  { state, validFrom, validTo, compromisedFrom }: KeyRecord,
  logId: string,
  otherLogs: readonly string[] = [],
): readonly Range[] | null {
  if (state === 'retired') return []
  if (state === 'active' && validFrom.index === 0) return null
  const ends = [validTo, compromisedFrom].flatMap((mark) => (mark === null ? [] : [mark.index]))
  const end = ends.length === 0 ? null : Math.min(...ends)
  const own: Range = { logId, first: validFrom.index, last: end === null ? null : end - 1 }
  const others = state === 'compromised' ? [] : otherLogs.filter((id) => id !== logId)
  return [
    ...(end !== null && end <= validFrom.index ? [] : [own]),
    ...others.map((id) => ({ logId: id, first: null, last: null })),
  ]
}

/** The key no longer signs; what it signed before `at` counts on. @throws AirsealError KEY_STATE */
export function replaced(
  record: KeyRecord,
  at: Mark,
  successor: string | null,
  reason: string | null,
): KeyRecord {
  requireState(record, ['active'])
  return { ...record, state: 'verify-only', validTo: at, successor, reason }
}

/** Nothing that it signed counts any more, though it never was in other hands. @throws AirsealError KEY_STATE */
export function retired(record: KeyRecord, at: Mark, reason: string | null): KeyRecord {
  requireState(record, ['active', 'verify-only'])
  return { ...record, state: 'retired', validTo: record.validTo ?? at, reason }
}

/**
 * The key is in other hands since `from`. Learning more moves the moment back, never forward: what was refused stays refused.
 * @param at - now
 * @throws AirsealError KEY_STATE
 */
export function compromised(
  record: KeyRecord,
  from: Mark,
  at: Mark,
  reason: string | null,
): KeyRecord {
  const known = record.compromisedFrom
  if (known !== null && from.index > known.index) {
    throw new AirsealError(
      'KEY_STATE',
      `key "${record.name}" is compromised from index ${known.index} on; that can only move back`,
    )
  }
  // Of a retired key nothing counts, and being compromised must not bring any of it back.
  const start = record.state === 'retired' ? { ...from, index: record.validFrom.index } : from
  return {
    ...record,
    state: 'compromised',
    validTo: record.validTo ?? at,
    compromisedFrom: start,
    reason: reason ?? record.reason,
  }
}

function requireState({ name, state }: KeyRecord, wanted: readonly KeyRecord['state'][]): void {
  if (wanted.includes(state)) return
  throw new AirsealError('KEY_STATE', `key "${name}" is ${state}, not ${wanted.join(' or ')}`)
}
