import Database from 'better-sqlite3'
import { AirsealError, asAirsealError } from '../core/index.ts'

/**
 * An error of SQLite in our terms. The outcome of a write that failed is unknown: an fsync that returned an error may have reached the disk.
 */
export function storageError(thrown: unknown): AirsealError {
  if (!(thrown instanceof Database.SqliteError)) return asAirsealError(thrown)
  const { code } = thrown
  const options = { cause: thrown }
  if (code === 'SQLITE_FULL') {
    return new AirsealError('STORAGE_FULL', 'the disk under the data directory is full', options)
  }
  if (code.startsWith('SQLITE_IOERR') || /^SQLITE_(READONLY|CANTOPEN|PERM|AUTH|NOLFS)/.test(code)) {
    return new AirsealError('STORAGE', `the data directory does not work (${code})`, options)
  }
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return new AirsealError('LOG_CONFLICT', 'another process holds the database', options)
  }
  if (/^SQLITE_(CORRUPT|NOTADB|CONSTRAINT)/.test(code)) {
    return new AirsealError(
      'LOG_DAMAGED',
      `the database is damaged (${code}: ${thrown.message})`,
      options,
    )
  }
  return new AirsealError('INTERNAL', `${code}: ${thrown.message}`, options)
}

/** Codes after which a writer must not go on: what it holds in memory may differ from the disk. */
export function poisons(error: AirsealError): boolean {
  return ['STORAGE', 'LOG_CONFLICT', 'LOG_DAMAGED', 'INTERNAL'].includes(error.code)
}
