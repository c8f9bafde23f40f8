import type { PublicKey } from '../src/core/index.ts'

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
   * Signs `message`: ECDSA with the key's own hash (ASN.1 DER), RSA PKCS#1 v1.5 with SHA-256, Ed25519 pure.
   * A returned signature has been verified with `publicKey` over exactly these bytes.
   * @throws AirsealError KEY_UNAVAILABLE when the key can't be reached, SIGNATURE_FAULT when what came back does not verify
   */
  sign(message: Uint8Array): Promise<Uint8Array>
  /** Forgets the key. Signing afterwards rejects with KEY_UNAVAILABLE. */
  close(): Promise<void>
}
