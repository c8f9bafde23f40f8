import type { Json } from '../core/index.ts'
import type { LoggedEntry } from '../log/index.ts'

/** An entry that was checked, in the form in which it is stored. */
export interface CanonicalEntry {
  /** Canonical JSON bytes (RFC 8785): the leaf. */
  readonly body: Uint8Array
  /** RFC 6962 leaf hash of `body`, 32 bytes raw. */
  readonly leafHash: Uint8Array
  /** Lower case, at most 64, without repeats. */
  readonly searchKeys: readonly string[]
}

export interface Submission {
  /** 201: added now; 409: the very same entry stood in the tree before. */
  readonly status: 201 | 409
  /** 80 lower-case hex digits. */
  readonly entryId: string
  readonly entry: LoggedEntry
}

/** `GET /api/v1/log`, member by member. */
export interface LogInfo {
  readonly rootHash: string
  readonly treeSize: number
  readonly signedTreeHead: string
  /** Decimal: tree ids do not fit a JSON number. */
  readonly treeID: string
  readonly inactiveShards: readonly never[]
}

/**
 * The Rekor v1 contract over one log. Arguments are unchecked: bodies as parsed JSON, parameters as they stood in the URL (null: absent).
 * Every method throws AirsealError ENTRY_SCHEMA (HTTP 422, `detail` is the inner code 601-612), ENTRY_INVALID or REQUEST_INVALID (400) for what
 * the caller got wrong, and passes on what the log throws.
 */
export interface Rekor {
  /** Checks, canonicalises and appends one proposed entry; resolves when it is durable. */
  submit(proposed: Json): Promise<Submission>
  /** Checks one proposed entry as `submit` does, signatures included, and gives its leaf without appending it. */
  canonicalEntry(proposed: Json): Promise<CanonicalEntry>
  /** Entry by index over all shards; null when there is none. */
  entryByIndex(logIndex: string | null): Promise<LoggedEntry | null>
  /** Entry by 64 (leaf hash) or 80 (tree id, leaf hash) hex digits; null when there is none. */
  entryById(entryId: string): Promise<LoggedEntry | null>
  /** `POST /api/v1/log/entries/retrieve`: what was found, in the order of the query. */
  retrieve(query: Json): Promise<readonly LoggedEntry[]>
  /** `POST /api/v1/index/retrieve`: entry ids without repeats. */
  searchIndex(query: Json): Promise<readonly string[]>
  logInfo(): Promise<LogInfo>
  /** PEM of the key of the tree named (decimal; null: the active one). */
  publicKey(treeId: string | null): string
  /** RFC 6962 §2.1.2 consistency proof; hex. `rootHash` is the current root, not the one at `lastSize`. */
  consistencyProof(
    parameters: ProofParameters,
  ): Promise<{ readonly rootHash: string; readonly hashes: readonly string[] }>
}

export interface ProofParameters {
  readonly firstSize: string | null
  readonly lastSize: string | null
  readonly treeId: string | null
}
