import type { HashName, PublicKey } from '../core/index.ts'

/** A key as the doors see it. */
export interface DoorKey {
  /** Name in the registry of keys. */
  readonly name: string
  readonly publicKey: PublicKey
  /** Hash of its signatures; null for Ed25519, which signs no digests and so nothing through a door. */
  readonly hash: HashName | null
  readonly state: 'active' | 'verify-only' | 'retired' | 'compromised'
  /** Unix milliseconds. */
  readonly created: number
}

/** Who wants a signature, for policy, caps and the audit trail. */
export interface DoorUse {
  readonly door: 'plugin' | 'aws'
  /** As authenticated: `operator`, `token:NAME`, `aws:ACCESSKEYID`. */
  readonly caller: string
  /** Of the public key that the caller was shown (SHA-256 of its SPKI, hex): no other one signs. */
  readonly keyId: string
}

/** The keys that one door may reach. A door never sees others, and never falls back to another. */
export interface DoorKeys {
  /**
   * @param name - as the configuration of the door has it: a key, or `default`
   * @returns the key under its own name; null when there is none, or this door may not reach it
   */
  find(name: string): Promise<DoorKey | null>
  /**
   * Signs a digest made with the key's hash, after the key's policy and the door's cap allowed it and the audit row is durable.
   * @param name - of the key itself, from {@link DoorKeys.find}
   * @returns ECDSA in ASN.1 DER or RSA PKCS#1 v1.5, verified with the pinned key
   * @throws AirsealError KEY_UNKNOWN, RATE_LIMITED, the refusals of the policy, and those of the key
   */
  signDigest(name: string, digest: Uint8Array, use: DoorUse): Promise<Uint8Array>
}
