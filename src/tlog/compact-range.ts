import { AirsealError } from '../core/index.ts'
import { EMPTY_ROOT, HASH_SIZE, nodeHash } from './hash.ts'

/**
 * The right edge of a tree: the roots of its perfect subtrees, largest first. Enough to append and to know the root, in 32 bytes for
 * each bit that is set in the size.
 */
export class CompactRange {
  #size = 0
  #nodes: Uint8Array[] = []

  /** Number of leaves. */
  get size(): number {
    return this.#size
  }

  /** Adds one leaf by its hash (32 bytes). The array is kept, not copied. */
  append(leaf: Uint8Array): void {
    if (leaf.length !== HASH_SIZE) throw new AirsealError('INTERNAL', 'a leaf hash has 32 bytes')
    let node = leaf
    // Each one at the end of the size is a perfect subtree that this leaf completes to the next larger one.
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      node = nodeHash(this.#nodes.pop() as Uint8Array, node)
    }
    this.#nodes.push(node)
    this.#size += 1
  }

  /** Root of the tree, 32 bytes. */
  root(): Uint8Array {
    let root = this.#nodes.at(-1)
    for (let at = this.#nodes.length - 2; at >= 0; at--) {
      root = nodeHash(this.#nodes[at] as Uint8Array, root as Uint8Array)
    }
    return root ?? EMPTY_ROOT
  }

  /** An independent copy. */
  clone(): CompactRange {
    const copy = new CompactRange()
    copy.#size = this.#size
    copy.#nodes = [...this.#nodes]
    return copy
  }

  /** Size (8 bytes, big-endian), then the subtree roots, largest first. */
  serialise(): Uint8Array {
    const size = Buffer.alloc(8)
    size.writeBigUInt64BE(BigInt(this.#size))
    return Buffer.concat([size, ...this.#nodes])
  }

  /**
   * Reads what {@link serialise} wrote.
   * @throws AirsealError LOG_DAMAGED when the number of hashes doesn't fit the size
   */
  static restore(bytes: Uint8Array): CompactRange {
    const view = Buffer.from(bytes)
    const size = view.length < 8 ? -1 : Number(view.readBigUInt64BE(0))
    if (!Number.isSafeInteger(size) || size < 0 || view.length !== 8 + HASH_SIZE * onesIn(size)) {
      throw new AirsealError('LOG_DAMAGED', 'stored compact range is malformed')
    }
    const range = new CompactRange()
    range.#size = size
    for (let at = 8; at < view.length; at += HASH_SIZE) {
      range.#nodes.push(view.subarray(at, at + HASH_SIZE))
    }
    return range
  }
}

/** Number of bits that are set; sizes exceed 32 bits, so no bit operators. */
function onesIn(size: number): number {
  let ones = 0
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2
  return ones
}
