import { constants } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { AirsealError } from './core/index.ts'

/** Where everything stands in a data directory. */
export interface DataDirectory {
  readonly root: string
  readonly database: string
  /** Evidence that is known here; may be deleted while nothing runs. */
  readonly cache: string
  /** As `acquireDirectoryLock` names it. */
  readonly lock: string
  readonly socket: string
  /** Stands here while `init` runs, so that an interrupted one can start over. */
  readonly initialising: string
  readonly signingKey: string
  readonly logKey: string
  /** Root key of the trust bundle that `init` makes. */
  readonly trustRootKey: string
  readonly passphrase: string
  readonly public: string
  readonly config: string
}

/** Paths below `root`, made absolute. */
export function dataDirectory(root: string): DataDirectory {
  const at = (...parts: string[]): string => join(resolve(root), ...parts)
  return {
    root: at(),
    database: at('airseal.db'),
    cache: at('cache.db'),
    lock: at('airseal.lock'),
    socket: at('airseal.sock'),
    initialising: at('initialising'),
    signingKey: at('keys', 'cosign.key'),
    logKey: at('keys', 'rekor.key'),
    trustRootKey: at('keys', 'trust-root.key'),
    passphrase: at('keys', 'passphrase'),
    public: at('public'),
    config: at('airseal.yaml'),
  }
}

/** What stands at the place of a data directory. */
export type DirectoryState = 'missing' | 'empty' | 'interrupted' | 'ready'

/**
 * Looks at a directory without changing it.
 * @throws AirsealError DATA_DIRECTORY when something else than airseal's data is there, DATA_PERMISSIONS when others could get at it
 */
export async function inspectDirectory(directory: DataDirectory): Promise<DirectoryState> {
  const names = await readdir(directory.root).catch((cause: unknown) => {
    if (errorCode(cause) === 'ENOENT') return null
    throw new AirsealError(
      'DATA_DIRECTORY',
      `${directory.root} can't be read (${errorCode(cause)})`,
      { cause },
    )
  })
  if (names === null) return 'missing'
  // A configuration file may be there before the first start; ext4 puts lost+found into a new volume. The others are all that is left when
  // an init is killed in its first moment.
  const mark = temporaryOf(directory.initialising)
  const expected = [directory.config, directory.lock, mark].map((path) => basename(path))
  const content = names.filter((name) => name !== 'lost+found' && !expected.includes(name))
  if (content.length === 0) return 'empty'
  if (content.includes(basename(directory.initialising))) return 'interrupted'
  if (!content.includes(basename(directory.database))) {
    throw new AirsealError(
      'DATA_DIRECTORY',
      `${directory.root} holds other files and no airseal.db: it is not a data directory`,
    )
  }
  await checkPermissions(directory)
  return 'ready'
}

/** Nobody else may read or change what is in there. @throws AirsealError DATA_PERMISSIONS */
async function checkPermissions(directory: DataDirectory): Promise<void> {
  for (const path of [
    directory.root,
    join(directory.root, 'keys'),
    directory.database,
    directory.signingKey,
    directory.logKey,
    directory.trustRootKey,
    directory.passphrase,
  ]) {
    const found = await lstat(path).catch((cause: unknown) => {
      if (errorCode(cause) === 'ENOENT') return null
      throw new AirsealError(
        'DATA_PERMISSIONS',
        `${path} can't be looked at (${errorCode(cause)})`,
        { cause },
      )
    })
    if (found === null) continue
    if (found.isSymbolicLink() && path !== directory.root) {
      throw new AirsealError(
        'DATA_PERMISSIONS',
        `${path} is a symbolic link: put the file itself there`,
      )
    }
    if (found.isSymbolicLink()) continue
    if ((found.mode & 0o077) !== 0) {
      throw new AirsealError(
        'DATA_PERMISSIONS',
        `${path} is open to others: run chmod ${found.isDirectory() ? '700' : '600'} ${path}`,
      )
    }
    const user = process.getuid?.()
    if (user !== undefined && found.uid !== user) {
      throw new AirsealError(
        'DATA_PERMISSIONS',
        `${path} belongs to user ${found.uid}, this is user ${user}: run chown -R ${user} ${directory.root}`,
      )
    }
  }
}

/** Makes the empty directories, closed to others, and marks them as being initialised. */
export async function makeDirectories(directory: DataDirectory): Promise<void> {
  await chmod(directory.root, 0o700)
  await writeFileWhole(
    directory.initialising,
    'airseal init was interrupted; running it again starts over\n',
    0o600,
  )
  for (const path of [
    directory.database,
    `${directory.database}-wal`,
    `${directory.database}-shm`,
    join(directory.root, 'keys'),
    directory.public,
  ]) {
    await rm(path, { recursive: true, force: true })
  }
  await mkdir(join(directory.root, 'keys'), { mode: 0o700 })
  await mkdir(directory.public, { mode: 0o700 })
}

/** One name for each file, so that what a killed process left is overwritten by the next, and does not pile up. */
function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.tmp`)
}

/**
 * Writes a file whole or not at all: temporary file, fsync, rename, fsync of the directory. The caller holds the directory's lock.
 * @throws AirsealError STORAGE
 */
export async function writeFileWhole(
  path: string,
  content: string | Uint8Array,
  mode: number,
): Promise<void> {
  const temporary = temporaryOf(path)
  try {
    await rm(temporary, { force: true })
    await writeFile(temporary, content, { flag: 'wx', mode, flush: true })
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw new AirsealError('STORAGE', `${path} can't be written (${errorCode(cause)})`, { cause })
  }
}

/** Makes renames and removals in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  await handle.sync().finally(() => handle.close())
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
}
