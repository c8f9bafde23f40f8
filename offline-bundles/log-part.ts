import {
  AirsealError,
  bytesEqual,
  fromBase64,
  fromHex,
  fromUtf8,
  toBase64,
  toHex,
  utf8,
  verifyMessage,
  type JsonObject,
} from '../src/core/index.ts'
import {
  leafHash,
  parseCheckpoint,
  parseSignedNote,
  verifyConsistency,
  verifyInclusion,
} from '../src/tlog/index.ts'
import type { TrustedLog } from '../src/verify/index.ts'
import type { LogPoint } from './header.ts'
import { LIMITS } from './limits.ts'
import { Reader } from './reading.ts'

/** A log entry with what proves it in the tree of the bundle's checkpoint. */
export interface CarriedEntry {
  readonly index: number
  /** Over all shards, as clients see it. */
  readonly logIndex: number
  readonly body: Uint8Array
  /** Unix seconds. */
  readonly integratedTime: number
  readonly signedEntryTimestamp: Uint8Array
  readonly hashes: readonly Uint8Array[]
}

/** Proof that a tree of an earlier size is a prefix of the checkpoint's. */
export interface CarriedConsistency {
  readonly size: number
  readonly hashes: readonly Uint8Array[]
}

/** Entries in one file. */
export const ENTRIES_A_FILE = 1_000

export function consistencyBytes(proofs: readonly CarriedConsistency[]): Uint8Array {
  return json({
    format: 1,
    proofs: proofs.map(({ size, hashes: path }) => ({ size, hashes: path.map(toHex) })),
  })
}

export function entriesBytes(entries: readonly CarriedEntry[]): Uint8Array {
  return json({
    format: 1,
    entries: entries.map((entry) => ({
      index: entry.index,
      logIndex: entry.logIndex,
      body: toBase64(entry.body),
      integratedTime: entry.integratedTime,
      signedEntryTimestamp: toBase64(entry.signedEntryTimestamp),
      hashes: entry.hashes.map(toHex),
    })),
  })
}

function json(value: JsonObject): Uint8Array {
  return utf8(`${JSON.stringify(value)}\n`)
}

export function parseConsistency(bytes: Uint8Array): readonly CarriedConsistency[] {
  const reader = Reader.parse(bytes, 'log/consistency.json').only('format', 'proofs')
  return reader.objects('proofs', LIMITS.history + 1).map((item) => ({
    size: item.only('size', 'hashes').whole('size'),
    hashes: hashes(item),
  }))
}

export function parseEntries(bytes: Uint8Array, name: string): readonly CarriedEntry[] {
  const reader = Reader.parse(bytes, name).only('format', 'entries')
  return reader.objects('entries', ENTRIES_A_FILE).map((item) => {
    item.only('index', 'logIndex', 'body', 'integratedTime', 'signedEntryTimestamp', 'hashes')
    const bytesOf = (member: string): Uint8Array =>
      fromBase64(
        item.text(member, undefined, LIMITS.document),
        `${name}: ${member}`,
        'MEDIUM_INVALID',
      )
    return {
      index: item.whole('index'),
      logIndex: item.whole('logIndex'),
      body: bytesOf('body'),
      integratedTime: item.whole('integratedTime'),
      signedEntryTimestamp: bytesOf('signedEntryTimestamp'),
      hashes: hashes(item),
    }
  })
}

function hashes(item: Reader): Uint8Array[] {
  return item.list('hashes', 64).map((text) => hash(typeof text === 'string' ? text : '', item))
}

function hash(text: string, item: Reader): Uint8Array {
  const bytes = fromHex(text, 'a hash', 'MEDIUM_INVALID')
  if (bytes.length !== 32) throw item.fail('has a hash that is not 32 bytes')
  return bytes
}

/** A checkpoint whose signature was checked. */
export interface VerifiedCheckpoint {
  readonly origin: string
  readonly size: number
  readonly root: Uint8Array
  readonly logId: string
}

/**
 * Checks a signed checkpoint: origin and signature line name a trusted log, and its key made the signature.
 * @throws AirsealError TRANSFER_UNTRUSTED, CHECKPOINT_INVALID
 */
export async function verifyCheckpoint(
  bytes: Uint8Array,
  logs: readonly TrustedLog[],
): Promise<VerifiedCheckpoint> {
  const note = parseSignedNote(fromUtf8(bytes, 'log/checkpoint', 'CHECKPOINT_INVALID'))
  const { origin, size, rootHash } = parseCheckpoint(note.body)
  const name = origin.replace(/ - [0-9]{1,19}$/, '')
  for (const log of logs) {
    if (name !== log.host && name !== log.hostAndPort) continue
    const hint = fromHex(log.logId.slice(0, 8), 'log id')
    for (const line of note.signatures.slice(0, 16)) {
      if (line.name !== name || !bytesEqual(line.keyHint, hint)) continue
      const hashName = log.key.algorithm.hash ?? 'sha256'
      if (await verifyMessage(log.key, hashName, utf8(note.body), line.signature))
        return { origin, size, root: rootHash, logId: log.logId }
    }
  }
  throw new AirsealError(
    'TRANSFER_UNTRUSTED',
    'log/checkpoint is not signed by a log of the trust file',
  )
}

/** Checks that the earlier tree is a prefix of the checkpoint's. @throws AirsealError TRANSFER_FORK, MEDIUM_INVALID */
export function checkGrowth(
  from: LogPoint,
  to: VerifiedCheckpoint,
  proofs: readonly CarriedConsistency[],
): void {
  const root = fromHex(from.root, 'root')
  if (from.size === 0) return
  if (to.size < from.size)
    throw fork(`has ${to.size} entries now, and had ${from.size} at the last import`)
  if (to.size === from.size) {
    if (bytesEqual(root, to.root)) return
    throw fork(`has another root at ${to.size} entries than at the last import`)
  }
  const proof = proofs.find(({ size }) => size === from.size)
  if (proof === undefined) {
    throw new AirsealError(
      'MEDIUM_INVALID',
      `log/consistency.json has no proof from ${from.size} entries, which the last import had`,
    )
  }
  const isGood = verifyConsistency({
    firstSize: from.size,
    secondSize: to.size,
    firstRoot: root,
    secondRoot: to.root,
    hashes: proof.hashes,
  })
  if (!isGood)
    throw fork(`does not continue the one of ${from.size} entries that was seen at the last import`)
}

/** Checks every entry against the checkpoint. @throws AirsealError MEDIUM_INVALID */
export function checkEntries(
  entries: readonly CarriedEntry[],
  { size, root }: VerifiedCheckpoint,
): void {
  for (const { index, body, hashes: path } of entries) {
    const claim = { index, treeSize: size, leafHash: leafHash(body), hashes: path, rootHash: root }
    if (!verifyInclusion(claim)) {
      throw new AirsealError(
        'MEDIUM_INVALID',
        `log entry ${index} of the bundle is not in the tree of its checkpoint`,
      )
    }
  }
}

function fork(problem: string): AirsealError {
  return new AirsealError(
    'TRANSFER_FORK',
    `the sender's log ${problem}: somebody shows two histories`,
  )
}
