import { createPublicKey, hash, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { postedJson } from './http-message.ts'
import type { Sample } from './load.ts'

/** The public key of a log and the name it gives itself. */
export interface LogKey {
  readonly key: KeyObject
  /** SHA-256 of the key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
}

export function logKeyFromPem(pem: string): LogKey {
  const key = createPublicKey(pem)
  return { key, logId: hash('sha256', key.export({ format: 'der', type: 'spki' })) }
}

interface LogEntry {
  readonly body: string
  readonly integratedTime: number
  readonly logID: string
  readonly logIndex: number
  readonly verification: {
    readonly inclusionProof: {
      readonly logIndex: number
      readonly treeSize: number
      readonly rootHash: string
      readonly hashes: readonly string[]
      readonly checkpoint: string
    }
    readonly signedEntryTimestamp: string
  }
}

/**
 * Proves that every answer is an honest receipt for its request: the leaf is the entry that was sent, the proof leads to the
 * signed checkpoint, the SET is the log's, and no two share an index. Written apart from the product, which must not check itself.
 * @throws Error that names the first fault
 */
export function checkReceipts(samples: readonly Sample[], log: LogKey): void {
  const indexes = new Set<number>()
  for (const { request, body } of samples) {
    const index = checkReceipt(postedJson(request), body.toString(), log)
    if (indexes.has(index)) throw new Error(`two receipts for index ${index}`)
    indexes.add(index)
  }
}

function checkReceipt(sent: string, answered: string, log: LogKey): number {
  const members = Object.entries(JSON.parse(answered) as Record<string, LogEntry>)
  const [entryId, entry] = members[0] ?? []
  if (entryId === undefined || entry === undefined || members.length !== 1) {
    throw new Error('the answer does not hold exactly one entry')
  }
  const leaf = Buffer.from(entry.body, 'base64')
  const proof = entry.verification.inclusionProof
  const leafHash = sha256(Buffer.of(0), leaf)
  const root = rootFromPath(proof.logIndex, proof.treeSize, leafHash, proof.hashes)
  const signed = `{"body":"${entry.body}","integratedTime":${entry.integratedTime},"logID":"${entry.logID}","logIndex":${entry.logIndex}}`
  const must = (holds: boolean, fault: string): void => {
    if (!holds) throw new Error(`receipt ${entryId}: ${fault}`)
  }
  must(leaf.toString() === expectedLeaf(sent), 'the leaf is not the entry that was sent')
  must(/^[0-9a-f]{80}$/.test(entryId), 'the entry ID is not 80 hex digits')
  must(entryId.slice(16) === leafHash.toString('hex'), 'the entry ID has another leaf hash')
  must(entry.logID === log.logId, 'the log ID is not that of the key')
  must(root.toString('hex') === proof.rootHash, 'the inclusion proof leads to another root')
  must(checkpointHolds(proof.checkpoint, proof.treeSize, root, log), 'the checkpoint is bad')
  const timestamp = Buffer.from(entry.verification.signedEntryTimestamp, 'base64')
  must(verify('sha256', Buffer.from(signed), log.key, timestamp), 'the SET is bad')
  return entry.logIndex
}

/** Canonical leaf of a proposed entry as bench/entries.ts writes it. */
function expectedLeaf(sent: string): string {
  const proposal = JSON.parse(sent) as {
    kind: string
    spec: { proposedContent: { envelope: string; verifiers: [string] } }
  }
  // A hashedrekord is stored as it was proposed, and ours are canonical already.
  if (proposal.kind === 'hashedrekord') return sent
  const { envelope, verifiers } = proposal.spec.proposedContent
  const { payload, signatures } = JSON.parse(envelope) as {
    payload: string
    signatures: [{ sig: string }]
  }
  const sum = (bytes: Buffer): string =>
    `{"algorithm":"sha256","value":"${sha256(bytes).toString('hex')}"}`
  return (
    `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":${sum(Buffer.from(envelope))},` +
    `"payloadHash":${sum(Buffer.from(payload, 'base64'))},` +
    `"signatures":[{"signature":"${signatures[0].sig}","verifier":"${verifiers[0]}"}]}}`
  )
}

/** RFC 9162 §2.1.3.2, which is the audit path of RFC 6962 §2.1.1. */
function rootFromPath(
  index: number,
  treeSize: number,
  leafHash: Buffer,
  path: readonly string[],
): Buffer {
  if (index < 0 || index >= treeSize) throw new Error(`index ${index} is outside the tree`)
  let node = index
  let last = treeSize - 1
  let hashed = leafHash
  for (const hex of path) {
    const sibling = Buffer.from(hex, 'hex')
    if (last === 0) throw new Error('the inclusion proof is too long')
    if (node % 2 === 1 || node === last) {
      hashed = sha256(Buffer.of(1), sibling, hashed)
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2)
        last = Math.floor(last / 2)
      }
    } else {
      hashed = sha256(Buffer.of(1), hashed, sibling)
    }
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  if (last !== 0) throw new Error('the inclusion proof is too short')
  return hashed
}

/** A signed note over size and root, signed by the log and nobody else. */
function checkpointHolds(note: string, treeSize: number, root: Buffer, log: LogKey): boolean {
  const cut = note.indexOf('\n\n')
  const text = note.slice(0, cut + 1)
  const [, size, rootLine] = text.split('\n')
  const found = /^\u2014 \S+ ([A-Za-z0-9+/]+=*)\n$/.exec(note.slice(cut + 2))
  if (cut === -1 || found?.[1] === undefined) return false
  const signature = Buffer.from(found[1], 'base64')
  return (
    size === String(treeSize) &&
    rootLine === root.toString('base64') &&
    signature.subarray(0, 4).toString('hex') === log.logId.slice(0, 8) &&
    verify('sha256', Buffer.from(text), log.key, signature.subarray(4))
  )
}

function sha256(...parts: readonly Buffer[]): Buffer {
  return hash('sha256', Buffer.concat(parts), 'buffer')
}
