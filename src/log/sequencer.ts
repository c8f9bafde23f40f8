import { AirsealError, asAirsealError, bytesEqual, sha256, type Clock } from '../core/index.ts'
import type { CompactRange } from '../tlog/index.ts'
import { leafHash, verifyInclusion } from '../tlog/index.ts'
import { packLeaves, unpackPlaced, type HashedLeaf, type PlacedLeaf } from './batch.ts'
import type { AppendResult, NewLeaf } from './model.ts'
import type { Receipts } from './receipts.ts'
import type { Head, StoredCheckpoint } from './store.ts'
import type { WorkerClient } from './worker-client.ts'

/** Leaves in one transaction at most, and their bytes. */
const MAX_BATCH = 256
const MAX_BATCH_BYTES = 16_777_216
/** Seconds that the clock may be behind the newest entry; its time is then used again. More is LOG_CLOCK. */
const CLOCK_TOLERANCE = 5
const MAX_SEARCH_KEYS = 64
/** Milliseconds after which a checkpoint is stored without a batch. */
const SAVE_DELAY = 500

export interface SequencerOptions {
  readonly client: WorkerClient
  readonly receipts: Receipts
  readonly clock: Clock
  readonly head: Head
  readonly range: CompactRange
  /** Index over all shards of this tree's first leaf. */
  readonly base: number
  /** Leaves that may wait for their answer. */
  readonly maxWaiting: number
  readonly poison: (error: AirsealError) => void
}

interface Waiting extends HashedLeaf {
  readonly resolve: (result: AppendResult) => void
  readonly reject: (error: AirsealError) => void
}

/**
 * Turns appends into batches: whatever waits when the last commit is done goes into the next, without a timer. The next batch commits
 * while the signatures of the last are made; nothing is signed before its head is durable and its root was found in two ways.
 */
export class Sequencer {
  readonly #options: SequencerOptions
  readonly #range: CompactRange
  #head: Head
  #queue: Waiting[] = []
  #unanswered = 0
  #isCommitting = false
  #refusal: AirsealError | undefined
  #signed: StoredCheckpoint | undefined
  #unsaved: StoredCheckpoint[] = []
  #saving: NodeJS.Timeout | undefined
  readonly #drained: (() => void)[] = []

  constructor(options: SequencerOptions) {
    this.#options = options
    this.#range = options.range
    this.#head = options.head
  }

  /** The committed head. */
  get head(): Head {
    return this.#head
  }

  append(leaf: NewLeaf): Promise<AppendResult> {
    if (this.#refusal !== undefined) return Promise.reject(this.#refusal)
    if (
      leaf.body.length === 0 ||
      leaf.body.length > MAX_BATCH_BYTES ||
      leaf.searchKeys.length > MAX_SEARCH_KEYS
    ) {
      return Promise.reject(
        new AirsealError('ENTRY_INVALID', 'entry is empty, too large or has too many search keys'),
      )
    }
    if (this.#unanswered >= this.#options.maxWaiting) {
      return Promise.reject(new AirsealError('OVERLOADED', 'too many entries wait for the log'))
    }
    this.#unanswered += 1
    return new Promise<AppendResult>((resolve, reject) => {
      const { body, searchKeys } = leaf
      this.#queue.push({
        hash: leafHash(body),
        keys: searchKeys.map((key) => sha256(key)),
        body,
        resolve,
        reject,
      })
      void this.#pump()
    }).finally(() => {
      this.#unanswered -= 1
      if (this.#unanswered === 0) for (const tell of this.#drained.splice(0)) tell()
    })
  }

