import type { Signer } from '../../keys/signer.ts'
import { AirsealError, bytesEqual, sha256, toHex, type Clock } from '../core/index.ts'
import { CompactRange, leafHash, verifyConsistency, verifyInclusion } from '../tlog/index.ts'
import { checkNote } from './check-note.ts'
import type { LoggedEntry, TransparencyLog } from './model.ts'
import { Receipts } from './receipts.ts'
import { recordsOf, type Records } from './records.ts'
import { Sequencer } from './sequencer.ts'
import type { StoredTree } from './store.ts'
import { WorkerClient } from './worker-client.ts'

export interface LogOptions {
  /** Database file, made by createDatabase. The caller holds the directory's lock. */
  readonly path: string
  /** Signs checkpoints and timestamps; its key is the one that the database was made with. */
  readonly signer: Signer
  readonly clock: Clock
  /** Called once when the writer stops for good: the process must end and not exit with 0. */
  readonly onPoisoned: (error: AirsealError) => void
  /** Leaves that may wait for their answer. Default 4096. */
  readonly maxWaiting?: number
}

/**
 * Opens the log and checks it: the stored tree must have the root of its head and contain the newest signed checkpoint.
 * @throws AirsealError DATA_DIRECTORY (missing, not ours, another key), LOG_DAMAGED, STORAGE, STORAGE_FULL
 */
export async function openLog(
  options: LogOptions,
): Promise<TransparencyLog & { readonly records: Records }> {
  const { path, signer, clock, maxWaiting = 4096 } = options
  let stop: (error: AirsealError) => void = () => undefined
  const client = new WorkerClient(path, (error) => {
    stop(error)
  })
  try {
    const stored = await client.call('load', [])
    if (!bytesEqual(stored.publicKey, signer.publicKey.spki)) {
      throw new AirsealError(
        'DATA_DIRECTORY',
        'the log was made with another key than the one that is given',
      )
    }
    const receipts = new Receipts(signer, stored.hostname, stored.treeId)
    const range = CompactRange.restore(stored.compactRange)
    if (range.size !== stored.head.size || !bytesEqual(range.root(), stored.head.root)) {
      throw new AirsealError('LOG_DAMAGED', 'the stored tree does not have the root of its head')
    }
    // The thread has compared its root with the tree.
    if (stored.checkpoint !== null)
      await checkNote(stored.checkpoint, receipts.origin, signer.publicKey)
    const epoch = await client.call('claim', [])

    const poison = once((error: AirsealError) => {
      const { code, message } = error
      sequencer.refuse(
        code === 'STORAGE'
          ? error
          : new AirsealError('STORAGE', `the log stopped: ${message}`, { cause: error }),
      )
      options.onPoisoned(error)
    })
    const sequencer = new Sequencer({
      client,
      receipts,
      clock,
      head: { ...stored.head, epoch },
      range,
      base: stored.base,
      maxWaiting,
      poison,
    })
    stop = poison
    return logOf(client, sequencer, receipts, stored, signer, recordsOf(client))
  } catch (error) {
    await client.close().catch(() => undefined)
    throw error
  }
}

function once(work: (error: AirsealError) => void): (error: AirsealError) => void {
  let isDone = false
  return (error) => {
    if (isDone) return
    isDone = true
    work(error)
  }
}

function logOf(
  client: WorkerClient,
  sequencer: Sequencer,
  receipts: Receipts,
  { treeId, base, hostname }: StoredTree,
  signer: Signer,
  records: Records,
): TransparencyLog & { readonly records: Records } {
  async function entryAt(index: number): Promise<LoggedEntry | null> {
    const signed = await sequencer.signedHeadOver(index)
    return signed === null ? null : entryUnder(index, signed)
  }

  /** Entry with a proof that was checked against a head we signed; a stored bit that changed ends in an error, never in an answer. */
  async function entryUnder(
    index: number,
    signed: { readonly size: number; readonly root: Uint8Array; readonly note: string },
  ): Promise<LoggedEntry> {
    const { time, hash, body, hashes } = await client.call('entry', [index, signed.size])
    const actual = leafHash(body)
    const proof = { index, treeSize: signed.size, rootHash: signed.root, hashes }
    if (!bytesEqual(actual, hash) || !verifyInclusion({ ...proof, leafHash: actual })) {
      throw new AirsealError('LOG_DAMAGED', `entry ${base + index} is not what was signed`)
    }
    const stamped = { body, integratedTime: time, logIndex: base + index }
    return {
      ...stamped,
      entryId: receipts.entryId(actual),
      logId: receipts.logId,
      proof: { ...proof, checkpoint: signed.note },
      signedEntryTimestamp: await receipts.timestamp(stamped),
    }
  }

  return {
    treeId,
    hostname,
    logId: receipts.logId,
    publicKeyPem: signer.publicKey.pem,
    records,
    append: (leaf) => sequencer.append(leaf),
    entryByIndex(logIndex) {
      const index = logIndex - base
      return Number.isSafeInteger(index) && index >= 0 ? entryAt(index) : Promise.resolve(null)
    },
    entryInTree(logIndex, { treeSize, rootHash, checkpoint }) {
      const index = logIndex - base
      if (!Number.isSafeInteger(index) || index < 0 || index >= treeSize)
        return Promise.resolve(null)
      return entryUnder(index, { size: treeSize, root: rootHash, note: checkpoint })
    },
    async entryByLeafHash(hash, inTree) {
      if (inTree !== undefined && inTree !== treeId) return null
      const index = await client.call('indexOf', [new Uint8Array(hash)])
      const entry = index === null ? null : await entryAt(index)
      if (entry !== null && !entry.entryId.endsWith(toHex(hash))) {
        throw new AirsealError(
          'LOG_DAMAGED',
          `entry ${entry.logIndex} has another hash than its index says`,
        )
      }
      return entry
    },
    async search(key, limit) {
      const hashes = await client.call('search', [new Uint8Array(sha256(key)), limit])
      return hashes.map((hash) => receipts.entryId(hash))
    },
    nextIndex: () => base + sequencer.head.size,
    async signedHead() {
      const { size, root, note } = await sequencer.signedHead(true)
      return { treeId, treeSize: size, rootHash: root, checkpoint: note }
    },
    async consistencyProof(firstSize, lastSize) {
      const head = sequencer.head
      const isRange = [firstSize, lastSize].every((size) => Number.isSafeInteger(size) && size >= 1)
      if (!isRange || firstSize > lastSize || lastSize > head.size) {
        throw new AirsealError(
          'REQUEST_INVALID',
          `no proof from size ${firstSize} to ${lastSize}: the tree has ${head.size} entries`,
        )
      }
      const { firstRoot, lastRoot, hashes, toHead } = await client.call('consistency', [
        firstSize,
        lastSize,
        head.size,
      ])
      const isGood =
        verifyConsistency({
          firstSize,
          secondSize: lastSize,
          firstRoot,
          secondRoot: lastRoot,
          hashes,
        }) &&
        verifyConsistency({
          firstSize: lastSize,
          secondSize: head.size,
          firstRoot: lastRoot,
          secondRoot: head.root,
          hashes: toHead,
        })
      if (!isGood) throw new AirsealError('LOG_DAMAGED', 'the stored tree contradicts its head')
      return { rootHash: head.root, firstRoot, hashes }
    },
    async close() {
      try {
        await sequencer.drain()
      } finally {
        await client.close()
      }
    },
  }
}
