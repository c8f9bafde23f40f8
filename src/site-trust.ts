import type { SiteTrust } from './evidence/index.ts'

/** The trust that counts now. A change counts for the next question; nothing keeps an older state. */
export interface CurrentTrust {
  /** @throws AirsealError TRUST_STALE when what is there is too old to count */
  current(): SiteTrust
  /** Called after each change, and waited for. */
  onChange(listener: () => void | Promise<void>): void
}
