import { AirsealError, bytesEqual } from '../core/index.ts'
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

/** Compares a verified entry with the local log. */
export type EntryCheck = (entry: LogEntryEvidence) => Promise<Presence>

/**
 * Looks entries of this log up in it; entries of other logs count as present. A proof shows that the log held the entry once: that it
 * still does is what finds a log rolled back to an older copy.
 */
export function checkAgainst(log: LocalLog): EntryCheck {
  return async (entry) => {
    if (entry.logId !== log.logId) return 'present'
    try {
      const stored = await log.entryByIndex(entry.logIndex)
      return stored !== null && bytesEqual(stored.body, entry.body) ? 'present' : 'absent'
    } catch (thrown) {
      if (thrown instanceof AirsealError && thrown.code === 'LOG_DAMAGED') return 'damaged'
      throw thrown
    }
  }
}
