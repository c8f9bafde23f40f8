import { AirsealError } from '../core/index.ts'

/** Callers remembered at most; the one that asked longest ago is forgotten, and would start with a full allowance. */
const MAX_CALLERS = 1_000
const MINUTE_MS = 60_000

/** Takes one from the allowance of a caller. @throws AirsealError RATE_LIMITED */
export type RateLimit = (caller: string) => void

/**
 * Each caller has an allowance of `perMinute`, which fills up again evenly.
 * @param now - monotonic, milliseconds
 */
export function createRateLimit(perMinute: number, now = () => performance.now()): RateLimit {
  const callers = new Map<string, { left: number; at: number }>()
  return (caller) => {
    const at = now()
    const known = callers.get(caller)
    const filled = known === undefined ? 0 : ((at - known.at) * perMinute) / MINUTE_MS
    const left = Math.min(perMinute, (known?.left ?? perMinute) + filled)
    callers.delete(caller)
    callers.set(caller, { left: left >= 1 ? left - 1 : left, at })
    const [oldest] = callers.keys()
    if (callers.size > MAX_CALLERS && oldest !== undefined) callers.delete(oldest)
    if (left >= 1) return
    throw new AirsealError(
      'RATE_LIMITED',
      `${caller} has used its ${perMinute} signatures a minute`,
    )
  }
}
