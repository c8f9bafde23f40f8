import { AirsealError, bytesEqual, sha256Hex, type Clock } from '../core/index.ts'
import type { LogEntryEvidence } from '../sigstore/index.ts'

/** What the local log says about an entry that it signed. */
export type Presence = 'present' | 'absent' | 'damaged'

/** The part of the log that is asked. */
export interface LocalLog {
  /** SHA-256 of the log key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  /** Null when there is none. @throws AirsealError LOG_DAMAGED when what is stored differs from what was signed */
  entryByIndex(logIndex: number): Promise<{ readonly body: Uint8Array } | null>
}

/** How long an entry that was found counts as found, milliseconds; and how many are remembered. */
const FOUND_MS = 5 * 60_000
const MAX_FOUND = 20_000

/** Compares a verified entry with the local log. */
export type EntryCheck = (entry: LogEntryEvidence) => Promise<Presence>

/**
 * Looks entries of this log up in it; entries of other logs count as present. A proof shows that the log held the entry once: that it
 * still does is what finds a log rolled back to an older copy.
 */
export function checkAgainst(log: LocalLog, clock: Clock = () => 0): EntryCheck {
  /** Entries that were found, and when: a log only grows, so asking for each verdict finds no more than asking now and then. */
  const found = new Map<string, number>()
  return async (entry) => {
    if (entry.logId !== log.logId) return 'present'
    const name = `${entry.logIndex} ${sha256Hex(entry.body)}`
    const age = clock() - (found.get(name) ?? Number.NEGATIVE_INFINITY)
    if (age >= 0 && age < FOUND_MS) return 'present'
    found.delete(name)
    try {
      const stored = await log.entryByIndex(entry.logIndex)
      if (stored === null || !bytesEqual(stored.body, entry.body)) return 'absent'
      if (found.size >= MAX_FOUND) found.clear()
      found.set(name, clock())
      return 'present'
    } catch (thrown) {
      if (thrown instanceof AirsealError && thrown.code === 'LOG_DAMAGED') return 'damaged'
      throw thrown
    }
  }
}
