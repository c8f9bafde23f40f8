import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { AirsealError } from '../core/index.ts'
import { storageError } from './storage-error.ts'

/** Name of the lock file in a data directory. It holds nothing and may stay behind. */
const LOCK_FILE = 'airseal.lock'

/** Keeps the connections alive: one that is collected as garbage is closed, and its lock is gone. */
const HELD = new Set<Database.Database>()

/**
 * Takes the exclusive lock of a data directory for the life of this process: an exclusive transaction on a file of its own. The kernel
 * drops it when the process dies, however that happens; a stopped process keeps it. Nothing else may open the file, since closing any
 * descriptor of it drops the lock (POSIX).
 * @returns a function that gives the lock up
 * @throws AirsealError DATA_LOCKED when another holder exists, also in this process; DATA_DIRECTORY, STORAGE
 */
export function acquireDirectoryLock(directory: string): () => void {
  if (!existsSync(directory))
    throw new AirsealError('DATA_DIRECTORY', `${directory} does not exist`)
  let db: Database.Database | undefined
  try {
    db = new Database(join(directory, LOCK_FILE), { timeout: 0 })
    db.pragma('journal_mode = MEMORY')
    db.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    db?.close()
    if (error instanceof Database.SqliteError && error.code.startsWith('SQLITE_BUSY')) {
      throw new AirsealError('DATA_LOCKED', `another process works on ${directory}`, {
        cause: error,
      })
    }
    throw storageError(error)
  }
  const held = db
  HELD.add(held)
  return () => {
    if (!HELD.delete(held)) return
    held.exec('ROLLBACK')
    held.close()
  }
}
