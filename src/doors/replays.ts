import { AirsealError, type Clock, type Json } from '../core/index.ts'
import { MAX_SKEW_MS } from './sigv4.ts'

/** Requests remembered at most; each stays for as long as its signature would be accepted again. */
const MAX_KEPT = 10_000

/** Answers a request that was seen before as it was answered then. */
export type Replays = (signature: string, work: () => Promise<Json>) => Promise<Json>

/**
 * A captured request is good for some minutes, and a client that lost the answer asks again: neither makes a second signature, and
 * neither uses up a cap. Only what succeeded is kept.
 */
export function createReplays(clock: Clock): Replays {
  const kept = new Map<string, { readonly until: number; readonly answer: Promise<Json> }>()

  function forget(now: number): void {
    for (const [signature, { until }] of kept) {
      if (until > now) return
      kept.delete(signature)
    }
  }

  return async (signature, work) => {
    const now = clock()
    forget(now)
    const known = kept.get(signature)
    if (known !== undefined) return known.answer
    if (kept.size >= MAX_KEPT) throw new AirsealError('OVERLOADED', 'too many signatures at a time')
    const answer = work()
    // Signed up to one skew ahead of our clock, it stays acceptable for two.
    kept.set(signature, { until: now + 2 * MAX_SKEW_MS, answer })
    answer.catch(() => kept.delete(signature))
    return answer
  }
}