  /** The head signed last, when it covers the committed tree; else the committed head, signed now. */
  async signedHead(isFresh: boolean): Promise<StoredCheckpoint> {
    if (this.#refusal !== undefined && this.#refusal.code !== 'SHUTTING_DOWN') throw this.#refusal
    if (!isFresh && this.#signed?.size === this.#head.size) return this.#signed
    const checkpoint = await this.#options.receipts.checkpoint(this.#head)
    this.#remember(checkpoint)
    this.#saveSoon()
    return checkpoint
  }

  /** The newest signed head that covers `index`; signs one when there is none. Null when the tree is smaller. */
  async signedHeadOver(index: number): Promise<StoredCheckpoint | null> {
    if (index >= this.#head.size) return null
    return this.#signed !== undefined && index < this.#signed.size
      ? this.#signed
      : this.signedHead(false)
  }

  /** Refuses everything from now on, what waits included. */
  refuse(error: AirsealError): void {
    this.#refusal ??= error
    for (const { reject } of this.#queue.splice(0)) reject(this.#refusal)
  }

  /** Takes nothing more, answers what waits and stores the newest checkpoint. */
  async drain(): Promise<void> {
    this.#refusal ??= new AirsealError('SHUTTING_DOWN', 'the log is closing')
    if (this.#unanswered > 0) await new Promise<void>((resolve) => this.#drained.push(resolve))
    clearTimeout(this.#saving)
    const unsaved = this.#unsaved.splice(0)
    if (unsaved.length > 0 && this.#refusal.code === 'SHUTTING_DOWN') {
      await this.#options.client.call('saveCheckpoints', [unsaved])
    }
  }

  async #pump(): Promise<void> {
    if (this.#isCommitting) return
    this.#isCommitting = true
    // Everything of this turn of the event loop shares the batch.
    await Promise.resolve()
    while (this.#queue.length > 0) {
      const batch = this.#take()
      try {
        await this.#commit(batch)
      } catch (thrown) {
        const error = asAirsealError(thrown)
        for (const { reject } of batch) reject(error)
      }
    }
    this.#isCommitting = false
  }

  #take(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const { body } of this.#queue.slice(0, MAX_BATCH)) {
      bytes += body.length
      if (count > 0 && bytes > MAX_BATCH_BYTES) break
      count += 1
    }
    return this.#queue.splice(0, count)
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    const expected = this.#head
    const time = this.#time(expected.time)
    const leaves = packLeaves(batch)
    const checkpoints = this.#unsaved.splice(0)
    let committed
    try {
      committed = await this.#options.client.call(
        'commit',
        [{ expected, time, leaves, checkpoints }],
        [leaves.buffer],
      )
    } catch (error) {
      this.#unsaved.unshift(...checkpoints)
      throw error
    }
    const placed = unpackPlaced(committed.placed)
    this.#checkRoot(committed.head, batch, placed)
    this.#head = committed.head
    // Not awaited: the next batch commits meanwhile.
    void this.#answer(committed.head, batch, placed)
  }

  /** Never before the newest entry, and never ahead of the clock but by the tolerance. */
  #time(newest: number): number {
    const now = Math.floor(this.#options.clock() / 1000)
    if (newest - now > CLOCK_TOLERANCE) {
      throw new AirsealError('LOG_CLOCK', `the clock is ${newest - now} s behind the newest entry`)
    }
    return Math.max(now, newest)
  }

  /** The second way to the root: from leaf hashes alone, without the store's tiles. */
  #checkRoot(head: Head, batch: readonly Waiting[], placed: readonly PlacedLeaf[]): void {
    placed.forEach(({ index, duplicate }, n) => {
      if (duplicate) return
      if (index !== this.#range.size) this.#mismatch(`entry ${index} is not the next one`)
      this.#range.append((batch[n] as Waiting).hash)
    })
    const isSame = placed.length === batch.length && head.size === this.#range.size
    if (!isSame || !bytesEqual(head.root, this.#range.root()))
      this.#mismatch('the store computed another root')
  }

  #mismatch(what: string): never {
    const error = new AirsealError('LOG_DAMAGED', what)
    this.#options.poison(error)
    throw error
  }

  async #answer(
    head: Head,
    batch: readonly Waiting[],
    placed: readonly PlacedLeaf[],
  ): Promise<void> {
    // One that fails must not leave the others without a handler.
    const checkpoint = this.#checkpointFor(head)
    checkpoint.catch(() => undefined)
    await Promise.all(
      batch.map(async (leaf, n) => {
        try {
          const result = await this.#result(head, checkpoint, leaf, placed[n] as PlacedLeaf)
          if (this.#refusal !== undefined && this.#refusal.code !== 'SHUTTING_DOWN')
            throw this.#refusal
          leaf.resolve(result)
        } catch (thrown) {
          leaf.reject(asAirsealError(thrown))
        }
      }),
    )
    this.#saveSoon()
  }

  async #checkpointFor(head: Head): Promise<StoredCheckpoint> {
    if (this.#signed?.size === head.size) return this.#signed
    const checkpoint = await this.#options.receipts.checkpoint(head)
    this.#remember(checkpoint)
    return checkpoint
  }

  #remember(checkpoint: StoredCheckpoint): void {
    if (checkpoint.size < (this.#signed?.size ?? 0)) return
    const isKnown = this.#signed?.size === checkpoint.size
    this.#signed = checkpoint
    if (!isKnown) this.#unsaved.push(checkpoint)
  }

  async #result(
    head: Head,
    checkpoint: Promise<StoredCheckpoint>,
    { hash, body }: Waiting,
    { index, time, duplicate, hashes }: PlacedLeaf,
  ): Promise<AppendResult> {
    const { receipts, base } = this.#options
    const proof = { index, treeSize: head.size, rootHash: head.root, hashes }
    if (!verifyInclusion({ ...proof, leafHash: hash }))
      this.#mismatch(`the proof for entry ${index} is wrong`)
    const logIndex = base + index
    const stamped = { body, integratedTime: time, logIndex }
    const [{ note }, signedEntryTimestamp] = await Promise.all([
      checkpoint,
      receipts.timestamp(stamped),
    ])
    return {
      duplicate,
      entry: {
        ...stamped,
        entryId: receipts.entryId(hash),
        logId: receipts.logId,
        proof: { ...proof, checkpoint: note },
        signedEntryTimestamp,
      },
    }
  }

  /**
   * Checkpoints ride with the next batch; where none comes for a while they are stored by themselves. Their heads are durable before they
   * are signed, so nothing waits for this.
   */
  #saveSoon(): void {
    if (this.#saving !== undefined || this.#unsaved.length === 0) return
    this.#saving = setTimeout(() => {
      this.#saving = undefined
      if (this.#refusal !== undefined) return
      const checkpoints = this.#unsaved.splice(0)
      this.#options.client.call('saveCheckpoints', [checkpoints]).catch(() => {
        this.#unsaved.unshift(...checkpoints)
      })
    }, SAVE_DELAY)
    this.#saving.unref()
  }
}
