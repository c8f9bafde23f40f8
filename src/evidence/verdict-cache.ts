import type { SiteTrust } from './site-trust.ts'

/** What an answer rests on beside its question. */
export interface Basis {
  /** Compared by identity: every change of trust is another object. */
  readonly trust: SiteTrust
  /** Grows with every change of a policy. */
  readonly policies: number
  /** When it was found, milliseconds since 1970. */
  readonly at: number
  /** Until when it holds, exclusive. */
  readonly until: number
}

interface Kept<T> extends Basis {
  readonly value: T
  readonly size: number
}

/** Longest time for which an answer is kept, milliseconds: after that the evidence is judged again, and the local log asked again. */
export const MAX_AGE_MS = 5 * 60_000
/** Bytes that a kept answer takes beside its own. */
const OVERHEAD = 200

/**
 * Answers by question, least recently used ones leave first. An answer counts only under the very trust and policies that it was found under,
 * and inside its time: a clock that was set back makes it count no more.
 */
export class VerdictCache<T> {
  readonly #kept = new Map<string, Kept<T>>()
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get(question: string, trust: SiteTrust, policies: number, now: number): T | null {
    const kept = this.#kept.get(question)
    if (kept === undefined) return null
    const holds =
      kept.trust === trust && kept.policies === policies && now >= kept.at && now < kept.until
    this.#kept.delete(question)
    if (holds) {
      this.#kept.set(question, kept)
      return kept.value
    }
    this.#bytes -= kept.size
    return null
  }

  /** @param bytes - size of `value` */
  set(question: string, value: T, bytes: number, basis: Basis): void {
    const size = bytes + question.length + OVERHEAD
    if (size > this.#maxBytes / 16) return
    this.#bytes += size - (this.#kept.get(question)?.size ?? 0)
    this.#kept.delete(question)
    this.#kept.set(question, { ...basis, value, size })
    for (const [oldest, { size: freed }] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) break
      this.#kept.delete(oldest)
      this.#bytes -= freed
    }
  }
}
