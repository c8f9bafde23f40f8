import type { LogEntryEvidence } from '../sigstore/index.ts'
import { CONDITION_MINUTE } from './conditions.ts'
import { provenTime } from './log-entry.ts'
import type { Policy, Trust } from './model.ts'
import type { ClaimSigner } from './signer.ts'
import type { Stamp } from './timestamp.ts'

interface Rests {
  readonly signer: ClaimSigner
  readonly entries: readonly LogEntryEvidence[]
  readonly stamps: readonly Stamp[]
  readonly trust: Trust
  readonly policy: Policy
  readonly now: number
}

/**
 * Until when a verdict holds by itself. Most checks compare signed times with windows of validity, which no later moment changes. Those that
 * use the present in place of a signed time are listed here, and must be, whenever one is added.
 * @returns milliseconds since 1970, exclusive; null: without end
 */
export function holdsUntil({ signer, entries, stamps, trust, policy, now }: Rests): number | null {
  const ends: number[] = []
  const timed = stamps.length > 0 || entries.some((entry) => provenTime(entry) !== null)
  if (!timed) {
    // Certificates live minutes: nothing is gained by remembering which of the chain ends first.
    if (signer.certified !== null) ends.push(now)
    const end = signer.trustedKey?.validFor?.end ?? null
    if (end !== null) ends.push(end + 1)
  }
  if (stamps.length === 0) {
    for (const entry of entries) {
      if (provenTime(entry) !== null) continue
      const end = trust.logs.find(({ logId }) => logId === entry.logId)?.validFor.end ?? null
      if (end !== null) ends.push(end + 1)
    }
  }
  if (policy.conditions?.some(({ usesTime }) => usesTime) === true) {
    ends.push(now - (now % CONDITION_MINUTE) + CONDITION_MINUTE)
  }
  return ends.length === 0 ? null : Math.min(...ends)
}
