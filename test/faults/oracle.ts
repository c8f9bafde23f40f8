import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'

/** Something that airseal answered, or that was done to it. */
export type Observation =
  /** What `POST /api/v1/log/entries` answered: the entry as a client gets it. */
  | { readonly kind: 'receipt'; readonly entry: Receipt }
  /** A proposal was sent; what became of it is told by a later observation, or by nobody. */
  | { readonly kind: 'proposed'; readonly proposal: string }
  | { readonly kind: 'sign-sent'; readonly image: string }
  | { readonly kind: 'signed'; readonly result: SignResult }
  | { readonly kind: 'checkpoint'; readonly note: string }
  | { readonly kind: 'error'; readonly status: number; readonly text: string }
  | { readonly kind: 'killed'; readonly at: number; readonly phase: 'starting' | 'serving' }
  | { readonly kind: 'restarted'; readonly milliseconds: number }

export interface SignResult {
  readonly image: string
  readonly digest: string
  readonly signatures: readonly {
    readonly format: 'legacy' | 'bundle'
    readonly artifact: string
    readonly status: string
    readonly logIndex: number
    readonly entryId: string
    readonly integratedTime: number
  }[]
}

/** A log entry as Rekor's API gives it. */
export interface Receipt {
  readonly entryId: string
  readonly body: string
  readonly integratedTime: number
  readonly logID: string
  readonly logIndex: number
  readonly verification: {
    readonly signedEntryTimestamp: string
    readonly inclusionProof: {
      readonly checkpoint: string
      readonly hashes: readonly string[]
      readonly logIndex: number
      readonly rootHash: string
      readonly treeSize: number
    }
  }
}

/** `{ID: entry}` as the API gives it. */
export function receiptOf(answer: unknown): Receipt {
  const [[entryId, entry] = []] = Object.entries(answer as Record<string, Omit<Receipt, 'entryId'>>)
  if (entryId === undefined || entry === undefined) throw new Error('an answer without entry')
  return { entryId, ...entry }
}

/**
 * The memory of a campaign: every observation is on disk, synced, before the next thing happens, so that it holds more than airseal's own
 * data can. A file of one JSON document a line.
 */
export class Oracle {
  readonly path: string
  readonly #file: number
  #count = 0

  constructor(path: string) {
    this.path = path
    this.#file = openSync(path, 'a', 0o600)
  }

  /** Observations so far. */
  get count(): number {
    return this.#count
  }

  record(observation: Observation): void {
    writeSync(this.#file, `${JSON.stringify(observation)}\n`)
    fsyncSync(this.#file)
    this.#count++
  }

  close(): void {
    closeSync(this.#file)
  }

  /** All observations of one kind, oldest first, read back from the disk. */
  all<K extends Observation['kind']>(kind: K): Extract<Observation, { kind: K }>[] {
    return readFileSync(this.path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Observation)
      .filter((one): one is Extract<Observation, { kind: K }> => one.kind === kind)
  }
}
