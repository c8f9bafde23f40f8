import { closeSync, existsSync, openSync, rmSync } from 'node:fs'
import Database from 'better-sqlite3'
import type { CachedPiece } from './evidence-cache-api.ts'

/** `application_id` of the file: "ASEC". */
const APPLICATION_ID = 0x41534543
/** Of another version nothing is read: it is made anew. */
const SCHEMA_VERSION = 1
const HOUR_MS = 3_600_000

const SCHEMA = `
  CREATE TABLE subject (
    digest TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    used INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX subject_used ON subject (used);
  CREATE TABLE piece (
    digest TEXT NOT NULL,
    id TEXT NOT NULL,
    format TEXT NOT NULL,
    kind TEXT,
    source TEXT NOT NULL,
    place TEXT NOT NULL,
    seen INTEGER NOT NULL,
    annotations TEXT NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (digest, id)
  ) STRICT;
`

export interface EvidenceCacheStore {
  pieces(digest: string): CachedPiece[]
  keep(digest: string, pieces: readonly CachedPiece[]): void
  close(): void
}

interface PieceRow extends Omit<CachedPiece, 'annotations'> {
  readonly annotations: string
}

/** Synchronous: it lives in a worker thread. */
export function openEvidenceCacheStore(path: string, maxBytes: number): EvidenceCacheStore {
  const db = openOrReplace(path)
  const sql = {
    pieces: db.prepare<[string], PieceRow>('SELECT * FROM piece WHERE digest = ? ORDER BY rowid'),
    insert: db.prepare<
      [string, string, string, string | null, string, string, number, string, Uint8Array]
    >('INSERT OR IGNORE INTO piece VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    subject: db.prepare<[string], { bytes: number; used: number }>(
      'SELECT bytes, used FROM subject WHERE digest = ?',
    ),
    setSubject: db.prepare<[string, number, number]>(
      'INSERT OR REPLACE INTO subject VALUES (?, ?, ?)',
    ),
    oldest: db.prepare<[string], { digest: string; bytes: number }>(
      'SELECT digest, bytes FROM subject WHERE digest <> ? ORDER BY used LIMIT 1',
    ),
    dropPieces: db.prepare<[string]>('DELETE FROM piece WHERE digest = ?'),
    dropSubject: db.prepare<[string]>('DELETE FROM subject WHERE digest = ?'),
  }
  let total =
    db.prepare<[], { total: number }>('SELECT coalesce(sum(bytes), 0) AS total FROM subject').get()
      ?.total ?? 0

  /** Least recently used digests leave as a whole: half the evidence of an image could change its verdict. */
  const evict = (keeping: string): void => {
    while (total > maxBytes) {
      const oldest = sql.oldest.get(keeping)
      if (oldest === undefined) return
      sql.dropPieces.run(oldest.digest)
      sql.dropSubject.run(oldest.digest)
      total -= oldest.bytes
    }
  }

  const add = db.transaction((digest: string, pieces: readonly CachedPiece[]) => {
    let bytes = sql.subject.get(digest)?.bytes ?? 0
    for (const piece of pieces) {
      const annotations = JSON.stringify(piece.annotations)
      const { id, format, kind, source, place, seen, payload } = piece
      const row = [digest, id, format, kind, source, place, seen, annotations, payload] as const
      if (sql.insert.run(...row).changes === 0) continue
      const size = payload.length + annotations.length + 500
      bytes += size
      total += size
    }
    sql.setSubject.run(digest, bytes, Date.now())
    evict(digest)
  })

  const recount = (): void => {
    const row = db
      .prepare<[], { total: number }>('SELECT coalesce(sum(bytes), 0) AS total FROM subject')
      .get()
    total = row?.total ?? 0
  }

  return {
    pieces: (digest) => {
      const subject = sql.subject.get(digest)
      if (subject === undefined) return []
      const now = Date.now()
      if (Math.abs(now - subject.used) > HOUR_MS) sql.setSubject.run(digest, subject.bytes, now)
      return sql.pieces.all(digest).map((row) => ({
        id: row.id,
        format: row.format,
        kind: row.kind,
        payload: row.payload,
        source: row.source,
        place: row.place,
        seen: row.seen,
        annotations: JSON.parse(row.annotations) as Record<string, string>,
      }))
    },
    keep: (digest, pieces) => {
      try {
        add.immediate(digest, pieces)
      } catch (error) {
        recount()
        throw error
      }
    },
    close: () => {
      db.close()
    },
  }
}

/** Whatever is wrong with the file, it is only a cache. */
function openOrReplace(path: string): Database.Database {
  try {
    return open(path)
  } catch {
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
    return open(path)
  }
}

function open(path: string): Database.Database {
  if (!existsSync(path)) closeSync(openSync(path, 'wx', 0o600))
  const db = new Database(path, { timeout: 1_000 })
  try {
    db.pragma('journal_mode = WAL')
    // A power cut may cost the newest pieces, never the file.
    db.pragma('synchronous = NORMAL')
    db.pragma('trusted_schema = OFF')
    db.pragma('cell_size_check = ON')
    db.pragma('journal_size_limit = 16777216')
    const application = db.pragma('application_id', { simple: true })
    const version = db.pragma('user_version', { simple: true })
    if (application === 0 && version === 0) create(db)
    else if (application !== APPLICATION_ID || version !== SCHEMA_VERSION)
      throw new Error('not a cache of this version')
    if (db.pragma('quick_check(1)', { simple: true }) !== 'ok') throw new Error('damaged')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function create(db: Database.Database): void {
  db.transaction(() => {
    db.exec(SCHEMA)
    db.pragma(`application_id = ${APPLICATION_ID}`)
    db.pragma(`user_version = ${SCHEMA_VERSION}`)
  }).immediate()
}
