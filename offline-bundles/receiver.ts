import type { Digest, JsonObject } from '../src/core/index.ts'
import type { Header, SignedHeader } from './header.ts'
import type { StreamState } from './order.ts'

/** What the receiving side knows when a bundle comes. */
export interface Knowledge {
  /** Name of this side. */
  readonly own: string
  /** Trust bundle of the sender that is in force here. */
  readonly trust: Uint8Array
  readonly state: StreamState | null
  /** The imported bundle with the number of the one that came; null: none. */
  readonly same: { readonly header: Digest; readonly result: JsonObject } | null
  /** Digest of the imported bundle that is the base of the one that came; null: none, or no base. */
  readonly base: Digest | null
  /** A bundle whose import was begun and must be finished first. */
  readonly promoting: { readonly sequence: number; readonly header: Digest } | null
}

/** The receiving side: ledger, log and keys, behind the service or in this process. */
export interface ReceiverSite {
  /** Null: its sender is not known here. */
  know(header: Header): Promise<Knowledge | null>
  /** Keeps what contradicts what was seen before. The alarm is in the audit trail when it returns. */
  keepEvidence(signed: SignedHeader, why: string): Promise<void>
  /** Compares what the sender saw of our log with the log. @throws AirsealError TRANSFER_FORK */
  checkWitness(witness: Header['witness']): Promise<void>
  /** Notes that promoting begins: from here on this bundle is finished before any other. @returns when it began first, Unix milliseconds */
  promote(signed: SignedHeader, registry: string): Promise<number>
  /** Signs the summary of each image, and the image itself where the rule says so. Idempotent. */
  vouch(items: readonly VouchItem[]): Promise<void>
  /** Notes the import with its result, and the trust that came with it, all at once. @returns the result with the receipt */
  finish(signed: SignedHeader, finished: Finished): Promise<JsonObject>
}

export interface VouchItem {
  /** `HOST/REPOSITORY@sha256:…` */
  readonly image: string
  /** SLSA verification summary, the predicate. */
  readonly summary: JsonObject
  readonly resign: boolean
}

export interface Finished {
  readonly registry: string
  /** Trust bundle to be in force from now on. */
  readonly trust: Uint8Array
  readonly trustVersion: number
  readonly images: readonly JsonObject[]
  readonly bytes: number
}
