import type { SiteTrust } from './evidence/index.ts'

/** The trust that counts now. A change counts for the next question; nothing keeps an older state. */
export interface CurrentTrust {
  current(): SiteTrust
  replace(next: SiteTrust): void
  /** Called after each change. */
  onChange(listener: (now: SiteTrust) => void): void
}

export function currentTrust(first: SiteTrust): CurrentTrust {
  let now = first
  const listeners: ((now: SiteTrust) => void)[] = []
  return {
    current: () => now,
    replace: (next) => {
      now = next
      for (const listener of listeners) listener(next)
    },
    onChange: (listener) => {
      listeners.push(listener)
    },
  }
}
