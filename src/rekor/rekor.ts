import { AirsealError, toHex } from '../core/index.ts'
import type { Json } from '../core/index.ts'
import type { TransparencyLog } from '../log/index.ts'
import { canonicaliseEntry } from './entry.ts'
import type { CanonicalEntry, LogInfo, ProofParameters, Rekor, Submission } from './model.ts'
import { integerParameter, parseEntryName, parseTreeId } from './parameters.ts'
import { requestError, SCHEMA, schemaError } from './problems.ts'
import { retrieveEntries } from './retrieve.ts'
import { searchEntries } from './search.ts'
import { VerifierCache } from './verifier.ts'

export interface RekorOptions {
  readonly log: TransparencyLog
}

/** The Rekor v1 contract over `log`. Keeps nothing but a cache of parsed keys. */
export function createRekor({ log }: RekorOptions): Rekor {
  const verifiers = new VerifierCache()

  async function submit(proposed: Json): Promise<Submission> {
    let leaf: CanonicalEntry
    try {
      leaf = await canonicaliseEntry(proposed, 'create', verifiers)
    } catch (error) {
      if (!(error instanceof AirsealError) || error.code !== 'ENTRY_INVALID') throw error
      throw new AirsealError('ENTRY_INVALID', `error processing entry: ${error.message}`, {
        cause: error,
      })
    }
    const { entry, duplicate } = await log.append(leaf)
    return { status: duplicate ? 409 : 201, entryId: entry.entryId, entry }
  }

  return {
    submit,
    canonicalEntry: (proposed) => canonicaliseEntry(proposed, 'create', verifiers),
    entryByIndex: async (logIndex) => {
      const index = integerParameter(logIndex, 'logIndex', 0)
      return Number.isSafeInteger(index) ? log.entryByIndex(index) : null
    },
    entryById: async (entryId) => {
      const { leafHash, treeId } = parseEntryName(entryId, 'entryUUID', 'path')
      return log.entryByLeafHash(leafHash, treeId ?? undefined)
    },
    retrieve: (query) => retrieveEntries(query, log, verifiers),
    searchIndex: (query) => searchEntries(query, log),
    logInfo: async (): Promise<LogInfo> => {
      const head = await log.signedHead()
      return {
        rootHash: toHex(head.rootHash),
        treeSize: head.treeSize,
        signedTreeHead: head.checkpoint,
        treeID: String(head.treeId),
        inactiveShards: [],
      }
    },
    publicKey: (treeId) => {
      if (treeId !== null && parseTreeId(treeId) !== log.treeId) throw requestError('Bad Request')
      return log.publicKeyPem
    },
    consistencyProof: (parameters) => consistencyProof(parameters, log),
  }
}

async function consistencyProof(
  parameters: ProofParameters,
  log: TransparencyLog,
): Promise<{ rootHash: string; hashes: readonly string[] }> {
  const { treeId } = parameters
  const firstSize =
    parameters.firstSize === null ? 1 : integerParameter(parameters.firstSize, 'firstSize', 1)
  const lastSize = integerParameter(parameters.lastSize, 'lastSize', 1)
  if (treeId !== null) {
    if (!/^\d+$/.test(treeId))
      throw schemaError(SCHEMA.pattern, "treeID in query should match '^[0-9]+$'")
    const id = parseTreeId(treeId)
    if (id === null) throw requestError(`invalid tree ID specified: ${treeId.slice(0, 40)}`)
    if (id !== log.treeId) throw requestError(`no log range found for tree ID ${id}`)
  }
  if (firstSize > lastSize)
    throw requestError(`firstSize(${firstSize}) must be less than lastSize(${lastSize})`)
  // The tree only grows: what fits now also fits when the proof is made.
  const { treeSize } = await log.signedHead()
  if (lastSize > treeSize) {
    throw requestError(
      `the tree size requested(${lastSize}) was greater than what is currently observable(${treeSize})`,
    )
  }
  const { rootHash, hashes } = await log.consistencyProof(firstSize, lastSize)
  return { rootHash: toHex(rootHash), hashes: hashes.map(toHex) }
}
