import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { AirsealError, fromUtf8, type ErrorCode } from '../src/core/index.ts'

const MAX_SECRET_SIZE = 64 * 1024

/**
 * Text of a file of ours that holds a secret. It must be a regular file (no link), owned by this user or root, closed to group and others.
 * @throws AirsealError DATA_PERMISSIONS when others could read or swap it, KEY_UNAVAILABLE when it can't be read, KEY_INVALID when it can't be a key
 */
export async function readSecretFile(path: string): Promise<string> {
  const flags = constants.O_NOFOLLOW
  const bytes = await readChecked(path, flags, 0o077, 'KEY_UNAVAILABLE', 'KEY_INVALID')
  return fromUtf8(bytes, path, 'KEY_INVALID')
}

/**
 * Text of a secret that somebody else provides, such as one that Kubernetes mounts: links are followed, and the group of a file that
 * belongs to root may read it (that is how a mounted Secret looks to a process that is not root).
 * @param code - of the refusal of a file that is missing, unreadable, no text or too large: it says whose setting names the file
 * @throws AirsealError DATA_PERMISSIONS, or `code`
 */
export async function readProvidedSecret(path: string, code: ErrorCode): Promise<string> {
  const bytes = await readProvidedBytes(path, code)
  try {
    return fromUtf8(bytes, path, code)
  } finally {
    bytes.fill(0)
  }
}

/** The same as bytes, for the caller to overwrite after use: a JavaScript string can't be. @throws AirsealError as {@link readProvidedSecret} */
export function readProvidedBytes(path: string, code: ErrorCode): Promise<Buffer> {
  return readChecked(path, 0, 0o037, code, code)
}

/**
 * Passphrase in a file: its text less one line end (LF or CRLF). An empty passphrase is refused: an empty file is a mistake.
 * @throws AirsealError PASSPHRASE, DATA_PERMISSIONS
 */
export async function readPassphraseFile(path: string): Promise<string> {
  const passphrase = (await readProvidedSecret(path, 'PASSPHRASE')).replace(/\r?\n$/, '')
  if (passphrase === '') throw new AirsealError('PASSPHRASE', `${path} is empty`)
  return passphrase
}

async function readChecked(
  path: string,
  flags: number,
  forbidden: number,
  unreadable: ErrorCode,
  unfit: ErrorCode,
): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | flags).catch((cause: unknown) => {
    throw new AirsealError(unreadable, `${path} can't be opened (${errorCode(cause)})`, { cause })
  })
  try {
    const { mode, uid, size } = await file.stat()
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) {
      throw new AirsealError('DATA_PERMISSIONS', `${path} is not a regular file`)
    }
    const closedToGroup = uid === 0 && uid !== process.getuid?.() ? forbidden : 0o077
    if ((mode & closedToGroup) !== 0) {
      throw new AirsealError('DATA_PERMISSIONS', `${path} is open to others: run chmod 600 ${path}`)
    }
    if (uid !== 0 && uid !== process.getuid?.()) {
      throw new AirsealError(
        'DATA_PERMISSIONS',
        `${path} belongs to another user: run chown ${process.getuid?.() ?? ''} ${path}`,
      )
    }
    if (size > MAX_SECRET_SIZE)
      throw new AirsealError(unfit, `${path} is larger than ${MAX_SECRET_SIZE} bytes`)
    return await readWhole(file, size)
  } finally {
    await file.close()
  }
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
}

/** Into one buffer, which its owner can overwrite: nothing is copied on the way. The file may shrink meanwhile, and not grow. */
async function readWhole(file: FileHandle, size: number): Promise<Buffer> {
  const buffer = Buffer.alloc(size)
  let at = 0
  while (at < size) {
    const { bytesRead } = await file.read(buffer, at, size - at, at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return buffer.subarray(0, at)
}
