import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { AirsealError, publicKeyFromSpki } from '../core/index.ts'
import { EMPTY_ROOT } from '../tlog/index.ts'
import { APPLICATION_ID, MIGRATIONS, PAGE_SIZE, SCHEMA, SCHEMA_VERSION } from './schema.ts'
import { storageError } from './storage-error.ts'

export type Connection = Database.Database

/** How long a connection waits for another one's lock, ms. */
const BUSY_TIMEOUT = 5000

/**
 * Opens an existing database with the profile that durability rests on: WAL with synchronous=FULL, set and read back, because a WAL
 * file that is opened again falls back to NORMAL, which loses answered entries at a power cut.
 * @throws AirsealError DATA_DIRECTORY when it's missing or not ours, STORAGE, LOG_DAMAGED
 */
export function openDatabase(path: string): Connection {
  if (!existsSync(path)) throw new AirsealError('DATA_DIRECTORY', `${path} does not exist`)
  let db: Connection | undefined
  try {
    db = new Database(path, { fileMustExist: true, timeout: BUSY_TIMEOUT })
    checkOwner(db, path)
    applyProfile(db)
    migrate(db)
    return db
  } catch (error) {
    db?.close()
    throw storageError(error)
  }
}

function checkOwner(db: Connection, path: string): void {
  const application = db.pragma('application_id', { simple: true })
  if (application !== APPLICATION_ID) {
    throw new AirsealError('DATA_DIRECTORY', `${path} is not a database of airseal`)
  }
  const version = db.pragma('user_version', { simple: true })
  if (version !== SCHEMA_VERSION && !MIGRATIONS.has(Number(version))) {
    throw new AirsealError(
      'DATA_DIRECTORY',
      `${path} has schema version ${String(version)}, this program reads ${SCHEMA_VERSION}`,
    )
  }
}

/** Each step is durable together with its version, so that an interruption leaves one or the other. */
function migrate(db: Connection): void {
  db.transaction(() => {
    for (;;) {
      const version = Number(db.pragma('user_version', { simple: true }))
      const step = MIGRATIONS.get(version)
      if (step === undefined) return
      db.exec(step)
      db.pragma(`user_version = ${version + 1}`)
    }
  }).immediate()
}

function applyProfile(db: Connection): void {
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  db.pragma('foreign_keys = ON')
  db.pragma('trusted_schema = OFF')
  db.pragma('cell_size_check = ON')
  db.pragma('mmap_size = 0')
  db.pragma('wal_autocheckpoint = 200')
  db.pragma('cache_size = -65536')
  for (const [name, wanted] of Object.entries({
    journal_mode: 'wal',
    synchronous: 2,
    trusted_schema: 0,
  })) {
    const value = db.pragma(name, { simple: true })
    if (value !== wanted) {
      throw new AirsealError(
        'STORAGE',
        `the database keeps ${name}=${String(value)}, want ${wanted}`,
      )
    }
  }
  // After the pragmas, whose values are small: sizes, indexes and tree ids are bigint from here.
  db.defaultSafeIntegers()
}

export interface NewDatabase {
  /** Name on signature lines of checkpoints: the public DNS name, without scheme and port. Cannot be changed later. */
  readonly hostname: string
  /** SubjectPublicKeyInfo (DER) of the log key. */
  readonly logPublicKeySpki: Uint8Array
  /** Unix milliseconds. */
  readonly now: number
}

/**
 * Makes the database with an empty tree of a new, random id. It appears whole, and survives a power cut, or not at all. The caller
 * holds the directory's lock.
 * @throws AirsealError DATA_DIRECTORY when something is at `path`, CONFIG_INVALID for a bad host name, KEY_INVALID, STORAGE, STORAGE_FULL
 */
export function createDatabase(
  path: string,
  { hostname, logPublicKeySpki, now }: NewDatabase,
): void {
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(hostname)) {
    throw new AirsealError('CONFIG_INVALID', `hostname "${hostname}" is not a plain DNS name`)
  }
  const key = publicKeyFromSpki(logPublicKeySpki)
  if (key.algorithm.name !== 'ecdsa-p256') {
    throw new AirsealError(
      'KEY_UNSUPPORTED',
      'the log key must be ECDSA P-256: clients read no other',
    )
  }
  if (existsSync(path)) throw new AirsealError('DATA_DIRECTORY', `${path} exists already`)
  const fresh = `${path}.${process.pid}.new`
  try {
    closeSync(openSync(fresh, 'wx', 0o600))
    const db = new Database(fresh, { timeout: BUSY_TIMEOUT })
    try {
      db.pragma(`page_size = ${PAGE_SIZE}`)
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      fill(db, hostname, logPublicKeySpki, now)
    } finally {
      db.close()
    }
    syncFile(fresh)
    renameSync(fresh, path)
    // Or the name may be lost.
    syncFile(dirname(path))
  } catch (error) {
    for (const suffix of ['', '-wal', '-shm']) rmSync(fresh + suffix, { force: true })
    throw asStorage(error)
  }
}

function fill(db: Connection, hostname: string, publicKey: Uint8Array, now: number): void {
  db.transaction(() => {
    db.exec(SCHEMA)
    db.pragma(`application_id = ${APPLICATION_ID}`)
    db.pragma(`user_version = ${SCHEMA_VERSION}`)
    db.prepare('INSERT INTO tree VALUES (?, 0, ?, ?, 0, ?, 0, 0, 0)').run(
      randomTreeId(),
      hostname,
      publicKey,
      EMPTY_ROOT,
    )
    const setting = db.prepare('INSERT INTO setting VALUES (?, ?)')
    setting.run('createdAt', new Date(now).toISOString())
    setting.run('hostname', hostname)
  }).immediate()
}

/** Positive and below 2^63; never a small number that could be mistaken for another's. */
function randomTreeId(): bigint {
  return (randomBytes(8).readBigUInt64BE() & 0x7fffffffffffffffn) | 0x1000000000000000n
}

function syncFile(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Errors of node:fs as well as of SQLite. */
function asStorage(thrown: unknown): AirsealError {
  const code = (thrown as NodeJS.ErrnoException).code ?? ''
  if (thrown instanceof AirsealError || code.startsWith('SQLITE_')) return storageError(thrown)
  if (code === 'ENOSPC')
    return new AirsealError('STORAGE_FULL', 'the disk is full', { cause: thrown })
  return new AirsealError('STORAGE', `can't create the database (${code})`, { cause: thrown })
}
