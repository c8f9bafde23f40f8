import {
  AirsealError,
  asAirsealError,
  bytesEqual,
  publicKeyFromSpki,
  type PublicKey,
} from '../core/index.ts'
import { CompactRange, ExpandedTile, leafHash } from '../tlog/index.ts'
import { checkNote } from './check-note.ts'
import { openDatabase, type Connection } from './database.ts'
import { entrySeal, logStatements, prefix48, type LogStatements } from './log-statements.ts'
import { SqliteRecordStore } from './sqlite-record-store.ts'
import type { StoredCheckpoint } from './store.ts'

export interface LogCheck {
  readonly isSound: boolean
  /** What is wrong and where, at most 100. */
  readonly problems: readonly string[]
  readonly entries: number
  readonly checkpoints: number
  readonly auditRows: number
}

export interface CheckOptions {
  /** Told now and then how many of all entries were hashed. */
  readonly onProgress?: (done: number, all: number) => void
}

const MAX_PROBLEMS = 100
/** Entries between two pauses for the event loop. */
const STRIDE = 1000

/**
 * Checks everything that can be recomputed: every leaf hash from its body, order and times, tiles, search index of leaves, the root at each signed
 * checkpoint and at the head, the checkpoints' signatures, the audit chain. Reads one snapshot, so it may run beside a live log.
 * @throws AirsealError DATA_DIRECTORY, STORAGE; LOG_DAMAGED only when the file can't be read as a database
 */
export async function checkLog(path: string, options: CheckOptions = {}): Promise<LogCheck> {
  const db = openDatabase(path)
  try {
    db.pragma('query_only = ON')
    db.exec('BEGIN')
    return await new Check(db, options).run()
  } finally {
    db.close()
  }
}

class Check {
  readonly #db: Connection
  readonly #sql: LogStatements
  readonly #options: CheckOptions
  readonly #problems: string[] = []
  readonly #range = new CompactRange()
  readonly #edge: ExpandedTile[] = []
  #tiles = 0

  constructor(db: Connection, options: CheckOptions) {
    this.#db = db
    this.#sql = logStatements(db)
    this.#options = options
  }

  async run(): Promise<LogCheck> {
    const tree = this.#sql.tree.get()
    if (tree === undefined) throw new AirsealError('LOG_DAMAGED', 'the tree has no head')
    const checkpoints = this.#checkpoints()
    const size = Number(tree.size)
    const indexed = Number(tree.indexed)
    if (indexed > size) this.#report(`${indexed} entries are indexed, there are only ${size}`)
    await this.#entries(size, indexed, new Map(checkpoints.map((signed) => [signed.size, signed])))
    if (!bytesEqual(this.#range.root(), tree.root))
      this.#report('the root of the entries is not the root of the head')
    const stored = Number(this.#count('SELECT count(*) AS n FROM tile'))
    if (stored !== this.#tiles) this.#report(`there are ${stored} tiles, want ${this.#tiles}`)
    const key = this.#publicKey(tree.public_key)
    const origin = `${tree.hostname} - ${tree.tree_id}`
    if (key !== undefined)
      for (const signed of checkpoints) await this.#checkpoint(signed, size, origin, key)
    const auditRows = this.#audit()
    return {
      isSound: this.#problems.length === 0,
      problems: this.#problems,
      entries: this.#range.size,
      checkpoints: checkpoints.length,
      auditRows,
    }
  }

  #report(problem: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem)
  }

  #count(sql: string): bigint {
    return this.#db.prepare<[], { n: bigint }>(sql).get()?.n ?? 0n
  }

  #checkpoints(): StoredCheckpoint[] {
    return this.#db
      .prepare<[], { size: bigint; root: Uint8Array; note: string }>(
        'SELECT * FROM checkpoint ORDER BY size',
      )
      .all()
      .map(({ size, root, note }) => ({ size: Number(size), root, note }))
  }

  async #entries(
    size: number,
    indexed: number,
    signed: ReadonlyMap<number, StoredCheckpoint>,
  ): Promise<void> {
    const known = this.#db.prepare<[number, number]>('SELECT 1 FROM lookup WHERE h = ? AND idx = ?')
    let newest = 0
    for (let index = 0; index < size; index++) {
      const row = this.#sql.entry.get(index)
      if (row === undefined) {
        // Without it no later root can be computed.
        this.#report(`entry ${index} is missing`)
        return
      }
      const hash = leafHash(row.body)
      if (!bytesEqual(hash, row.hash)) this.#report(`entry ${index} does not have its hash`)
      if (!bytesEqual(entrySeal(index, Number(row.time), row.hash, row.keys), row.seal)) {
        this.#report(`the row of entry ${index} was changed`)
      }
      if (index < indexed && known.get(prefix48(hash), index) === undefined)
        this.#report(`entry ${index} is not in the index`)
      if (Number(row.time) < newest) this.#report(`entry ${index} is older than the one before`)
      newest = Number(row.time)
      this.#append(hash)
      const at = signed.get(index + 1)
      if (at !== undefined && !bytesEqual(at.root, this.#range.root())) {
        this.#report(`the root at size ${index + 1} is not the one that was signed`)
      }
      if (index % STRIDE === STRIDE - 1) {
        this.#options.onProgress?.(index + 1, size)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const last = this.#sql.lastIndex.get()?.idx
    if (Number(last ?? -1n) !== size - 1)
      this.#report(`there are entries after the last, ${size - 1}`)
  }

  #append(hash: Uint8Array): void {
    this.#range.append(hash)
    let up = hash
    for (let level = 0; ; level++) {
      const tile = (this.#edge[level] ??= new ExpandedTile())
      tile.push(up)
      if (!tile.isFull) return
      const index = this.#range.size / 256 ** (level + 1) - 1
      const stored = this.#sql.tile.get(level, index)
      if (stored === undefined || !bytesEqual(stored.hashes, tile.bottom())) {
        this.#report(`tile ${level}/${index} is missing or wrong`)
      }
      this.#tiles += 1
      up = tile.node(8, 0)
      this.#edge[level] = new ExpandedTile()
    }
  }

  #publicKey(spki: Uint8Array): PublicKey | undefined {
    try {
      return publicKeyFromSpki(spki)
    } catch {
      this.#report('the stored public key is unreadable')
      return undefined
    }
  }

  async #checkpoint(
    signed: StoredCheckpoint,
    size: number,
    origin: string,
    key: PublicKey,
  ): Promise<void> {
    try {
      await checkNote(signed, origin, key)
    } catch (error) {
      this.#report(asAirsealError(error).message)
    }
    if (signed.size > size)
      this.#report(`size ${signed.size} was signed, but there are only ${size} entries`)
  }

  #audit(): number {
    try {
      return new SqliteRecordStore(this.#db).verifyAudit().rows
    } catch (error) {
      this.#report(asAirsealError(error).message)
      return Number(this.#count('SELECT count(*) AS n FROM audit'))
    }
  }
}
