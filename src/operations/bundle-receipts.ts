import { parseReceiptCode, verifyReceipt, type ReceiptFacts } from '../../offline-bundles/index.ts'
import {
  AirsealError,
  fromHex,
  isObject,
  parseJson,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { verifyConsistency } from '../tlog/index.ts'
import { Body } from './bundle-body.ts'
import { change, Ledger, type OutHead, type Peer, type Witnessed } from './bundle-ledger.ts'
import { trustReader, verifiedCheckpoint } from './bundle-trust.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

/**
 * Takes a receipt: the bundle that it acknowledges becomes the base of the next delta, and what it says of the receiver's log is compared
 * with what was said before.
 * @throws AirsealError RECEIPT_INVALID, PEER_UNKNOWN, TRANSFER_FORK
 */
export async function takeReceipt(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const given = new Body(body).text('receipt').trim()
  const file = given.startsWith('{')
    ? parseJson(given, { code: 'RECEIPT_INVALID', what: 'the receipt' })
    : null
  const text = isObject(file) ? new Body(file).text('code') : given
  const code = parseReceiptCode(text)
  const ledger = new Ledger(site.records)
  const peers = await ledger.peers()
  if (peers.length === 0)
    throw new AirsealError(
      'PEER_UNKNOWN',
      'no other side is known here, so nobody can have signed a receipt',
    )
  const found = await match(ledger, peers, code)
  if (found === null) {
    throw new AirsealError(
      'RECEIPT_INVALID',
      `the receipt for bundle ${code.sequence} is not signed by a known side (${peers.map(({ enclave }) => enclave).join(', ')}), or is for another bundle`,
    )
  }
  const { facts, peer } = found
  const root = isObject(file) ? await fullRoot(peer, facts, file) : facts.root
  const { value: head, revision } = await ledger.out(facts.target)
  const before = head.peers[peer.enclave] ?? null
  try {
    checkLog(before, facts, root, isObject(file) ? file : null)
  } catch (error) {
    if (error instanceof AirsealError && error.code === 'TRANSFER_FORK') {
      site.notify(`airseal: ALARM: ${error.message}`)
      await site.records.audit(
        auditRow(site, caller, 'bundle-alarm', {
          enclave: peer.enclave,
          target: facts.target,
          sequence: facts.sequence,
          why: error.message,
        }),
      )
    }
    throw error
  }
  const next = withReceipt(head, peer.enclave, facts, root)
  await site.records.putDocuments(
    [change.out(facts.target, next, revision)],
    auditRow(site, caller, 'bundle-receipt', {
      enclave: peer.enclave,
      target: facts.target,
      sequence: facts.sequence,
      header: facts.header,
      logSize: facts.size,
      logRoot: root,
    }),
  )
  return {
    enclave: peer.enclave,
    target: facts.target,
    sequence: facts.sequence,
    header: facts.header,
    logSize: facts.size,
    logRoot: root,
    base: next.base === null ? null : { ...next.base },
  }
}

async function match(
  ledger: Ledger,
  peers: readonly Peer[],
  code: ReturnType<typeof parseReceiptCode>,
): Promise<{ facts: ReceiptFacts; peer: Peer } | null> {
  for (const target of await ledger.outTargets()) {
    const record = await ledger.outRecord(target, code.sequence)
    if (record === null) continue
    const { header, digest } = record.value.header
    for (const peer of peers) {
      const { sequence, size, root } = code
      const facts = {
        enclave: peer.enclave,
        source: header.source,
        target,
        sequence,
        header: digest,
        size,
        root,
      }
      const { keys } = trustReader.read(peer.trust)
      if (keys.some(({ key }) => verifyReceipt(facts, code.signature, key))) return { facts, peer }
    }
  }
  return null
}

/** A receipt as a file brings the whole checkpoint, signed by the receiver's log. */
async function fullRoot(peer: Peer, facts: ReceiptFacts, file: JsonObject): Promise<string> {
  const { size, root } = await verifiedCheckpoint(new Body(file).text('checkpoint'), peer.trust)
  const hex = Buffer.from(root).toString('hex')
  if (size !== facts.size || hex.slice(0, 24) !== facts.root)
    throw new AirsealError(
      'RECEIPT_INVALID',
      'the checkpoint in the receipt is another one than its code states',
    )
  return hex
}

function checkLog(
  before: Witnessed | null,
  { enclave, size, root: short }: ReceiptFacts,
  root: string,
  file: JsonObject | null,
): void {
  if (before === null) return
  const fork = (what: string): AirsealError =>
    new AirsealError(
      'TRANSFER_FORK',
      `the log of ${enclave} ${what}: it was rolled back, or shows two histories`,
    )
  if (size < before.size) throw fork(`has ${size} entries now, and had ${before.size} before`)
  const compared = before.root.slice(0, 24)
  if (size === before.size && compared !== short)
    throw fork(`has another root at ${size} entries than before`)
  const growth = file === null ? null : new Body(file).object('consistency')
  if (growth?.whole('size') !== before.size) return
  const first = growth.text('root')
  const isGood =
    first.startsWith(compared) &&
    verifyConsistency({
      firstSize: before.size,
      secondSize: size,
      firstRoot: fromHex(first, 'root', 'RECEIPT_INVALID'),
      secondRoot: fromHex(root, 'root', 'RECEIPT_INVALID'),
      hashes: growth.texts('hashes', 64).map((hash) => fromHex(hash, 'hash', 'RECEIPT_INVALID')),
    })
  if (!isGood)
    throw fork(`does not continue the one of ${before.size} entries that was seen before`)
}

/** An older receipt than the last one changes nothing but is no fault: it may have been on its way for long. */
function withReceipt(head: OutHead, enclave: string, facts: ReceiptFacts, root: string): OutHead {
  const before = head.peers[enclave]
  if (before !== undefined && before.sequence > facts.sequence) return head
  const peers = { ...head.peers, [enclave]: { sequence: facts.sequence, size: facts.size, root } }
  const lowest = Math.min(...Object.values(peers).map(({ sequence }) => sequence))
  const base =
    lowest === facts.sequence ? { sequence: facts.sequence, header: facts.header } : head.base
  return { ...head, peers, base }
}
