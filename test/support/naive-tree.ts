import { createHash } from 'node:crypto'

/** RFC 6962 §2.1 written as the definition reads; shares no code with the product. */
const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

export const naiveLeaf = (body: Uint8Array): Buffer => sha256(Uint8Array.of(0), body)

/** Roots of ranges that were computed before, by position: large trees share most of their inside. */
export class NaiveTree {
  readonly #leaves: readonly Uint8Array[]
  readonly #known = new Map<string, Buffer>()

  constructor(leaves: readonly Uint8Array[]) {
    this.#leaves = leaves
  }

  root(begin: number, end: number): Buffer {
    const n = end - begin
    if (n === 0) return sha256()
    if (n === 1) return Buffer.from(this.#leaves[begin]!)
    const name = `${begin}-${end}`
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const k = split(n)
    const root = sha256(Uint8Array.of(1), this.root(begin, begin + k), this.root(begin + k, end))
    this.#known.set(name, root)
    return root
  }

  /** RFC 6962 §2.1.1, PATH(m, D[begin:end]). */
  path(m: number, begin: number, end: number): Buffer[] {
    const n = end - begin
    if (n <= 1) return []
    const k = split(n)
    return m < k
      ? [...this.path(m, begin, begin + k), this.root(begin + k, end)]
      : [...this.path(m - k, begin + k, end), this.root(begin, begin + k)]
  }

  /** RFC 6962 §2.1.2, SUBPROOF(m, D[begin:end], whole). */
  proof(m: number, begin: number, end: number, whole = true): Buffer[] {
    const n = end - begin
    if (m === n) return whole ? [] : [this.root(begin, end)]
    const k = split(n)
    return m <= k
      ? [...this.proof(m, begin, begin + k, whole), this.root(begin + k, end)]
      : [...this.proof(m - k, begin + k, end, false), this.root(begin, begin + k)]
  }
}

function split(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}
