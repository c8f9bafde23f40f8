import type { Statement } from 'better-sqlite3'
import { AirsealError, bytesEqual, sha256 } from '../core/index.ts'
import type { Connection } from './database.ts'

/** Rows of the index that one statement takes. */
export const LOOKUP_ROWS = 32

/** The statements of the log, prepared once for a connection. Integers come back as bigint. */
export function logStatements(db: Connection): LogStatements {
  return {
    tree: db.prepare<[], TreeRow>('SELECT * FROM tree ORDER BY base DESC LIMIT 1'),
    lastIndex: db.prepare<[], { idx: bigint | null }>('SELECT max(idx) AS idx FROM entry'),
    claim: db.prepare<[bigint]>('UPDATE tree SET epoch = epoch + 1 WHERE tree_id = ?'),
    swapHead: db.prepare<[HeadSwap]>(
      `UPDATE tree SET size = :size, root = :root, time = :time
       WHERE tree_id = :tree AND size = :oldSize AND root = :oldRoot AND epoch = :epoch`,
    ),
    insertEntry: db.prepare<[number, number, Uint8Array, Uint8Array, Uint8Array, Uint8Array]>(
      'INSERT INTO entry (idx, time, hash, keys, seal, body) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    insertLookup: db.prepare<number[]>(
      `INSERT INTO lookup (h, idx) VALUES ${Array.from({ length: LOOKUP_ROWS }, () => '(?, ?)').join(', ')}`,
    ),
    insertOneLookup: db.prepare<[number, number]>('INSERT INTO lookup (h, idx) VALUES (?, ?)'),
    setIndexed: db.prepare<[number, bigint]>('UPDATE tree SET indexed = ? WHERE tree_id = ?'),
    heads: db.prepare<[number], SealedRow & { idx: bigint }>(
      'SELECT idx, time, hash, keys, seal FROM entry WHERE idx >= ? ORDER BY idx',
    ),
    insertTile: db.prepare<[number, number, Uint8Array]>(
      'INSERT INTO tile (level, idx, hashes) VALUES (?, ?, ?)',
    ),
    insertCheckpoint: db.prepare<[number, Uint8Array, string]>(
      'INSERT INTO checkpoint (size, root, note) VALUES (?, ?, ?)',
    ),
    checkpointRoot: db.prepare<[number], { root: Uint8Array }>(
      'SELECT root FROM checkpoint WHERE size = ?',
    ),
    newestCheckpoint: db.prepare<[], { size: bigint; root: Uint8Array; note: string }>(
      'SELECT size, root, note FROM checkpoint ORDER BY size DESC LIMIT 1',
    ),
    tile: db.prepare<[number, number], { hashes: Uint8Array }>(
      'SELECT hashes FROM tile WHERE level = ? AND idx = ?',
    ),
    hashes: db.prepare<[number, number], { hash: Uint8Array }>(
      'SELECT hash FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx',
    ),
    entry: db.prepare<[number], SealedRow & { body: Uint8Array }>(
      'SELECT time, hash, keys, seal, body FROM entry WHERE idx = ?',
    ),
    entryHead: db.prepare<[number], SealedRow>(
      'SELECT time, hash, keys, seal FROM entry WHERE idx = ?',
    ),
    lookup: db.prepare<[number], { idx: bigint }>(
      'SELECT idx FROM lookup WHERE h = ? ORDER BY idx',
    ),
  }
}

export interface LogStatements {
  readonly tree: Statement<[], TreeRow>
  readonly lastIndex: Statement<[], { idx: bigint | null }>
  readonly claim: Statement<[bigint]>
  readonly swapHead: Statement<[HeadSwap]>
  readonly insertEntry: Statement<[number, number, Uint8Array, Uint8Array, Uint8Array, Uint8Array]>
  /** {@link LOOKUP_ROWS} rows at a time. */
  readonly insertLookup: Statement<number[]>
  readonly insertOneLookup: Statement<[number, number]>
  readonly setIndexed: Statement<[number, bigint]>
  /** Rows from an index on. */
  readonly heads: Statement<[number], SealedRow & { idx: bigint }>
  readonly insertTile: Statement<[number, number, Uint8Array]>
  readonly insertCheckpoint: Statement<[number, Uint8Array, string]>
  readonly checkpointRoot: Statement<[number], { root: Uint8Array }>
  readonly newestCheckpoint: Statement<[], { size: bigint; root: Uint8Array; note: string }>
  readonly tile: Statement<[number, number], { hashes: Uint8Array }>
  readonly hashes: Statement<[number, number], { hash: Uint8Array }>
  readonly entry: Statement<[number], SealedRow & { body: Uint8Array }>
  readonly entryHead: Statement<[number], SealedRow>
  readonly lookup: Statement<[number], { idx: bigint }>
}

interface TreeRow {
  readonly tree_id: bigint
  readonly base: bigint
  readonly hostname: string
  readonly public_key: Uint8Array
  readonly size: bigint
  readonly root: Uint8Array
  readonly epoch: bigint
  readonly time: bigint
  readonly indexed: bigint
}

export interface SealedRow {
  readonly time: bigint
  readonly hash: Uint8Array
  readonly keys: Uint8Array
  readonly seal: Uint8Array
}

interface HeadSwap {
  readonly tree: bigint
  readonly size: number
  readonly root: Uint8Array
  readonly time: number
  readonly oldSize: number
  readonly oldRoot: Uint8Array
  readonly epoch: number
}

/** First 48 bits of a hash as a number: exact in a double, and half of what SQLite would store for the whole. */
export function prefix48(hash: Uint8Array, at = 0): number {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).readUIntBE(at, 6)
}

/**
 * 8 bytes over what a row holds besides the body, since index, time and search keys are in no leaf hash and a time that changed on the
 * disk would be signed again. Finds faults of the disk, not somebody who can write the file.
 */
export function entrySeal(
  index: number,
  time: number,
  hash: Uint8Array,
  keys: Uint8Array,
): Uint8Array {
  const numbers = Buffer.alloc(16)
  numbers.writeDoubleBE(index)
  numbers.writeDoubleBE(time, 8)
  return sha256(Buffer.concat([numbers, hash, keys])).subarray(0, 8)
}

/** @throws AirsealError LOG_DAMAGED when the row is missing or its seal is broken */
export function sealedRow<Row extends SealedRow>(index: number, row: Row | undefined): Row {
  if (row === undefined) throw new AirsealError('LOG_DAMAGED', `entry ${index} is missing`)
  if (!bytesEqual(entrySeal(index, Number(row.time), row.hash, row.keys), row.seal)) {
    throw new AirsealError('LOG_DAMAGED', `the row of entry ${index} was changed`)
  }
  return row
}
