import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { digestHex, parseDigest, type Digest } from '../core/index.ts'
import { namesIn, readRegular } from './layout-files.ts'
import { MAX_MANIFEST } from './manifest.ts'

/** Files of a layout that are looked at, and of how many the content. */
const MAX_FILES = 100_000
const MAX_READ = 2_000
/** Manifests of signatures are small: bytes of one that is read. */
const MAX_SIZE = Math.min(256 * 1024, MAX_MANIFEST)

/**
 * Blobs that may be manifests with `subject` as their subject; whether they are is for the caller to see. Names and sizes come from the
 * file system only.
 * @throws AirsealError TOO_LARGE, LAYOUT_INVALID
 */
export async function manifestsNaming(root: string, subject: Digest): Promise<readonly Digest[]> {
  const folder = join(root, 'blobs', 'sha256')
  const found: Digest[] = []
  let read = 0
  for (const name of await namesIn(folder, MAX_FILES)) {
    if (!/^[0-9a-f]{64}$/.test(name)) continue
    const path = join(folder, name)
    const facts = await lstat(path)
    if (!facts.isFile() || facts.size > MAX_SIZE || ++read > MAX_READ) continue
    const text = Buffer.from((await readRegular(path, MAX_SIZE)) ?? []).toString('latin1')
    if (text.startsWith('{') && text.includes('"subject"') && text.includes(digestHex(subject)))
      found.push(parseDigest(`sha256:${name}`))
  }
  return found
}
