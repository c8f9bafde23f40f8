import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { generateKeyFile } from '../keys/index.ts'
import type { Clock, PublicKey } from './core/index.ts'
import { AirsealError } from './core/index.ts'
import {
  inspectDirectory,
  makeDirectories,
  syncDirectory,
  writeFileWhole,
  type DataDirectory,
} from './data-directory.ts'
import { acquireDirectoryLock, createDatabase } from './log/index.ts'

export interface InitOptions {
  /** URL under which clients will reach the service. Its host becomes the log's name, for the life of the log. */
  readonly publicUrl: string
  /** Passphrase of the keys; null: one is made and stored beside them. */
  readonly passphrase: string | null
  readonly clock: Clock
  /** Public key of the log where its key is elsewhere; null: one is made. */
  readonly logKey: PublicKey | null
  /** Public key that signs images where it is elsewhere; null: one is made. */
  readonly signingKey: PublicKey | null
  /** True when the root key of the trust bundle is elsewhere; else one is made when the directory is first opened. */
  readonly hasRootKey: boolean
}

export interface InitResult {
  /** The passphrase that was made; null when one was given. */
  readonly generatedPassphrase: string | null
  /** SHA-256 of the SPKI, hex. */
  readonly signingKeyId: string
  readonly logId: string
}

/**
 * Makes a data directory: keys, database with an empty log. The database comes last: where it stands, everything stands.
 * @throws AirsealError DATA_DIRECTORY when one is there already or something else is in the way, DATA_LOCKED when another init runs
 */
export async function initialise(
  directory: DataDirectory,
  options: InitOptions,
): Promise<InitResult> {
  await requireUnused(directory)
  await mkdir(directory.root, { recursive: true, mode: 0o700 })
  const unlock = acquireDirectoryLock(directory.root)
  try {
    // Looked at again: another init may have come first.
    await requireUnused(directory)
    return await fill(directory, options)
  } finally {
    unlock()
  }
}

async function requireUnused(directory: DataDirectory): Promise<void> {
  if ((await inspectDirectory(directory)) !== 'ready') return
  throw new AirsealError(
    'DATA_DIRECTORY',
    `${directory.root} is initialised already; nothing was changed`,
  )
}

async function fill(directory: DataDirectory, options: InitOptions): Promise<InitResult> {
  await makeDirectories(directory)
  // Keys that are elsewhere need none.
  const makesKeys = options.signingKey === null || options.logKey === null || !options.hasRootKey
  const generatedPassphrase =
    options.passphrase === null && makesKeys ? randomBytes(24).toString('base64url') : null
  const passphrase = options.passphrase ?? generatedPassphrase ?? ''
  if (generatedPassphrase !== null)
    await writeFileWhole(directory.passphrase, `${generatedPassphrase}\n`, 0o600)
  const [signing, log] = await Promise.all([
    options.signingKey ?? makeKey(directory.signingKey, passphrase),
    options.logKey ?? makeKey(directory.logKey, passphrase),
  ])
  createDatabase(directory.database, {
    hostname: logName(options.publicUrl),
    logPublicKeySpki: log.spki,
    now: options.clock(),
  })
  await rm(directory.initialising)
  await syncDirectory(directory.root)
  return { generatedPassphrase, signingKeyId: signing.id, logId: log.id }
}

async function makeKey(path: string, passphrase: string): Promise<PublicKey> {
  const { keyFile, publicKey } = await generateKeyFile(passphrase)
  await writeFileWhole(path, keyFile, 0o600)
  return publicKey
}

/**
 * Name of the log in its checkpoints: the host of the public URL, without port. Several clients compare the two.
 */
function logName(publicUrl: string): string {
  return new URL(publicUrl).hostname
}
