import { constants } from 'node:fs'
import { lstat, mkdir, open, opendir, realpath, rename, unlink } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { AirsealError } from '../core/index.ts'

/** The real directory `path` leads to. @throws AirsealError LAYOUT_INVALID when there is none */
export async function realDirectory(path: string): Promise<string> {
  try {
    const real = await realpath(path)
    if ((await lstat(real)).isDirectory()) return real
  } catch (cause) {
    throw new AirsealError('LAYOUT_INVALID', `there is no directory "${path}"`, { cause })
  }
  throw new AirsealError('LAYOUT_INVALID', `"${path}" is not a directory`)
}

/**
 * Content of a file of the layout; null when there is none. The layout may come from anywhere: links, pipes and devices are refused, so
 * that nothing outside of it is read and nothing blocks.
 * @throws AirsealError LAYOUT_INVALID, TOO_LARGE
 */
export async function readRegular(path: string, maxBytes: number): Promise<Uint8Array | null> {
  let file
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return null
    throw new AirsealError(
      'LAYOUT_INVALID',
      `${path} can't be read as a file of a layout (${code ?? 'unknown'})`,
      { cause },
    )
  }
  try {
    const facts = await file.stat()
    if (!facts.isFile()) throw new AirsealError('LAYOUT_INVALID', `${path} is not a regular file`)
    if (facts.size > maxBytes) {
      throw new AirsealError(
        'TOO_LARGE',
        `${path} has ${facts.size} bytes, at most ${maxBytes} are read`,
      )
    }
    // No further than the size that was checked, should the file grow meanwhile.
    const bytes = Buffer.alloc(facts.size)
    let at = 0
    while (at < bytes.length) {
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return bytes.subarray(0, at)
  } finally {
    await file.close()
  }
}

const CHUNK = 1024 * 1024

/**
 * Bytes of a file as they are read. Links, pipes and devices are refused, as by {@link readRegular}.
 * @throws AirsealError LAYOUT_INVALID, or `missing`
 */
export async function* streamRegular(
  path: string,
  missing: AirsealError,
): AsyncIterable<Uint8Array> {
  const file = await open(
    path,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  ).catch((cause: unknown) => {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
    if (code === 'ENOENT') throw missing
    throw new AirsealError('LAYOUT_INVALID', `${path} can't be read (${code})`, { cause })
  })
  try {
    if (!(await file.stat()).isFile())
      throw new AirsealError('LAYOUT_INVALID', `${path} is not a regular file`)
    for (let at = 0; ;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK), 0, CHUNK, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

/** Bytes of a regular file; null when there is none of that name. */
export async function sizeOfRegular(path: string): Promise<number | null> {
  try {
    const facts = await lstat(path)
    return facts.isFile() ? facts.size : null
  } catch {
    return null
  }
}

/** Names in a directory. @throws AirsealError TOO_LARGE when there are more than `limit` */
export async function namesIn(path: string, limit: number): Promise<readonly string[]> {
  const names: string[] = []
  for await (const { name } of await opendir(path)) {
    if (names.push(name) > limit)
      throw new AirsealError('TOO_LARGE', `${path} holds more than ${limit} files`)
  }
  return names
}

/** True for a directory that is not a link. */
export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isDirectory()
  } catch {
    return false
  }
}

/** True for a regular file, not a link to one. */
export async function isRegular(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isFile()
  } catch {
    return false
  }
}

/** Makes a directory unless it is there. @throws AirsealError LAYOUT_INVALID when something else has its name */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path)
    await syncDirectory(dirname(path))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw storage(path, cause)
    if (!(await isDirectory(path)))
      throw new AirsealError('LAYOUT_INVALID', `${path} is not a directory`)
  }
}

/** Name of a file that is not whole yet. */
export const TEMPORARY = /^\.[0-9a-f]{16}\.tmp$/

/** Replaces a file whole or not at all; durable when it returns. @throws AirsealError STORAGE, STORAGE_FULL */
export async function writeWhole(
  path: string,
  bytes: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = join(dirname(path), `.${randomBytes(8).toString('hex')}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o644)
    try {
      await file.writeFile(bytes)
      // Whoever could read the layout before can read it afterwards, whatever mask this process has. Not every file system has modes.
      await file.chmod(await modeOf(path)).catch(() => undefined)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (cause) {
    await unlink(temporary).catch(() => undefined)
    throw cause instanceof AirsealError ? cause : storage(path, cause)
  }
}

/** Permissions of the file that is replaced, or those of a new one. */
function modeOf(path: string): Promise<number> {
  return lstat(path).then(
    (facts) => (facts.isFile() ? facts.mode & 0o666 : 0o644),
    () => 0o644,
  )
}

/** Without this a rename may be lost at a power cut. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  await directory.sync().finally(() => directory.close())
}

export function storage(path: string, cause: unknown): AirsealError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new AirsealError(full ? 'STORAGE_FULL' : 'STORAGE', `${path} can't be written (${code})`, {
    cause,
  })
}
