import { AirsealError, bytesEqual } from '../core/index.ts'
import { consistencyProof, inclusionProof } from '../tlog/index.ts'
import { packPlaced, unpackLeaves, type PlacedLeaf, type UnpackedLeaf } from './batch.ts'
import type { Connection } from './database.ts'
import {
  entrySeal,
  LOOKUP_ROWS,
  logStatements,
  prefix48,
  sealedRow,
  type LogStatements,
} from './log-statements.ts'
import { LookupTail } from './lookup-tail.ts'
import { storageError } from './storage-error.ts'
import type { Batch, Committed, Head, LogStore, StoredCheckpoint, StoredEntry } from './store.ts'
import { TileTree, type TileSource } from './tile-tree.ts'

/** Entries whose index rows wait in memory before they are written together. */
const MAX_TAIL = 512

/** The log in SQLite. Synchronous: it lives in a worker thread. */
export class SqliteLogStore implements LogStore {
  readonly #db: Connection
  readonly #sql: LogStatements
  readonly #source: TileSource
  #tree: TileTree | undefined
  #treeId = 0n
  readonly #tail = new LookupTail()
  /** Index rows of the entries before are in the table, those of the others in the tail. */
  #indexed = 0

  constructor(db: Connection) {
    this.#db = db
    const sql = logStatements(db)
    this.#sql = sql
    this.#source = {
      tile(level, index) {
        const row = sql.tile.get(level, index)
        if (row === undefined) throw damaged(`tile ${level}/${index} is missing`)
        return row.hashes
      },
      leafHashes(first, end) {
        return sql.hashes.all(first, end).map((row) => row.hash)
      },
    }
  }

  load(): ReturnType<LogStore['load']> {
    const row = this.#sql.tree.get()
    if (row === undefined) throw damaged('the tree has no head')
    this.#treeId = row.tree_id
    const head = this.#head()
    const tree = new TileTree(this.#source, head.size)
    this.#tree = tree
    const last = this.#sql.lastIndex.get()?.idx ?? null
    if (Number(last ?? -1) !== head.size - 1)
      throw damaged('the newest entry is not the one that the head names')
    if (!bytesEqual(tree.root(), head.root))
      throw damaged('the stored tree does not have the root of its head')
    this.#readTail(Number(row.indexed), head.size)
    const checkpoint = this.#newestCheckpoint(tree)
    return {
      treeId: row.tree_id,
      base: Number(row.base),
      hostname: row.hostname,
      publicKey: row.public_key,
      head,
      compactRange: tree.compactRange(),
      checkpoint,
    }
  }

  #readTail(indexed: number, size: number): void {
    if (indexed > size) throw damaged(`${indexed} entries are indexed, the tree has only ${size}`)
    this.#forgetTail(indexed)
    for (const row of this.#sql.heads.iterate(indexed)) {
      const index = Number(row.idx)
      const { hash, keys } = sealedRow(index, row)
      this.#addToTail(index, hash, keys)
    }
  }

  #addToTail(index: number, hash: Uint8Array, keys: Uint8Array): void {
    this.#tail.add(prefix48(hash), index)
    for (let at = 0; at < keys.length; at += 32) this.#tail.add(prefix48(keys, at), index)
  }

  /** Inside a transaction. The tail itself stays until that is durable. */
  #writeTail(size: number): void {
    const { insertLookup, insertOneLookup, setIndexed } = this.#sql
    const rows = this.#tail.rows()
    const step = 2 * LOOKUP_ROWS
    const whole = rows.length - (rows.length % step)
    for (let at = 0; at < whole; at += step) insertLookup.run(...rows.slice(at, at + step))
    for (let at = whole; at < rows.length; at += 2)
      insertOneLookup.run(rows[at] as number, rows[at + 1] as number)
    setIndexed.run(size, this.#treeId)
  }

  /** Writes the index rows that wait in memory, so that the next start finds them in the table. */
  settle(): void {
    const size = this.#tree?.size ?? this.#indexed
    if (size === this.#indexed) return
    this.#write(() => {
      this.#writeTail(size)
    })
    this.#forgetTail(size)
  }

  #forgetTail(size: number): void {
    this.#indexed = size
    this.#tail.clear()
  }

  #newestCheckpoint(tree: TileTree): StoredCheckpoint | null {
    const row = this.#sql.newestCheckpoint.get()
    if (row === undefined) return null
    const size = Number(row.size)
    if (size > tree.size)
      throw damaged(
        `a checkpoint of size ${size} was signed, the tree has only ${tree.size} entries`,
      )
    if (!bytesEqual(tree.root(size), row.root))
      throw damaged('the stored tree does not contain the newest signed checkpoint')
    return { size, root: row.root, note: row.note }
  }

  claim(): number {
    return this.#write(() => {
      if (this.#sql.claim.run(this.#treeId).changes !== 1) throw damaged('the tree has no head')
      return this.#head().epoch
    })
  }

  commit({ expected, time, leaves, checkpoints }: Batch): Committed {
    const unpacked = unpackLeaves(leaves)
    const tree = this.#loaded()
    try {
      const isDue = tree.size + unpacked.length - this.#indexed >= MAX_TAIL
      const committed = this.#write(() => {
        const added = this.#add(tree, expected, time, unpacked, checkpoints)
        if (isDue) this.#writeTail(tree.size)
        return added
      })
      if (isDue) this.#forgetTail(tree.size)
      return committed
    } catch (error) {
      // The tree in memory has leaves that the disk may lack.
      this.#tree = undefined
      const failure = storageError(error)
      if (failure.code === 'STORAGE_FULL') this.#recover(expected)
      throw failure
    }
  }

  #add(
    tree: TileTree,
    expected: Head,
    time: number,
    leaves: readonly UnpackedLeaf[],
    checkpoints: readonly StoredCheckpoint[],
  ): Committed {
    this.#insertCheckpoints(checkpoints)
    const places = leaves.map((leaf) => this.#place(tree, leaf, time))
    const isNew = tree.size > expected.size
    const head = {
      ...expected,
      size: tree.size,
      // A copy: a message takes the whole memory behind an array along.
      root: new Uint8Array(tree.root()),
      time: isNew ? time : expected.time,
    }
    const swapped = this.#sql.swapHead.run({
      tree: this.#treeId,
      size: head.size,
      root: head.root,
      time: head.time,
      oldSize: expected.size,
      oldRoot: expected.root,
      epoch: expected.epoch,
    })
    if (swapped.changes !== 1)
      throw new AirsealError('LOG_CONFLICT', 'the head of the log was moved by another process')
    const placed = places.map((place) => ({
      ...place,
      hashes: inclusionProof(place.index, head.size, tree.node),
    }))
    return { head, placed: packPlaced(placed) }
  }

  #place(tree: TileTree, leaf: UnpackedLeaf, time: number): Omit<PlacedLeaf, 'hashes'> {
    const { insertEntry, insertTile } = this.#sql
    const found = this.#find(leaf.hash)
    if (found !== null) return { ...found, duplicate: true }
    const index = tree.size
    const seal = entrySeal(index, time, leaf.hash, leaf.keys)
    insertEntry.run(index, time, leaf.hash, leaf.keys, seal, leaf.body)
    this.#addToTail(index, leaf.hash, leaf.keys)
    for (const { level, index: number, hashes } of tree.append(leaf.hash))
      insertTile.run(level, number, hashes)
    return { index, time, duplicate: false }
  }

  /** After a full disk nothing of the batch may be there; if it is, this writer's view is wrong. */
  #recover(expected: Head): void {
    const { size, root, epoch } = this.#head()
    if (size !== expected.size || epoch !== expected.epoch || !bytesEqual(root, expected.root)) {
      throw new AirsealError('STORAGE', 'a write that failed was kept by the database')
    }
    this.#tree = new TileTree(this.#source, size)
    this.#readTail(this.#indexed, size)
  }

  saveCheckpoints(checkpoints: readonly StoredCheckpoint[]): void {
    this.#write(() => {
      this.#insertCheckpoints(checkpoints)
    })
  }

  #insertCheckpoints(checkpoints: readonly StoredCheckpoint[]): void {
    for (const { size, root, note } of checkpoints) {
      const stored = this.#sql.checkpointRoot.get(size)
      if (stored === undefined) this.#sql.insertCheckpoint.run(size, root, note)
      else if (!bytesEqual(stored.root, root))
        throw damaged(`two roots were signed for size ${size}`)
    }
  }

  entry(index: number, size: number): StoredEntry {
    const { time, hash, body } = sealedRow(index, this.#sql.entry.get(index))
    const hashes = inclusionProof(index, size, this.#loaded().node)
    return { index, time: Number(time), hash, body, hashes }
  }

  indexOf(leafHash: Uint8Array): number | null {
    return this.#find(leafHash)?.index ?? null
  }

  #find(hash: Uint8Array): { index: number; time: number } | null {
    const prefix = prefix48(hash)
    const indexed = this.#sql.lookup.all(prefix).map(({ idx }) => Number(idx))
    for (const index of [...indexed, ...this.#tail.find(prefix)]) {
      const row = sealedRow(index, this.#sql.entryHead.get(index))
      if (bytesEqual(row.hash, hash)) return { index, time: Number(row.time) }
    }
    return null
  }

  /** Entries that may be meant, oldest first. */
  *#entriesOf(prefix: number): Generator<number> {
    for (const { idx } of this.#sql.lookup.iterate(prefix)) yield Number(idx)
    yield* this.#tail.find(prefix)
  }

  search(keyHash: Uint8Array, limit: number): Uint8Array[] {
    const found: Uint8Array[] = []
    for (const index of this.#entriesOf(prefix48(keyHash))) {
      const row = sealedRow(index, this.#sql.entryHead.get(index))
      if (hasKey(row.keys, keyHash)) found.push(row.hash)
      if (found.length >= limit) break
    }
    return found
  }

  consistency(first: number, last: number, head: number): ReturnType<LogStore['consistency']> {
    const tree = this.#loaded()
    return {
      firstRoot: tree.root(first),
      lastRoot: tree.root(last),
      hashes: consistencyProof(first, last, tree.node),
      toHead: consistencyProof(last, head, tree.node),
    }
  }

  #head(): Head {
    const row = this.#sql.tree.get()
    if (row === undefined) throw damaged('the tree has no head')
    return {
      size: Number(row.size),
      root: row.root,
      epoch: Number(row.epoch),
      time: Number(row.time),
    }
  }

  #loaded(): TileTree {
    if (this.#tree === undefined)
      throw new AirsealError('STORAGE', 'the log is not usable after a failed write')
    return this.#tree
  }

  #write<T>(work: () => T): T {
    return this.#db.transaction(work).immediate()
  }
}

function hasKey(keys: Uint8Array, wanted: Uint8Array): boolean {
  for (let at = 0; at < keys.length; at += 32) {
    if (bytesEqual(keys.subarray(at, at + 32), wanted)) return true
  }
  return false
}

function damaged(what: string): AirsealError {
  return new AirsealError('LOG_DAMAGED', what)
}
