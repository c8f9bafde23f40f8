import { createHash } from 'node:crypto'
import { AirsealError, type Digest } from '../core/index.ts'

/**
 * Hands chunks on and holds the last one back until all of them are known to have this digest and size, so that whoever gets the end may
 * rely on the whole.
 * @throws AirsealError DIGEST_MISMATCH in place of the last chunk
 */
export async function* checkedChunks(
  chunks: AsyncIterable<Uint8Array>,
  { digest, size }: { readonly digest: Digest; readonly size: number },
  where: string,
): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256')
  let held: Uint8Array | null = null
  let at = 0
  for await (const chunk of chunks) {
    at += chunk.length
    if (at > size) throw mismatch(digest, `more than ${size} bytes`, where)
    hash.update(chunk)
    if (held !== null) yield held
    held = chunk
  }
  if (at !== size) throw mismatch(digest, `${at} bytes instead of ${size}`, where)
  const actual = `sha256:${hash.digest('hex')}`
  if (actual !== digest) throw mismatch(digest, actual, where)
  if (held !== null) yield held
}

function mismatch(digest: Digest, what: string, where: string): AirsealError {
  return new AirsealError('DIGEST_MISMATCH', `${where} holds ${what} where ${digest} was meant`)
}
