import { lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AirsealError } from '../core/index.ts'

const MAX_FILES = 2000
const MAX_BYTES = 12 * 1024 * 1024
const MAX_DEPTH = 8
const NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$/

/**
 * Reads a repository from a directory: the metadata in it, the targets below `targets/`. Plain files only; nothing is believed yet.
 * @throws AirsealError USAGE, TUF_INVALID, TOO_LARGE
 */
export async function readRepository(directory: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  let size = 0
  const read = async (path: string, depth: number): Promise<void> => {
    const entries = await readdir(join(directory, path), { withFileTypes: true }).catch(
      (cause: unknown) => {
        throw new AirsealError('USAGE', `${join(directory, path)} can't be read`, { cause })
      },
    )
    for (const entry of entries) {
      const name = path === '' ? entry.name : `${path}/${entry.name}`
      // What else lies on a medium is none of ours: only targets/ is entered.
      if (entry.isDirectory()) {
        if (path === '' && entry.name !== 'targets') continue
        if (depth === MAX_DEPTH) throw new AirsealError('TOO_LARGE', `${name} is nested too deep`)
        await read(name, depth + 1)
        continue
      }
      if (path === '' && !entry.name.endsWith('.json')) continue
      if (!entry.isFile() || !NAME.test(entry.name))
        throw new AirsealError('TUF_INVALID', `${name} is not a plain file of a repository`)
      size += (await lstat(join(directory, name))).size
      if (size > MAX_BYTES || files.size === MAX_FILES)
        throw new AirsealError(
          'TOO_LARGE',
          `the repository has more than ${MAX_FILES} files or ${MAX_BYTES} bytes`,
        )
      files.set(name, await readFile(join(directory, name)))
    }
  }
  await read('', 0)
  if (files.size === 0) throw new AirsealError('TUF_MISSING', `${directory} holds no repository`)
  return files
}

/**
 * Writes a repository so that it is usable at every moment: what points to other files comes after them, `timestamp.json` last.
 * @throws AirsealError USAGE when it can't be written
 */
export async function writeRepository(
  directory: string,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const order = (name: string): number =>
    name === 'timestamp.json' ? 2 : name.startsWith('targets/') ? 0 : 1
  const sorted = [...files].sort(([a], [b]) => order(a) - order(b))
  for (const [name, bytes] of sorted) {
    const path = join(directory, name)
    try {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, bytes, { flush: true })
    } catch (cause) {
      throw new AirsealError('USAGE', `${path} can't be written`, { cause })
    }
  }
}

/** @throws AirsealError USAGE when the file is there already */
export async function writeNewFile(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flag: 'wx', flush: true }).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${path} can't be written, or is there already`, { cause })
  })
}
