import { createReadStream, createWriteStream } from 'node:fs'
import { lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { extract, pack } from 'tar-stream'
import { AirsealError } from '../src/core/index.ts'
import { DurableWriter } from './durable.ts'
import { LIMITS } from './limits.ts'
import { chunksOfFile } from './medium-files.ts'

/** What an image layout in a tar may hold; nothing else is written, under no other name. */
const FILE = /^(?:\.\/)?(oci-layout|index\.json|blobs\/sha256\/[0-9a-f]{64})$/
const DIRECTORY = /^(?:\.\/)?(?:blobs(?:\/sha256)?\/?)?$/
/** What `docker save` puts beside the layout for older readers; it says nothing that index.json does not. */
const PASSED_OVER = /^(?:\.\/)?(?:manifest\.json|repositories)$/

/**
 * Writes the image layout of an `oci-archive` tar into a directory. The archive is read as a stream, entry by entry: links, devices, sparse
 * files, other names and a name twice are refused. The bytes of blobs are hashed when the layout is read.
 * @throws AirsealError LAYOUT_INVALID, TOO_LARGE, STORAGE, STORAGE_FULL
 */
export async function unpackArchive(file: string, directory: string): Promise<void> {
  const facts = await lstat(file).catch(() => null)
  if (facts?.isFile() !== true) throw invalid(file, 'is not a regular file')
  const writer = new DurableWriter(directory)
  const seen = new Set<string>()
  const entries = extract()
  const reading = pipeline(createReadStream(file), entries)
  reading.catch(() => undefined)
  try {
    for await (const entry of entries) {
      const { name, type } = entry.header
      if (seen.size > LIMITS.files)
        throw new AirsealError('TOO_LARGE', `${file} has more than ${LIMITS.files} files`)
      const [, path] = FILE.exec(name) ?? []
      const isFile = type === 'file' || type === 'contiguous-file'
      if (path !== undefined && isFile) {
        if (seen.has(path)) throw invalid(file, `has ${path} twice`)
        seen.add(path)
        await writer.write(path, entry as AsyncIterable<Uint8Array>)
      } else if (
        (type === 'directory' && DIRECTORY.test(name)) ||
        (isFile && PASSED_OVER.test(name))
      )
        entry.resume()
      else throw invalid(file, `holds "${name.slice(0, 200)}" (${type}), which no image layout has`)
    }
    await reading
  } catch (cause) {
    entries.destroy()
    throw cause instanceof AirsealError
      ? cause
      : invalid(file, `can't be read as a tar: ${(cause as Error).message}`)
  }
  for (const needed of ['oci-layout', 'index.json'])
    if (!seen.has(needed)) throw invalid(file, `has no ${needed}`)
}

/** Writes an image layout as a tar: names sorted, times zero, so that the same layout gives the same bytes. @throws AirsealError STORAGE */
export async function packArchive(directory: string, file: string): Promise<void> {
  const blobs = await readdir(join(directory, 'blobs', 'sha256'))
  const names = [
    'oci-layout',
    'index.json',
    ...blobs
      .filter((name) => /^[0-9a-f]{64}$/.test(name))
      .sort()
      .map((name) => `blobs/sha256/${name}`),
  ]
  const archive = pack()
  const partial = `${file}.partial`
  const writing = pipeline(archive, createWriteStream(partial, { mode: 0o644 }))
  writing.catch(() => undefined)
  try {
    for (const name of names) {
      const path = join(directory, name)
      const { size } = await lstat(path)
      const entry = archive.entry({ name, size, mode: 0o644, mtime: new Date(0), uid: 0, gid: 0 })
      await pipeline(chunksOfFile(path, size, path), entry)
    }
    archive.finalize()
    await writing
    const handle = await open(partial, 'r')
    await handle.sync().finally(() => handle.close())
    await rename(partial, file)
  } catch (cause) {
    await rm(partial, { force: true })
    throw new AirsealError('STORAGE', `${file} can't be written: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function invalid(file: string, problem: string): AirsealError {
  return new AirsealError('LAYOUT_INVALID', `${file} ${problem}`)
}
