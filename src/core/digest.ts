import { hash } from 'node:crypto'
import { AirsealError } from './errors.ts'

/** Name of content: `sha256:` and 64 lower-case hex digits (OCI image specification, descriptor). */
export type Digest = `sha256:${string}`

const DIGEST = /^sha256:[0-9a-f]{64}$/

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text)
}

/** @throws AirsealError REFERENCE_INVALID when `text` is not a sha256 digest in lower case */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) {
    throw new AirsealError(
      'REFERENCE_INVALID',
      `"${text.slice(0, 100)}" is not sha256: and 64 lower-case hex digits`,
    )
  }
  return text
}

/** SHA-256 of `bytes`, 32 bytes raw. */
export function sha256(bytes: Uint8Array | string): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

/** SHA-256 of `bytes`, 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex')
}

/** Digest of `bytes`. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${sha256Hex(bytes)}`
}

/** The 64 hex digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice('sha256:'.length)
}
