import { setTimeout as pause } from 'node:timers/promises'
import { AirsealError, asAirsealError } from '../src/core/index.ts'
import { transient, transientDetails } from './backend.ts'

/** How long and how often a back-end is asked. Times in milliseconds. */
export interface Limits {
  /** For a whole call, waiting included. */
  readonly deadline: number
  /** For one attempt. */
  readonly attempt: number
  readonly attempts: number
  /** Longest wait before the second attempt; doubles with each. The wait itself is random below it. */
  readonly firstWait: number
  /** This many calls in a row that failed for a passing reason stop all calls… */
  readonly breakAfter: number
  /** …for this long; then one call is let through. At most 15 s, so that signing is back within 30 s of the back-end. */
  readonly coolDown: number
  /** Calls under way; more are refused. */
  readonly inFlight: number
}

export const DEFAULT_LIMITS: Limits = {
  deadline: 10_000,
  attempt: 4_000,
  attempts: 4,
  firstWait: 100,
  breakAfter: 5,
  coolDown: 10_000,
  inFlight: 1_024,
}

/** Time and chance, so that tests decide both. */
export interface Timing {
  /** Monotonic, milliseconds. */
  now(): number
  wait(milliseconds: number): Promise<void>
  /** From 0 to 1, 1 excluded. */
  random(): number
}

const realTiming: Timing = {
  now: () => performance.now(),
  wait: (milliseconds) => pause(milliseconds),
  random: () => Math.random(),
}

/** Bounded retries with jitter inside a deadline, behind a circuit breaker. One for each key. */
export interface Guard {
  /**
   * Runs attempts until one succeeds, one fails for good, or the limits are reached.
   * @throws AirsealError what the last attempt threw; KEY_UNAVAILABLE when it took too long or the breaker is open; OVERLOADED
   */
  run<T>(attempt: (signal: AbortSignal) => Promise<T>): Promise<T>
  /** `open`: calls are refused untried; `trying`: one call finds out whether the back-end is back. */
  state(): 'closed' | 'open' | 'trying'
}

export function createGuard(name: string, limits = DEFAULT_LIMITS, timing = realTiming): Guard {
  let failures = 0
  let openUntil: number | null = null
  let isTrying = false
  let underWay = 0
  let lastReason = ''

  /** Refuses, or says whether this call is the one that tries. */
  function admit(): boolean {
    if (underWay >= limits.inFlight) {
      throw new AirsealError('OVERLOADED', `key "${name}" has ${underWay} calls under way`)
    }
    if (openUntil === null) return false
    const left = openUntil - timing.now()
    if (left > 0 || isTrying) {
      const seconds = Math.max(1, Math.ceil(left / 1_000))
      throw new AirsealError(
        'KEY_UNAVAILABLE',
        `key "${name}" was not asked: ${failures} calls in a row failed, the last one because ${lastReason}; asked again in ${seconds} s`,
      )
    }
    isTrying = true
    return true
  }

  function succeeded(): void {
    failures = 0
    openUntil = null
  }

  function failed(error: unknown): void {
    // A clear answer, even a refusal, shows that the back-end is there.
    if (transientDetails(error) === null) {
      succeeded()
      return
    }
    failures += 1
    lastReason = asAirsealError(error).message
    if (failures < limits.breakAfter) return
    // Jitter, so that the keys of many processes don't all come back at once.
    openUntil = timing.now() + limits.coolDown * (1 + timing.random() / 2)
  }

  async function attempts<T>(attempt: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const end = timing.now() + limits.deadline
    for (let number = 1; ; number += 1) {
      try {
        return await withLimit(name, Math.min(limits.attempt, end - timing.now()), attempt)
      } catch (error) {
        const details = transientDetails(error)
        if (details === null || number >= limits.attempts) throw error
        const wait = limits.firstWait * 2 ** (number - 1) * timing.random()
        const atLeast = Math.max(wait, details.retryAfterMs ?? 0)
        if (timing.now() + atLeast >= end) throw error
        await timing.wait(atLeast)
      }
    }
  }

  return {
    async run(attempt) {
      const tries = admit()
      underWay += 1
      try {
        const result = await attempts(attempt)
        succeeded()
        return result
      } catch (error) {
        failed(error)
        throw error
      } finally {
        underWay -= 1
        if (tries) isTrying = false
      }
    },
    state() {
      if (openUntil === null) return 'closed'
      return openUntil > timing.now() ? 'open' : 'trying'
    },
  }
}

/** Ends the wait when the time is over, whether or not the attempt listens to the signal. */
async function withLimit<T>(
  name: string,
  milliseconds: number,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(transient(`key "${name}" did not answer in ${Math.round(milliseconds)} ms`, undefined))
      controller.abort()
    }, milliseconds)
  })
  try {
    return await Promise.race([attempt(controller.signal), late])
  } finally {
    clearTimeout(timer)
  }
}
