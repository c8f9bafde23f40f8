import { createHash } from 'node:crypto'
import { chmod, lstat, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AirsealError, type Digest } from '../src/core/index.ts'
import { chunksOfFile } from './medium-files.ts'

/** Writes files below a directory: each whole or not at all, durable when it is done. */
export class DurableWriter {
  readonly root: string
  readonly #made = new Set<string>()

  constructor(root: string) {
    this.root = root
  }

  /**
   * @returns digest and size of what was written
   * @throws AirsealError STORAGE, STORAGE_FULL; whatever the source throws
   */
  async write(
    name: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
  ): Promise<{ digest: Digest; size: number }> {
    const path = join(this.root, name)
    await this.#directory(dirname(path))
    const temporary = `${path}.tmp`
    const hash = createHash('sha256')
    let size = 0
    try {
      await unlink(temporary).catch(() => undefined)
      const file = await open(temporary, 'wx', 0o644)
      try {
        for await (const chunk of content instanceof Uint8Array ? [content] : content) {
          hash.update(chunk)
          size += chunk.length
          for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten
        }
        // Whatever mask this process has: the officer at the gate must be able to read it. Not every file system has modes.
        await file.chmod(0o644).catch(() => undefined)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (cause) {
      await unlink(temporary).catch(() => undefined)
      throw writeFault(path, cause)
    }
    return { digest: `sha256:${hash.digest('hex')}`, size }
  }

  /** Digest of a file that an interrupted run left; null when there is none of this size. */
  async existing(name: string, size: number): Promise<Digest | null> {
    const path = join(this.root, name)
    const facts = await lstat(path).catch(() => null)
    if (facts?.isFile() !== true || facts.size !== size) return null
    const hash = createHash('sha256')
    for await (const chunk of chunksOfFile(path, size, path)) hash.update(chunk)
    return `sha256:${hash.digest('hex')}`
  }

  /** Bytes of a file that was written before. */
  read(name: string, size: number): AsyncIterable<Uint8Array> {
    const path = join(this.root, name)
    return chunksOfFile(path, size, path)
  }

  /** Makes everything durable, then gives the whole another name. */
  async rename(target: string): Promise<void> {
    await this.sync()
    await rename(this.root, target).catch((cause: unknown) => {
      throw writeFault(target, cause)
    })
    await syncDirectory(dirname(target))
  }

  /** Makes all names durable. */
  async sync(): Promise<void> {
    for (const directory of [...this.#made, this.root]) await syncDirectory(directory)
  }

  async #directory(path: string): Promise<void> {
    if (this.#made.has(path)) return
    await mkdir(path, { recursive: true, mode: 0o755 }).catch((cause: unknown) => {
      throw writeFault(path, cause)
    })
    for (let each = path; each.length >= this.root.length; each = dirname(each)) {
      this.#made.add(each)
      await chmod(each, 0o755).catch(() => undefined)
    }
  }
}

/** Makes renames in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  // Some file systems of removable media can't; what they can do they did.
  await directory.sync().catch(() => undefined)
  await directory.close()
}

function writeFault(path: string, cause: unknown): AirsealError {
  if (cause instanceof AirsealError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown'
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new AirsealError(
    full ? 'STORAGE_FULL' : 'STORAGE',
    full
      ? `${path}: the medium is full. Free space and run the same command again (it goes on), or use --volume-size`
      : `${path} can't be written (${code})`,
    { cause },
  )
}
