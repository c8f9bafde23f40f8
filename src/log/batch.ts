import { AirsealError } from '../core/index.ts'
import { HASH_SIZE } from '../tlog/index.ts'

/** A leaf as the store takes it. */
export interface HashedLeaf {
  /** RFC 6962 leaf hash of `body`. */
  readonly hash: Uint8Array
  /** SHA-256 of each search key. */
  readonly keys: readonly Uint8Array[]
  readonly body: Uint8Array
}

/** Where a leaf stands, with its audit path in the tree after the batch. */
export interface PlacedLeaf {
  readonly index: number
  /** Unix seconds. */
  readonly time: number
  readonly duplicate: boolean
  readonly hashes: readonly Uint8Array[]
}

/** One message a batch, one memory block a message: cloning objects between threads costs more than the work in them. */
export function packLeaves(leaves: readonly HashedLeaf[]): Uint8Array<ArrayBuffer> {
  const size = leaves.reduce(
    (sum, { keys, body }) => sum + HASH_SIZE * (1 + keys.length) + 1 + 4 + body.length,
    0,
  )
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const { hash, keys, body } of leaves) {
    bytes.set(hash, at)
    bytes[at + HASH_SIZE] = keys.length
    at += HASH_SIZE + 1
    for (const key of keys) {
      bytes.set(key, at)
      at += HASH_SIZE
    }
    view.setUint32(at, body.length)
    bytes.set(body, at + 4)
    at += 4 + body.length
  }
  return bytes
}

export interface UnpackedLeaf {
  readonly hash: Uint8Array
  /** All key hashes in a row: the form that is stored. */
  readonly keys: Uint8Array
  readonly body: Uint8Array
}

export function unpackLeaves(packed: Uint8Array): UnpackedLeaf[] {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length)
  const leaves: UnpackedLeaf[] = []
  for (let at = 0; at < bytes.length;) {
    const hash = bytes.subarray(at, at + HASH_SIZE)
    const keysAt = at + HASH_SIZE + 1
    const bodyAt = keysAt + HASH_SIZE * bytes.readUInt8(at + HASH_SIZE)
    const end = bodyAt + 4 + bytes.readUInt32BE(bodyAt)
    if (end > bytes.length) throw new AirsealError('INTERNAL', 'batch is cut off')
    leaves.push({
      hash,
      keys: bytes.subarray(keysAt, bodyAt),
      body: bytes.subarray(bodyAt + 4, end),
    })
    at = end
  }
  return leaves
}

/** Index (8), time (8), duplicate (1), number of hashes (1), hashes. */
export function packPlaced(leaves: readonly PlacedLeaf[]): Uint8Array<ArrayBuffer> {
  const size = leaves.reduce((sum, { hashes }) => sum + 18 + HASH_SIZE * hashes.length, 0)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const { index, time, duplicate, hashes } of leaves) {
    view.setFloat64(at, index)
    view.setFloat64(at + 8, time)
    bytes[at + 16] = duplicate ? 1 : 0
    bytes[at + 17] = hashes.length
    at += 18
    for (const hash of hashes) {
      bytes.set(hash, at)
      at += HASH_SIZE
    }
  }
  return bytes
}

export function unpackPlaced(bytes: Uint8Array): PlacedLeaf[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const leaves: PlacedLeaf[] = []
  for (let at = 0; at < bytes.length;) {
    const hashes = Array.from({ length: view.getUint8(at + 17) }, (_, n) =>
      bytes.subarray(at + 18 + n * HASH_SIZE, at + 18 + (n + 1) * HASH_SIZE),
    )
    leaves.push({
      index: view.getFloat64(at),
      time: view.getFloat64(at + 8),
      duplicate: bytes[at + 16] === 1,
      hashes,
    })
    at += 18 + hashes.length * HASH_SIZE
  }
  return leaves
}
