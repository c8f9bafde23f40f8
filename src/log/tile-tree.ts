import { AirsealError } from '../core/index.ts'
import {
  CompactRange,
  ExpandedTile,
  fullTiles,
  partialWidth,
  TILE_WIDTH,
  tileOfNode,
  treeRoot,
  type NodeReader,
} from '../tlog/index.ts'

/** Where stored hashes come from. */
export interface TileSource {
  /** Bottom row (8,192 bytes) of a full tile. @throws AirsealError LOG_DAMAGED when it is missing */
  tile(level: number, index: number): Uint8Array
  /** Leaf hashes from `first` up to, not including, `end`. @throws AirsealError LOG_DAMAGED when one is missing */
  leafHashes(first: number, end: number): Uint8Array[]
}

export interface FullTile {
  readonly level: number
  readonly index: number
  /** Shares memory with the tile. */
  readonly hashes: Uint8Array
}

/** Expanded tiles that are kept, 16 KiB each. */
const CACHE_SIZE = 2048

/**
 * The tree as tiles: the ragged tiles at its right edge in memory, full ones read on demand and kept expanded, because what a cold
 * proof costs is hashing the inside of tiles.
 */
export class TileTree {
  #size = 0
  readonly #edge: ExpandedTile[] = []
  readonly #cache = new Map<string, ExpandedTile>()
  readonly #source: TileSource

  /** Rebuilds the edge of a tree of `size` leaves. @throws AirsealError LOG_DAMAGED */
  constructor(source: TileSource, size: number) {
    this.#source = source
    this.#size = size
    for (let level = 0; TILE_WIDTH ** level <= size; level++) {
      const first = fullTiles(level, size) * TILE_WIDTH
      const end = first + partialWidth(level, size)
      this.#edge.push(this.#rebuild(level, first, end))
    }
  }

  #rebuild(level: number, first: number, end: number): ExpandedTile {
    const tile = new ExpandedTile()
    if (level === 0) {
      for (const hash of this.#source.leafHashes(first, end)) tile.push(hash)
    } else {
      for (let index = first; index < end; index++) {
        tile.push(ExpandedTile.from(this.#source.tile(level - 1, index)).node(8, 0))
      }
    }
    if (tile.width !== end - first)
      throw new AirsealError('LOG_DAMAGED', 'leaves at the end of the tree are missing')
    return tile
  }

  get size(): number {
    return this.#size
  }

  /** Adds a leaf; returns the tiles that it completes, to be stored. */
  append(leaf: Uint8Array): FullTile[] {
    const completed: FullTile[] = []
    let hash = leaf
    for (let level = 0; ; level++) {
      const tile = (this.#edge[level] ??= new ExpandedTile())
      tile.push(hash)
      if (!tile.isFull) break
      const index = Math.floor(this.#size / TILE_WIDTH ** (level + 1))
      completed.push({ level, index, hashes: tile.bottom() })
      this.#keep(`${level}/${index}`, tile)
      this.#edge[level] = new ExpandedTile()
      hash = tile.node(8, 0)
    }
    this.#size += 1
    return completed
  }

  /** Root of every perfect subtree inside the tree, for proofs at the current and all smaller sizes. */
  readonly node: NodeReader = (level, index) => {
    const at = tileOfNode(level, index)
    if (at.index >= fullTiles(at.level, this.#size)) {
      const tile = this.#edge[at.level]
      if (tile === undefined) throw new AirsealError('INTERNAL', 'node is outside of the tree')
      return tile.node(at.row, at.place)
    }
    return this.#full(at.level, at.index).node(at.row, at.place)
  }

  root(size: number = this.#size): Uint8Array {
    return treeRoot(size, this.node)
  }

  /** The roots of the perfect subtrees, as {@link CompactRange.serialise} writes them. */
  compactRange(): Uint8Array {
    const size = Buffer.alloc(8)
    size.writeBigUInt64BE(BigInt(this.#size))
    const nodes: Uint8Array[] = []
    let begin = 0
    for (let level = 52; level >= 0; level--) {
      const width = 2 ** level
      if (Math.floor(this.#size / width) % 2 === 1) {
        nodes.push(this.node(level, begin / width))
        begin += width
      }
    }
    const bytes = Buffer.concat([size, ...nodes])
    return CompactRange.restore(bytes).serialise()
  }

  #full(level: number, index: number): ExpandedTile {
    const name = `${level}/${index}`
    const kept = this.#cache.get(name)
    const tile = kept ?? ExpandedTile.from(this.#source.tile(level, index))
    if (!tile.isFull) throw new AirsealError('LOG_DAMAGED', `tile ${name} is not full`)
    // The order of a Map is its order of insertion, so what was used last is at its end.
    if (kept !== undefined) this.#cache.delete(name)
    this.#keep(name, tile)
    return tile
  }

  #keep(name: string, tile: ExpandedTile): void {
    this.#cache.set(name, tile)
    if (this.#cache.size > CACHE_SIZE) {
      const oldest = this.#cache.keys().next()
      if (oldest.done !== true) this.#cache.delete(oldest.value)
    }
  }
}
