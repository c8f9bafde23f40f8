import { createHash } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AirsealError, type Digest } from '../src/core/index.ts'
import { DurableWriter } from './durable.ts'
import type { Volume } from './header.ts'
import { SUMS, volumeName } from './names.ts'
import type { Progress } from './progress.ts'
import { sumsText, type Sum } from './sums.ts'
import type { PlannedPiece } from './volumes.ts'

/** Something to be written: its size and digest are known before. */
export interface SourceFile {
  readonly name: string
  readonly size: number
  readonly digest: Digest
  open(): AsyncIterable<Uint8Array>
}

export interface WrittenVolume {
  readonly directory: string
  readonly volume: Volume
}

/** Files written at once: reading, hashing and writing then go on side by side. */
const PARALLEL = 3

/**
 * Writes every piece below `root`, then SHA256SUMS of each volume. Pieces that an interrupted run left are hashed and kept.
 * @throws AirsealError STORAGE, STORAGE_FULL, DIGEST_MISMATCH, and what sources throw
 */
export async function writeVolumes(
  root: string,
  volumes: readonly (readonly PlannedPiece[])[],
  files: readonly SourceFile[],
  progress: Progress,
): Promise<readonly WrittenVolume[]> {
  const writers = volumes.map(
    (_, at) => new DurableWriter(volumes.length === 1 ? root : join(root, volumeName(at + 1))),
  )
  const places = new Map<string, Place[]>()
  for (const [at, pieces] of volumes.entries()) {
    for (const piece of pieces) {
      const writer = writers[at]
      if (writer === undefined) continue
      const list = places.get(piece.file) ?? []
      list.push({ piece, writer, volume: at })
      places.set(piece.file, list)
    }
  }
  await sweep(root, writers, volumes)
  const sums: Sum[][] = volumes.map(() => [])
  let next = 0
  let failed = false
  const work = async (): Promise<void> => {
    for (let file = files[next++]; file !== undefined && !failed; file = files[next++]) {
      try {
        const list = places.get(file.name) ?? []
        for (const [at, digest] of (await writeFile(file, list, progress)).entries()) {
          const place = list[at]
          if (place !== undefined) sums[place.volume]?.push({ name: place.piece.name, digest })
        }
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await settled(Array.from({ length: PARALLEL }, work))
  const written: WrittenVolume[] = []
  for (const [at, writer] of writers.entries()) {
    const { digest } = await writer.write(SUMS, sumsText(sums[at] ?? []))
    await writer.sync()
    const pieces = volumes[at] ?? []
    const bytes = pieces.reduce((sum, { size }) => sum + size, 0)
    written.push({ directory: writer.root, volume: { sums: digest, files: pieces.length, bytes } })
  }
  return written
}

interface Place {
  readonly piece: PlannedPiece
  readonly writer: DurableWriter
  readonly volume: number
}

/** Digests of the pieces of one file, in their order. */
async function writeFile(
  file: SourceFile,
  places: readonly Place[],
  progress: Progress,
): Promise<Digest[]> {
  const kept = await keptPieces(file, places)
  if (kept !== null) {
    progress.add(file.size)
    return kept
  }
  const [only] = places
  if (places.length === 1 && only !== undefined) {
    const { digest } = await only.writer.write(only.piece.name, counted(file.open(), progress))
    if (digest !== file.digest) throw changed(file)
    return [digest]
  }
  const digests: Digest[] = []
  const cutter = new Cutter(counted(file.open(), progress))
  for (const { piece, writer } of places)
    digests.push((await writer.write(piece.name, cutter.take(piece.size))).digest)
  await cutter.end()
  return digests
}

/** What an earlier run wrote of a file, when all of it is there and right. */
async function keptPieces(file: SourceFile, places: readonly Place[]): Promise<Digest[] | null> {
  const digests: Digest[] = []
  for (const { piece, writer } of places) {
    const digest = await writer.existing(piece.name, piece.size)
    if (digest === null) return null
    digests.push(digest)
  }
  if (digests.length === 1) return digests[0] === file.digest ? digests : null
  // The parts are right only together.
  const hash = createHash('sha256')
  for (const { piece, writer } of places)
    for await (const chunk of writer.read(piece.name, piece.size)) hash.update(chunk)
  return `sha256:${hash.digest('hex')}` === file.digest ? digests : null
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  progress: Progress,
): AsyncIterable<Uint8Array> {
  for await (const chunk of chunks) {
    yield chunk
    progress.add(chunk.length)
  }
}

/** Cuts one stream into pieces of given sizes. */
class Cutter {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array()

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  async *take(size: number): AsyncIterable<Uint8Array> {
    for (let left = size; left > 0;) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next()
        if (next.done === true) throw new AirsealError('DIGEST_MISMATCH', 'the source ended early')
        this.#rest = next.value
      }
      const part = this.#rest.subarray(0, left)
      this.#rest = this.#rest.subarray(part.length)
      left -= part.length
      yield part
    }
  }

  /** Hears the source out: it says at its end whether all bytes were right. */
  async end(): Promise<void> {
    const next = await this.#chunks.next()
    if (next.done !== true || this.#rest.length > 0)
      throw new AirsealError('DIGEST_MISMATCH', 'the source is longer than stated')
  }
}

/** Removes what another run left that does not belong to this one. */
async function sweep(
  root: string,
  writers: readonly DurableWriter[],
  volumes: readonly (readonly PlannedPiece[])[],
): Promise<void> {
  const directories = new Set(writers.map((writer) => writer.root))
  for (const name of await readdir(root).catch(() => [])) {
    const path = join(root, name)
    const isOther = directories.has(root) ? name.startsWith('volume-') : !directories.has(path)
    if (isOther && name !== 'spool') await rm(path, { recursive: true, force: true })
  }
  for (const [at, writer] of writers.entries()) {
    const wanted = new Set((volumes[at] ?? []).map(({ name }) => name))
    for (const entry of await readdir(writer.root, { recursive: true, withFileTypes: true }).catch(
      () => [],
    )) {
      const path = join(entry.parentPath, entry.name)
      const name = path.slice(writer.root.length + 1)
      if (!name.startsWith('spool/') && !entry.isDirectory() && !wanted.has(name)) await rm(path)
    }
  }
}

/** Waits for all, then throws the first fault: nothing goes on writing after the error was told. */
async function settled(work: readonly Promise<void>[]): Promise<void> {
  for (const one of await Promise.allSettled(work)) if (one.status === 'rejected') throw one.reason
}

function changed({ name }: SourceFile): AirsealError {
  return new AirsealError('DIGEST_MISMATCH', `${name} changed while it was read`)
}
