import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesEqual } from './core/index.ts'
import { writeFileWhole, type DataDirectory } from './data-directory.ts'

export interface PublicFile {
  readonly contentType: string
  readonly bytes: Uint8Array
}

/**
 * Makes `public/` in the data directory hold these files and no others; what is the same already is left alone.
 * @throws AirsealError STORAGE
 */
export async function writePublicFiles(
  directory: DataDirectory,
  files: ReadonlyMap<string, PublicFile>,
): Promise<void> {
  await mkdir(directory.public, { recursive: true, mode: 0o700 })
  for (const [name, { bytes }] of files) {
    const path = join(directory.public, name)
    const old = await readFile(path).catch(() => null)
    if (old === null || !bytesEqual(old, bytes)) await writeFileWhole(path, bytes, 0o644)
  }
  // A key that no longer counts must not lie there as if it did.
  for (const name of await readdir(directory.public))
    if (!files.has(name)) await rm(join(directory.public, name), { force: true, recursive: true })
}
