import type { ErrorCode } from '../core/index.ts'

/** A piece of evidence as the cache keeps it; it knows nothing of what it means. */
export interface CachedPiece {
  /** SHA-256 over all that makes the piece what it is, 64 lower-case hex digits. */
  readonly id: string
  readonly format: 'legacy' | 'bundle'
  readonly kind: 'signature' | 'attestation' | null
  readonly payload: Uint8Array
  readonly annotations: Readonly<Record<string, string>>
  readonly source: 'signed' | 'seen' | 'imported'
  readonly place: string
  /** Unix milliseconds. */
  readonly seen: number
}

export interface CacheRequest {
  readonly id: number
  readonly method: 'pieces' | 'keep' | 'close'
  readonly digest: string
  readonly pieces: readonly CachedPiece[]
}

export type CacheReply =
  | { readonly id: number; readonly pieces: readonly CachedPiece[] }
  | { readonly id: number; readonly code: ErrorCode; readonly message: string }
