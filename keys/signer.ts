import type { ErrorCode, HashName, PublicKey } from '../src/core/index.ts'
import type { KeyDescription } from './backend.ts'

/**
 * Reaches one private key. Safe to call concurrently; implementations bound the time of a call and retry transient faults themselves.
 * A signer never falls back to another key or algorithm.
 */
export interface Signer {
  /** Name in the registry of keys, for people and the audit trail. */
  readonly name: string
  /** The key pinned when it was opened. */
  readonly publicKey: PublicKey
  /**
   * Signs `message`: ECDSA with the signer's hash (ASN.1 DER), RSA PKCS#1 v1.5 with SHA-256, Ed25519 pure.
   * A returned signature has been verified with `publicKey` over exactly these bytes.
   * @throws AirsealError KEY_UNAVAILABLE when the key can't be reached, SIGNATURE_FAULT when what came back does not verify
   */
  sign(message: Uint8Array): Promise<Uint8Array>
  /** Forgets the key. Signing afterwards rejects with KEY_UNAVAILABLE. */
  close(): Promise<void>
}

/** A signer that also signs digests that were computed elsewhere. */
export interface DigestSigner extends Signer {
  /** Hash of its signatures; null for Ed25519, which hashes by itself. */
  readonly hash: HashName | null
  /**
   * Signs a digest made with `hash`, raw bytes. The signature has been verified over it.
   * @throws AirsealError REQUEST_INVALID for another length, KEY_UNSUPPORTED for Ed25519, and those of `sign`
   */
  signDigest(digest: Uint8Array): Promise<Uint8Array>
}

/** A key behind its back-end, as openSigner opens it. */
export interface OpenedSigner extends DigestSigner {
  readonly description: KeyDescription
  /** `open`: the back-end failed so often that it is left alone for some seconds. */
  health(): 'closed' | 'open' | 'trying'
  /** Follows the reference anew. @throws AirsealError KEY_UNAVAILABLE… */
  resolve(): Promise<KeyDescription>
}

/** What a self-test found. */
export interface KeyCheck {
  readonly isGood: boolean
  /** Code of the failure; null when good. */
  readonly code: ErrorCode | null
  /** Of the test signature, milliseconds; null when it failed. */
  readonly milliseconds: number | null
  /** What an operator should know; the first is the failure, where there is one. */
  readonly findings: readonly string[]
}
