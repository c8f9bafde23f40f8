import type { Finding } from './judge/ports.ts'

interface Kept {
  readonly finding: Finding
  /** Milliseconds of a clock that only goes forward. */
  readonly at: number
}

export interface MemoryLimits {
  readonly entries: number
  /** A yes is believed so long without looking again, milliseconds. */
  readonly freshMs: number
  /** A yes stands so long while nothing can be found out, milliseconds. */
  readonly staleMs: number
  /** A no is repeated so long, milliseconds: what was just signed is let in at once. */
  readonly negativeMs: number
}

const DEFAULT_LIMITS: MemoryLimits = {
  entries: 50_000,
  freshMs: 10 * 60_000,
  staleMs: 24 * 3_600_000,
  negativeMs: 500,
}

/**
 * Keeps findings by digest, demand and trust version. Nothing in it depends on a tag, and a change of trust or policy changes the key. What could not be
 * found out is never kept. The same question at the same time is asked once.
 */
export class FindingMemory {
  readonly #limits: MemoryLimits
  readonly #now: () => number
  readonly #kept = new Map<string, Kept>()
  readonly #asking = new Map<string, Promise<Finding>>()

  /** @param now - milliseconds of a clock that only goes forward, so that a changed wall clock ages nothing */
  constructor(now: () => number, limits: MemoryLimits = DEFAULT_LIMITS) {
    this.#now = now
    this.#limits = limits
  }

  async finding(key: string, ask: () => Promise<Finding>): Promise<Finding> {
    const known = this.#kept.get(key)
    const { freshMs, negativeMs, staleMs } = this.#limits
    if (known !== undefined) {
      const age = this.#now() - known.at
      if (age < (known.finding.outcome === 'verified' ? freshMs : negativeMs)) return known.finding
    }
    const found = await this.#once(key, ask)
    if (found.outcome === 'error') {
      return known?.finding.outcome === 'verified' && this.#now() - known.at < staleMs
        ? known.finding
        : found
    }
    return found
  }

  #once(key: string, ask: () => Promise<Finding>): Promise<Finding> {
    const under = this.#asking.get(key)
    if (under !== undefined) return under
    const asking = ask()
      .then((finding) => {
        if (finding.outcome !== 'error') this.#keep(key, finding)
        return finding
      })
      .finally(() => this.#asking.delete(key))
    this.#asking.set(key, asking)
    return asking
  }

  #keep(key: string, finding: Finding): void {
    this.#kept.delete(key)
    this.#kept.set(key, { finding, at: this.#now() })
    if (this.#kept.size <= this.#limits.entries) return
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined) this.#kept.delete(oldest)
  }
}
