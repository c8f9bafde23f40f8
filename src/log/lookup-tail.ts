/**
 * Index rows of the newest entries, which are not in the table yet. Hashes fall anywhere in an index: written one by one, each would dirty a
 * page of its own. Written many at a time and in order, they share pages.
 */
export class LookupTail {
  readonly #byPrefix = new Map<number, number[]>()

  /** @param prefix - as prefix48 gives it. Indexes come in rising order. */
  add(prefix: number, index: number): void {
    const known = this.#byPrefix.get(prefix)
    if (known === undefined) this.#byPrefix.set(prefix, [index])
    // One entry may name the same key twice.
    else if (known.at(-1) !== index) known.push(index)
  }

  /** Indexes of entries, in rising order. */
  find(prefix: number): readonly number[] {
    return this.#byPrefix.get(prefix) ?? []
  }

  /** Prefixes and indexes in turn, in the order of the table. */
  rows(): number[] {
    const prefixes = [...this.#byPrefix.keys()].sort((a, b) => a - b)
    return prefixes.flatMap((prefix) =>
      (this.#byPrefix.get(prefix) ?? []).flatMap((index) => [prefix, index]),
    )
  }

  clear(): void {
    this.#byPrefix.clear()
  }
}
