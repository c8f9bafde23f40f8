import type { JsonObject } from '../core/index.ts'

/** The committed state of the tree. `root`: 32 bytes; `time`: of the newest entry, Unix seconds, 0 without one. */
export interface Head {
  readonly size: number
  readonly root: Uint8Array
  /** Fencing token: grows with each process that opens the log for writing. */
  readonly epoch: number
  readonly time: number
}

export interface StoredCheckpoint {
  readonly size: number
  readonly root: Uint8Array
  /** The whole signed note. */
  readonly note: string
}

export interface StoredTree {
  readonly treeId: bigint
  /** Index over all shards of this tree's first leaf. */
  readonly base: number
  readonly hostname: string
  /** SubjectPublicKeyInfo (DER) of the log key. */
  readonly publicKey: Uint8Array
  readonly head: Head
  /** As CompactRange.serialise writes it, from the stored tiles. */
  readonly compactRange: Uint8Array
  /** The newest one that was stored. */
  readonly checkpoint: StoredCheckpoint | null
}

export interface Batch {
  /** What the head must be for the batch to be added. */
  readonly expected: Head
  /** Time of the leaves that are new, Unix seconds. */
  readonly time: number
  /** See packLeaves. */
  readonly leaves: Uint8Array
  /** Signed since the last batch. */
  readonly checkpoints: readonly StoredCheckpoint[]
}

export interface Committed {
  readonly head: Head
  /** See packPlaced; one for each leaf of the batch, in its order. */
  readonly placed: Uint8Array
}

export interface StoredEntry {
  readonly index: number
  readonly time: number
  readonly hash: Uint8Array
  readonly body: Uint8Array
  /** Audit path at the size that was asked for. */
  readonly hashes: readonly Uint8Array[]
}

export interface ConsistencyPath {
  readonly firstRoot: Uint8Array
  readonly lastRoot: Uint8Array
  readonly hashes: readonly Uint8Array[]
  /** From the last size to the head's, which authenticates `lastRoot`. */
  readonly toHead: readonly Uint8Array[]
}

/**
 * Keeps leaves, tiles and heads. Nothing it returns is trusted: the log checks entries and proofs against roots it holds itself. One
 * writer; safety rests on the compare-and-swap of the head in `commit`, not on locks.
 */
export interface LogStore {
  /** Rebuilds the edge of the tree and compares it with head and newest checkpoint. @throws AirsealError LOG_DAMAGED, DATA_DIRECTORY, STORAGE */
  load(): StoredTree
  /** Takes the log over for writing: a writer with an older epoch is refused from now on. Durable. @returns the epoch */
  claim(): number
  /**
   * Adds the leaves that are not there yet and swaps the head, in one durable transaction; a leaf that is there is a duplicate.
   * @throws AirsealError LOG_CONFLICT (the head is another), STORAGE (outcome unknown), STORAGE_FULL (nothing added), LOG_DAMAGED
   */
  commit(batch: Batch): Committed
  saveCheckpoints(checkpoints: readonly StoredCheckpoint[]): void
  /** Entry with its audit path in the tree of `size`. @throws AirsealError LOG_DAMAGED when it is missing though index < size */
  entry(index: number, size: number): StoredEntry
  /** Index of the leaf with this hash; null when there is none. */
  indexOf(leafHash: Uint8Array): number | null
  /** Leaf hashes of the entries that carry the search key with this SHA-256, oldest first. */
  search(keyHash: Uint8Array, limit: number): Uint8Array[]
  consistency(first: number, last: number, head: number): ConsistencyPath
}

/** One thing that somebody did. */
export interface AuditRow {
  /** Unix milliseconds. */
  readonly time: number
  /** Who asked: identity of the caller as authenticated. */
  readonly caller: string
  readonly action: string
  /** Name of the key that was used. */
  readonly key?: string
  /** Digest of the artefact. */
  readonly digest?: string
  readonly detail: JsonObject
}

export interface StoredAuditRow extends AuditRow {
  /** From 1, without gaps. */
  readonly seq: number
  /** SHA-256 of the row before's hash and this row's canonical JSON; 64 hex digits. */
  readonly hash: string
}

/** Small durable state of another folder. */
export interface StoredDocument {
  readonly kind: string
  readonly name: string
  /** Grows by one with each change, from 1. */
  readonly revision: number
  readonly text: string
  /** Of the last change, Unix milliseconds. */
  readonly time: number
}

export interface DocumentChange {
  readonly kind: string
  readonly name: string
  /** The revision that is replaced; null: there must be none of that name. */
  readonly expected: number | null
  readonly text: string
}

/** Life of a signing: signed (nothing left the process yet), logged (receipts are durable), pushed (done). */
export type JobState = 'signed' | 'logged' | 'pushed'

export interface Job {
  readonly id: number
  /** SHA-256 (hex) over what is signed: the same work has the same identity. */
  readonly identity: string
  readonly digest: string | null
  /** JSON text of whoever owns the job. */
  readonly document: string
  readonly state: JobState
  /** Unix milliseconds. */
  readonly created: number
  readonly updated: number
}

export interface NewJob {
  readonly identity: string
  readonly digest?: string
  readonly document: string
  readonly audit: AuditRow
}

/** The tables beside the log, written by the same writer. Every write is durable when it resolves. */
export interface RecordStore {
  audit(row: AuditRow): void
  /** Rows after `seq`, oldest first. */
  auditRows(seq: number, limit: number): StoredAuditRow[]
  /** Recomputes the chain. @throws AirsealError LOG_DAMAGED with the number of the first bad row */
  verifyAudit(): { readonly rows: number; readonly hash: string }
  jobByIdentity(identity: string): Job | null
  /** Adds the job in state `signed` and its audit row, both or neither; an existing job of that identity is returned unchanged. */
  beginJob(job: NewJob): { readonly job: Job; readonly existed: boolean }
  /** @throws AirsealError NOT_FOUND */
  updateJob(
    id: number,
    change: { readonly state: JobState; readonly document: string; readonly time: number },
  ): void
  /** Jobs that are not pushed, oldest first. */
  unfinishedJobs(limit: number): Job[]
  /** Jobs for an artefact, oldest first. */
  jobsByDigest(digest: string): Job[]
  setting(name: string): string | null
  setSetting(name: string, value: string): void
  document(kind: string, name: string): StoredDocument | null
  /** Documents of a kind after the name `after`, by name. */
  documents(kind: string, after: string, limit: number): StoredDocument[]
  /** Makes all changes and adds the audit row, or does nothing. @throws AirsealError CONFLICT when a revision is another, TOO_LARGE */
  putDocuments(changes: readonly DocumentChange[], audit: AuditRow): StoredDocument[]
}
