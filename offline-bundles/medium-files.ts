import { constants } from 'node:fs'
import { lstat, open, opendir, readdir, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { AirsealError } from '../src/core/index.ts'
import { HEADER, isDirectoryName, SUMS } from './names.ts'

/** Bytes read at once. */
const CHUNK = 1024 * 1024

/** Everything here takes what lies on the medium for hostile: nothing is followed, nothing blocks, nothing is read beyond a limit. */
async function openRegular(path: string, shown: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = await open(path, flags).catch((cause: unknown) => {
    throw unreadable(shown, cause)
  })
  try {
    if ((await file.stat()).isFile()) return file
  } catch (cause) {
    await file.close()
    throw unreadable(shown, cause)
  }
  await file.close()
  throw new AirsealError('MEDIUM_INVALID', `${shown} is not a regular file`)
}

function unreadable(shown: string, cause: unknown): AirsealError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
  if (code === 'ENOENT') return new AirsealError('MEDIUM_DAMAGED', `${shown} is missing`, { cause })
  if (code === 'ELOOP' || code === 'ENXIO' || code === 'ENOTDIR')
    return new AirsealError('MEDIUM_INVALID', `${shown} is a link or no regular file`, { cause })
  return new AirsealError('MEDIUM_DAMAGED', `${shown} can't be read (${code})`, { cause })
}

/** Content of a file of at most `most` bytes. @throws AirsealError MEDIUM_INVALID, MEDIUM_DAMAGED */
export async function readFileOf(path: string, most: number, shown: string): Promise<Buffer> {
  const file = await openRegular(path, shown)
  try {
    const { size } = await file.stat()
    if (size > most)
      throw new AirsealError(
        'MEDIUM_INVALID',
        `${shown} has ${size} bytes, at most ${most} are read`,
      )
    const bytes = Buffer.alloc(size)
    let at = 0
    while (at < size) {
      const { bytesRead } = await file.read(bytes, at, size - at, at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return bytes.subarray(0, at)
  } catch (cause) {
    throw cause instanceof AirsealError ? cause : unreadable(shown, cause)
  } finally {
    await file.close()
  }
}

/** Bytes of a file as they come, never more than `size`. @throws AirsealError MEDIUM_DAMAGED, MEDIUM_INVALID */
export async function* chunksOfFile(
  path: string,
  size: number,
  shown: string,
): AsyncIterable<Uint8Array> {
  const file = await openRegular(path, shown)
  try {
    for (let at = 0; at < size;) {
      const wanted = Math.min(CHUNK, size - at)
      let read
      try {
        read = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, at)
      } catch (cause) {
        throw unreadable(shown, cause)
      }
      if (read.bytesRead === 0)
        throw new AirsealError('MEDIUM_DAMAGED', `${shown} is cut off: ${at} bytes of ${size}`)
      at += read.bytesRead
      yield read.buffer.subarray(0, read.bytesRead)
    }
  } finally {
    await file.close()
  }
}

/**
 * Sizes of the files below `directory`, each of which `isListed`. The first thing that is not is refused, so that a million files cost no
 * more than one.
 * @throws AirsealError MEDIUM_INVALID
 */
export async function listFiles(
  directory: string,
  isListed: (name: string) => boolean,
  shown: string,
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  const waiting = ['']
  for (let prefix = waiting.pop(); prefix !== undefined; prefix = waiting.pop()) {
    for await (const entry of await opendir(join(directory, prefix))) {
      const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`
      const path = join(directory, prefix, entry.name)
      const facts = await lstat(path)
      if (facts.isDirectory()) {
        if (!isDirectoryName(name)) throw unexpected(shown, name, 'directory')
        waiting.push(name)
      } else if (!facts.isFile()) throw unexpected(shown, name, 'link, device or pipe')
      else if (isListed(name)) sizes.set(name, facts.size)
      else if (prefix !== '' || (name !== HEADER && name !== SUMS))
        throw unexpected(shown, name, 'file that SHA256SUMS does not list')
    }
  }
  return sizes
}

function unexpected(shown: string, name: string, what: string): AirsealError {
  return new AirsealError('MEDIUM_INVALID', `${shown} holds "${name.slice(0, 200)}", a ${what}`)
}

/**
 * Directories of volumes that `path` leads to: itself when it holds a header, else those named `volume-NNNN` in it.
 * @throws AirsealError MEDIUM_INVALID
 */
export async function volumeDirectories(path: string): Promise<string[]> {
  const facts = await lstat(path).catch(() => null)
  if (facts?.isSymbolicLink() !== true && facts?.isDirectory() !== true)
    throw new AirsealError('MEDIUM_INVALID', `there is no directory ${path}`)
  if ((await lstat(join(path, HEADER)).catch(() => null)) !== null) return [path]
  const names = (await readdir(path)).filter((name) => /^volume-[0-9]{4}$/.test(name)).sort()
  if (names.length === 0)
    throw new AirsealError(
      'MEDIUM_INVALID',
      `${path} holds no bundle: neither ${HEADER} nor volume-0001`,
    )
  return names.map((name) => join(path, name))
}
