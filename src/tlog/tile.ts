import { AirsealError } from '../core/index.ts'
import { HASH_SIZE, nodeHash } from './hash.ts'

/** Levels of the tree that one tile spans, and hashes at its bottom (C2SP tlog-tiles). */
const TILE_HEIGHT = 8
export const TILE_WIDTH = 2 ** TILE_HEIGHT
/** Bytes of a full tile: its bottom row only. */
const TILE_BYTES = TILE_WIDTH * HASH_SIZE

export interface TileCoordinates {
  /** 0: leaves; level n holds the roots of the full tiles of level n - 1. */
  readonly level: number
  readonly index: number
}

/** Where the root of the perfect subtree (level, index) is kept: a tile, a row in it (0: bottom), a place in the row. */
export function tileOfNode(
  level: number,
  index: number,
): TileCoordinates & { row: number; place: number } {
  const row = level % TILE_HEIGHT
  const perTile = 2 ** (TILE_HEIGHT - row)
  return {
    level: Math.floor(level / TILE_HEIGHT),
    index: Math.floor(index / perTile),
    row,
    place: index % perTile,
  }
}

/** Number of full tiles at `level` in a tree of `size` leaves. */
export function fullTiles(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** (level + 1))
}

/** Hashes in the ragged tile at `level` in a tree of `size` leaves; 0 when there is none. */
export function partialWidth(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level) % TILE_WIDTH
}

/** Path of a tile as published: `tile/L/N[.p/W]`, N in groups of three digits (C2SP tlog-tiles). */
export function tilePath(tile: TileCoordinates, width: number = TILE_WIDTH): string {
  let path = String(tile.index % 1000).padStart(3, '0')
  for (let rest = Math.floor(tile.index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`
  }
  return `tile/${tile.level}/${path}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

/** Where row r of an expanded tile begins, in hashes: 256 of row 0, 128 of row 1, and so on; the root is the last. */
const ROW_START = [0, 256, 384, 448, 480, 496, 504, 508, 510]

/**
 * A tile with all nodes above its bottom row that are complete, so that a node costs no hashing. About 16 KiB.
 * Grows by one hash at a time, so it serves as the ragged edge too.
 */
export class ExpandedTile {
  readonly #nodes = Buffer.alloc((2 * TILE_WIDTH - 1) * HASH_SIZE)
  #width = 0

  /** Hashes in the bottom row. */
  get width(): number {
    return this.#width
  }

  get isFull(): boolean {
    return this.#width === TILE_WIDTH
  }

  /** Adds one hash to the bottom row and every node that it completes. */
  push(hash: Uint8Array): void {
    if (this.isFull || hash.length !== HASH_SIZE) {
      throw new AirsealError('INTERNAL', 'hash does not fit the tile')
    }
    let place = this.#width++
    let node = hash
    for (let row = 0; ; row++) {
      this.#nodes.set(node, ((ROW_START[row] as number) + place) * HASH_SIZE)
      if (row === TILE_HEIGHT || place % 2 === 0) return
      node = nodeHash(this.#at(row, place - 1), node)
      place = (place - 1) / 2
    }
  }

  /** The node at a place of a row; row 8 is the root. Shares memory, but what was set never changes. */
  node(row: number, place: number): Uint8Array {
    if ((place + 1) * 2 ** row > this.#width) {
      throw new AirsealError(
        'LOG_DAMAGED',
        `tile has no node ${row}/${place} at width ${this.#width}`,
      )
    }
    return this.#at(row, place)
  }

  #at(row: number, place: number): Buffer {
    const start = ((ROW_START[row] as number) + place) * HASH_SIZE
    return this.#nodes.subarray(start, start + HASH_SIZE)
  }

  /** The bottom row: what is stored and published. Shares memory. */
  bottom(): Uint8Array {
    return this.#nodes.subarray(0, this.#width * HASH_SIZE)
  }

  /** Expands a stored bottom row. @throws AirsealError LOG_DAMAGED when it isn't 1 to 256 whole hashes */
  static from(bottom: Uint8Array): ExpandedTile {
    if (bottom.length === 0 || bottom.length > TILE_BYTES || bottom.length % HASH_SIZE !== 0) {
      throw new AirsealError('LOG_DAMAGED', `stored tile has ${bottom.length} bytes`)
    }
    const tile = new ExpandedTile()
    for (let at = 0; at < bottom.length; at += HASH_SIZE) {
      tile.push(bottom.subarray(at, at + HASH_SIZE))
    }
    return tile
  }
}
