import { AirsealError } from '../core/index.ts'
import { EMPTY_ROOT, nodeHash } from './hash.ts'

/** Root (32 bytes) of the perfect subtree over leaves `index * 2^level` up to `(index + 1) * 2^level`. */
export type NodeReader = (level: number, index: number) => Uint8Array

/** Audit path of leaf `index` in the tree of `size` leaves, from the leaf upwards (RFC 6962 §2.1.1). */
export function inclusionProof(index: number, size: number, node: NodeReader): Uint8Array[] {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw new AirsealError('REQUEST_INVALID', `index ${index} is not in a tree of size ${size}`)
  }
  const path: Uint8Array[] = []
  let begin = 0
  let width = size
  while (width > 1) {
    const split = largestPowerBelow(width)
    if (index < begin + split) {
      path.push(rangeRoot(begin + split, width - split, node))
      width = split
    } else {
      path.push(rangeRoot(begin, split, node))
      begin += split
      width -= split
    }
  }
  return path.reverse()
}

/** Proof that the tree of `first` leaves is a prefix of the one of `second` leaves (RFC 6962 §2.1.2). */
export function consistencyProof(first: number, second: number, node: NodeReader): Uint8Array[] {
  if (
    !Number.isSafeInteger(second) ||
    !Number.isSafeInteger(first) ||
    first < 1 ||
    first > second
  ) {
    throw new AirsealError(
      'REQUEST_INVALID',
      `no consistency proof from size ${first} to ${second}`,
    )
  }
  const path: Uint8Array[] = []
  let begin = 0
  let width = second
  let wanted = first
  // False once the walk went right: then the verifier cannot know the old subtree and gets it.
  let whole = true
  while (wanted !== width) {
    const split = largestPowerBelow(width)
    if (wanted <= split) {
      path.push(rangeRoot(begin + split, width - split, node))
      width = split
    } else {
      path.push(rangeRoot(begin, split, node))
      begin += split
      width -= split
      wanted -= split
      whole = false
    }
  }
  if (!whole) path.push(rangeRoot(begin, width, node))
  return path.reverse()
}

/** Root of the tree of `size` leaves. */
export function treeRoot(size: number, node: NodeReader): Uint8Array {
  return size === 0 ? EMPTY_ROOT : rangeRoot(0, size, node)
}

/** Root over `width` leaves from `begin`, which is a multiple of the largest perfect subtree in it. */
function rangeRoot(begin: number, width: number, node: NodeReader): Uint8Array {
  const level = Math.log2(width)
  if (Number.isInteger(level)) return node(level, begin / width)
  const split = largestPowerBelow(width)
  return nodeHash(rangeRoot(begin, split, node), rangeRoot(begin + split, width - split, node))
}

/** The largest power of two that is smaller than `n`; n > 1. */
function largestPowerBelow(n: number): number {
  let power = 1
  while (power * 2 < n) power *= 2
  return power
}
