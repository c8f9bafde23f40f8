import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { AirsealError, digestHex, type Digest } from '../src/core/index.ts'
import { DurableWriter } from './durable.ts'
import { LIMITS } from './limits.ts'
import { chunksOfFile, readFileOf } from './medium-files.ts'
import type { Medium } from './medium.ts'
import { HEADER, SUMS, volumeName } from './names.ts'
import type { Progress } from './progress.ts'

/** Keeps volumes of a bundle whose others are not at hand, for sites with one drive. */
export class Spool {
  readonly #root: string

  /** @param root - directory of this side; made when it is needed */
  constructor(root: string) {
    this.#root = root
  }

  /** Directories of volumes that were taken in before. */
  async volumes(header: Digest): Promise<string[]> {
    const path = join(this.#root, digestHex(header))
    const names = (await readdir(path).catch(() => [])).filter((name) =>
      /^volume-[0-9]{4}$/.test(name),
    )
    return names.sort().map((name) => join(path, name))
  }

  /**
   * Copies the volumes at hand, every byte hashed; one that was interrupted is not there.
   * @throws AirsealError MEDIUM_DAMAGED, STORAGE_FULL
   */
  async take(medium: Medium, progress: Progress): Promise<void> {
    const { digest } = medium.signed
    const root = join(this.#root, digestHex(digest))
    const there = new Set(await this.volumes(digest))
    for (const [number, directory] of medium.volumes) {
      const target = join(root, volumeName(number))
      if (there.has(target)) continue
      const pieces = [...medium.pieces()].filter(({ volume }) => volume === number)
      progress.step(
        `taking in volume ${number} of ${medium.signed.header.volumes.length}`,
        pieces.reduce((sum, { size }) => sum + size, 0),
      )
      const partial = `${target}.partial`
      await rm(partial, { recursive: true, force: true })
      const writer = new DurableWriter(partial)
      for (const { name, path, size, shown, digest: wanted } of pieces) {
        const written = await writer.write(name, counted(chunksOfFile(path, size, shown), progress))
        if (written.digest !== wanted)
          throw new AirsealError(
            'MEDIUM_DAMAGED',
            `${shown} does not have the bytes that SHA256SUMS names`,
          )
      }
      const sums = join(directory, SUMS)
      await writer.write(SUMS, await readFileOf(sums, LIMITS.sums, sums))
      await writer.write(HEADER, medium.signed.bytes)
      await writer.rename(target)
    }
  }

  async forget(header: Digest): Promise<void> {
    await rm(join(this.#root, digestHex(header)), { recursive: true, force: true })
  }
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
