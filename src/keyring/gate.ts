/**
 * Lets many uses of keys run at a time, or one change of keys alone: a key that is replaced must have nothing on its way, or what it signed
 * would reach the log after it stopped counting. A change that waits goes before later uses.
 */
export class Gate {
  #inside = 0
  #change: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #empty: (() => void) | null = null

  /** Runs beside other uses. */
  async shared<T>(work: () => Promise<T>): Promise<T> {
    while (this.#waiting > 0) await this.#change
    this.#inside += 1
    try {
      return await work()
    } finally {
      this.#inside -= 1
      if (this.#inside === 0) this.#empty?.()
    }
  }

  /** Runs when no use is under way, and nothing beside it. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting += 1
    const before = this.#change
    const run = async (): Promise<T> => {
      await before
      if (this.#inside > 0) await new Promise<void>((resolve) => (this.#empty = resolve))
      this.#empty = null
      try {
        return await work()
      } finally {
        this.#waiting -= 1
      }
    }
    const done = run()
    this.#change = done.catch(() => undefined)
    return done
  }
}
