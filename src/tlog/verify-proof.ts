import { bytesEqual } from '../core/index.ts'
import { HASH_SIZE, nodeHash } from './hash.ts'

export interface InclusionClaim {
  readonly index: number
  readonly treeSize: number
  /** 32 bytes, as are all hashes here. */
  readonly leafHash: Uint8Array
  /** Audit path, from the leaf upwards. */
  readonly hashes: readonly Uint8Array[]
  readonly rootHash: Uint8Array
}

export interface ConsistencyClaim {
  readonly firstSize: number
  readonly secondSize: number
  readonly firstRoot: Uint8Array
  readonly secondRoot: Uint8Array
  readonly hashes: readonly Uint8Array[]
}

const half = (n: number): number => Math.floor(n / 2)
const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 0
const isHash = (bytes: Uint8Array): boolean => bytes.length === HASH_SIZE

/**
 * True when the audit path leads from the leaf to the root (RFC 9162 §2.1.3.2). The path must have exactly the length that index and
 * size ask for. All members may be attacker-controlled; nothing throws.
 */
export function verifyInclusion(claim: InclusionClaim): boolean {
  const { index, treeSize, leafHash, hashes, rootHash } = claim
  if (!isSize(index) || !isSize(treeSize) || index >= treeSize) return false
  if (!isHash(leafHash) || !isHash(rootHash) || !hashes.every(isHash)) return false
  let fn = index
  let sn = treeSize - 1
  let root = leafHash
  for (const hash of hashes) {
    if (sn === 0) return false
    if (fn % 2 === 1 || fn === sn) {
      root = nodeHash(hash, root)
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn)
        sn = half(sn)
      }
    } else {
      root = nodeHash(root, hash)
    }
    fn = half(fn)
    sn = half(sn)
  }
  return sn === 0 && bytesEqual(root, rootHash)
}

/**
 * True when the tree of the first size is a prefix of the tree of the second size (RFC 9162 §2.1.4.2). A first size of 0 proves
 * nothing and is false. All members may be attacker-controlled; nothing throws.
 */
export function verifyConsistency(claim: ConsistencyClaim): boolean {
  const { firstSize, secondSize, firstRoot, secondRoot, hashes } = claim
  if (!isSize(firstSize) || !isSize(secondSize)) return false
  if (firstSize === 0 || firstSize > secondSize) return false
  if (!isHash(firstRoot) || !isHash(secondRoot) || !hashes.every(isHash)) return false
  if (firstSize === secondSize) return hashes.length === 0 && bytesEqual(firstRoot, secondRoot)

  let fn = firstSize - 1
  let sn = secondSize - 1
  while (fn % 2 === 1) {
    fn = half(fn)
    sn = half(sn)
  }
  // A first size that is a power of two is itself the node where the path starts.
  const path = fn === 0 ? [firstRoot, ...hashes] : hashes
  const start = path[0]
  if (start === undefined) return false
  let first = start
  let second = start
  for (const hash of path.slice(1)) {
    if (sn === 0) return false
    if (fn % 2 === 1 || fn === sn) {
      first = nodeHash(hash, first)
      second = nodeHash(hash, second)
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn)
        sn = half(sn)
      }
    } else {
      second = nodeHash(second, hash)
    }
    fn = half(fn)
    sn = half(sn)
  }
  return sn === 0 && bytesEqual(first, firstRoot) && bytesEqual(second, secondRoot)
}
