import { AirsealError, type HashName, type PublicKey } from '../src/core/index.ts'

/** What a back-end says about a key, in its own words where it has any. */
export interface KeyDescription {
  /** Where the key is, as it was written; never holds a PIN or passphrase. */
  readonly uri: string
  readonly backend: 'file' | 'aws-kms' | 'google-kms' | 'pkcs11'
  /** The one key that the reference led to: ARN, key version, token serial and object id, or path. */
  readonly version: string
  readonly publicKey: PublicKey
  /** May the private key leave the back-end? Null: the back-end does not say. */
  readonly extractable: boolean | null
  /** Could it ever? False only when the back-end vouches that it never could. Null: it does not say. */
  readonly everExtractable: boolean | null
  /** Was it made inside? Null: the back-end does not say. */
  readonly madeInside: boolean | null
  /** `software`, `hsm`, `external`…, in lower case, as the back-end says. */
  readonly protection: string
}

/** What is to be signed. The digest is computed once, by us. */
export interface SignInput {
  /** Null: only the digest is known. */
  readonly message: Uint8Array | null
  /** Made with `hash`; empty for Ed25519. */
  readonly digest: Uint8Array
  /** Null: Ed25519, which hashes by itself. */
  readonly hash: HashName | null
}

/**
 * One private key behind its back-end. Makes one attempt at a time and judges nothing: retries, deadlines and verification are in
 * {@link verifiedSigner} and resilience.ts. Rejects with AirsealError; what is worth another attempt is made by {@link transient}.
 */
export interface Backend {
  readonly description: KeyDescription
  /** ECDSA in DER, RSA PKCS#1 v1.5, Ed25519 pure. Not verified yet. */
  sign(input: SignInput, signal: AbortSignal): Promise<Uint8Array>
  /** Follows the reference anew. @returns what it leads to now, which may be another key than the pinned one */
  resolve(signal: AbortSignal): Promise<KeyDescription>
  close(): Promise<void>
}

interface TransientDetails {
  readonly transient: true
  /** How long the back-end asked us to wait. */
  readonly retryAfterMs?: number
}

/** A fault that another attempt may not meet. */
export function transient(message: string, cause: unknown, retryAfterMs?: number): AirsealError {
  const details: TransientDetails =
    retryAfterMs === undefined ? { transient: true } : { transient: true, retryAfterMs }
  return new AirsealError('KEY_UNAVAILABLE', message, { cause, details })
}

/** Details of a {@link transient} fault, else null. */
export function transientDetails(error: unknown): TransientDetails | null {
  if (!(error instanceof AirsealError) || error.code !== 'KEY_UNAVAILABLE') return null
  const { details } = error
  return typeof details === 'object' && details !== null && 'transient' in details
    ? (details as TransientDetails)
    : null
}

/** The message, for what can't sign a digest. @throws AirsealError KEY_UNSUPPORTED when only the digest is known */
export function wholeMessage({ message }: SignInput): Uint8Array {
  if (message !== null) return message
  throw new AirsealError(
    'KEY_UNSUPPORTED',
    'an Ed25519 key signs whole messages, and only a digest was given',
  )
}
