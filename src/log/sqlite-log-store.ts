import { AirsealError, bytesEqual } from '../core/index.ts'
import { consistencyProof, inclusionProof } from '../tlog/index.ts'
import { packPlaced, unpackLeaves, type PlacedLeaf, type UnpackedLeaf } from './batch.ts'
import type { Connection } from './database.ts'
import {
  entrySeal,
  logStatements,
  prefix48,
  sealedRow,
  type LogStatements,
} from './log-statements.ts'
import { storageError } from './storage-error.ts'
import type { Batch, Committed, Head, LogStore, StoredCheckpoint, StoredEntry } from './store.ts'
import { TileTree, type TileSource } from './tile-tree.ts'

/** The log in SQLite. Synchronous: it lives in a worker thread. */
export class SqliteLogStore implements LogStore {
  readonly #db: Connection
  readonly #sql: LogStatements
  readonly #source: TileSource
  #tree: TileTree | undefined
  #treeId = 0n

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
      return this.#write(() => this.#add(tree, expected, time, unpacked, checkpoints))
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
    const { insertEntry, insertLookup, insertTile } = this.#sql
    const found = this.#find(leaf.hash)
    if (found !== null) return { ...found, duplicate: true }
    const index = tree.size
    const seal = entrySeal(index, time, leaf.hash, leaf.keys)
    insertEntry.run(index, time, leaf.hash, leaf.keys, seal, leaf.body)
    insertLookup.run(prefix48(leaf.hash), index)
    for (let at = 0; at < leaf.keys.length; at += 32)
      insertLookup.run(prefix48(leaf.keys, at), index)
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
    for (const { idx } of this.#sql.lookup.all(prefix48(hash))) {
      const row = sealedRow(Number(idx), this.#sql.entryHead.get(idx))
      if (bytesEqual(row.hash, hash)) return { index: Number(idx), time: Number(row.time) }
    }
    return null
  }

  search(keyHash: Uint8Array, limit: number): Uint8Array[] {
    const found: Uint8Array[] = []
    for (const { idx } of this.#sql.lookup.iterate(prefix48(keyHash))) {
      const row = sealedRow(Number(idx), this.#sql.entryHead.get(idx))
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
