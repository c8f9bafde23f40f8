/** A leaf on its way into the log. */
export interface NewLeaf {
  /** Canonical JSON bytes of the entry: what is hashed and stored (RFC 8785, UTF-8). */
  readonly body: Uint8Array
  /** Search keys, lower case, for example `sha256:…`; at most 64. */
  readonly searchKeys: readonly string[]
}

/** One entry with all that proves it, from one snapshot of the tree. */
export interface LoggedEntry {
  /** 80 lower-case hex digits: tree id (16), leaf hash (64). */
  readonly entryId: string
  readonly body: Uint8Array
  /** Unix seconds, fixed when the entry was integrated. */
  readonly integratedTime: number
  /** SHA-256 of the shard key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  /** Index over all shards. */
  readonly logIndex: number
  readonly proof: InclusionProof
  /** ASN.1 DER ECDSA signature over the canonical JSON of body (base64), integratedTime, logID, logIndex. */
  readonly signedEntryTimestamp: Uint8Array
}

/** RFC 6962 §2.1.1 audit path with the checkpoint it leads to. Hashes are raw, 32 bytes. */
export interface InclusionProof {
  /** Index inside the tree of this shard. */
  readonly index: number
  readonly treeSize: number
  readonly rootHash: Uint8Array
  readonly hashes: readonly Uint8Array[]
  /** Signed note over treeSize and rootHash. */
  readonly checkpoint: string
}

export interface AppendResult {
  readonly entry: LoggedEntry
  /** True when the very same leaf stood in the active tree before: nothing was added. */
  readonly duplicate: boolean
}

/** A tree with the head that was signed for it. */
export interface SignedHead {
  readonly treeId: bigint
  readonly treeSize: number
  readonly rootHash: Uint8Array
  readonly checkpoint: string
}

/**
 * The append-only log. Every promise of `append` holds after a power cut: the answer comes after leaves and head are durable.
 */
export interface TransparencyLog {
  /** Positive 63-bit number that names the active tree. Never used again for another tree. */
  readonly treeId: bigint
  /** Name on the signature line of checkpoints; the origin is `NAME - TREEID`. */
  readonly hostname: string
  /** SHA-256 of the log key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  /** The log's public key, PEM. */
  readonly publicKeyPem: string
  /**
   * Appends one leaf, or finds the equal one.
   * @throws AirsealError OVERLOADED (queue full), STORAGE, STORAGE_FULL, LOG_CLOCK, KEY_UNAVAILABLE. The outcome is then unknown: appending
   * the same leaf again returns the existing entry.
   */
  append(leaf: NewLeaf): Promise<AppendResult>
  /** Entry by index over all shards; null when there is none. */
  entryByIndex(logIndex: number): Promise<LoggedEntry | null>
  /** Entry by index, proved in the tree of a head that was signed before; null when that tree does not hold it. */
  entryInTree(logIndex: number, head: SignedHead): Promise<LoggedEntry | null>
  /** Entry by leaf hash (32 bytes raw), in the tree named or in any; null when there is none. */
  entryByLeafHash(leafHash: Uint8Array, treeId?: bigint): Promise<LoggedEntry | null>
  /** Entries (80 hex digits each, oldest first) that carry the search key; at most `limit`. */
  search(key: string, limit: number): Promise<readonly string[]>
  /** Index over all shards that the next new entry gets. */
  nextIndex(): number
  /** The current head, signed afresh. */
  signedHead(): Promise<SignedHead>
  /**
   * RFC 6962 §2.1.2 consistency proof between two sizes of the active tree, with the current root and that of the first size.
   * @throws AirsealError REQUEST_INVALID when a size is out of range
   */
  consistencyProof(
    firstSize: number,
    lastSize: number,
  ): Promise<{ rootHash: Uint8Array; firstRoot: Uint8Array; hashes: readonly Uint8Array[] }>
  /** Stops taking leaves, answers those in the queue, closes the files. */
  close(): Promise<void>
}
