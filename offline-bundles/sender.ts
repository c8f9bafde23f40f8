import type { Digest } from '../src/core/index.ts'
import type { HeaderPoint, Kind, Volume } from './header.ts'
import type { CarriedConsistency, CarriedEntry } from './log-part.ts'

/** What the sending side knows about the stream to one target, before a bundle is made. */
export interface Preparation {
  readonly enclave: string
  readonly target: string
  /** What the receiver holds for certain; null: nothing. */
  readonly base: HeaderPoint | null
  /** Digest → repository that the base put it into; empty without base. */
  readonly held: ReadonlyMap<Digest, { readonly size: number; readonly repository: string }>
  /** The trust bundle in force. */
  readonly trust: { readonly version: number; readonly bytes: Uint8Array }
  /** Policies by name. */
  readonly policies: ReadonlyMap<string, Uint8Array>
  /** Last row of the audit trail now: what is signed later is for the next bundle. */
  readonly auditSeq: number
  /** A bundle whose number is taken but whose medium was not finished. */
  readonly unfinished: Unfinished | null
}

export interface Unfinished {
  readonly sequence: number
  readonly output: string
  /** Text of header.json. */
  readonly header: string
}

/** The log at one moment. */
export interface LogSnapshot {
  readonly size: number
  readonly root: Uint8Array
  readonly checkpoint: string
}

export interface SealRequest {
  readonly target: string
  readonly kind: Kind
  readonly contents: Digest
  readonly volumes: readonly Volume[]
  readonly snapshot: LogSnapshot
  readonly label: string | null
  readonly output: string
  /** Directory in which contents.json lies. */
  readonly directory: string
  readonly auditSeq: number
}

/** The sending side: keys, log and ledger, behind the service or in this process. */
export interface SenderSite {
  prepare(target: string | null, kind: Kind): Promise<Preparation>
  snapshot(): Promise<LogSnapshot>
  /** Entries that carry one of the search keys (`sha256:…`), each once, proved in the snapshot's tree. */
  entries(keys: readonly string[], snapshot: LogSnapshot): Promise<readonly CarriedEntry[]>
  /** From every size that the receiver may have seen. */
  consistency(target: string, snapshot: LogSnapshot): Promise<readonly CarriedConsistency[]>
  /** Takes the next number, signs the header and writes the ledger, durably. @returns text of header.json */
  seal(request: SealRequest): Promise<string>
  /** Notes that the medium is whole. */
  written(target: string, sequence: number): Promise<void>
}
