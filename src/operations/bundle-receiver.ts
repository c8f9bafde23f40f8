import {
  parseHeader,
  rawSignature,
  receiptMessage,
  receiptText,
  shortRoot,
  type SignedHeader,
} from '../../offline-bundles/index.ts'
import { AirsealError, bytesEqual, utf8, type Json, type JsonObject } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { Body } from './bundle-body.ts'
import { change, Ledger, type InRecord } from './bundle-ledger.ts'
import { carryTrust, trustReader } from './bundle-trust.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

/** Operations of the receiving side; offline-bundles/receiver.ts says what each is for. */

/** Name of this side: that of its trust bundle. */
export function ownEnclave({ trustKeeper }: Pick<SiteParts, 'trustKeeper'>): string {
  return trustKeeper.bundle().document.enclave
}

export async function know(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const request = new Body(body)
  const [source, target] = [request.text('source'), request.text('target')]
  const ledger = new Ledger(site.records)
  const peer = await ledger.peer(source)
  if (peer === null) return { peer: null }
  await carryTrust(site, caller, peer)
  const { value: head } = await ledger.in(source, target)
  const same = await ledger.inRecord(source, target, request.whole('sequence'))
  const base = request.whole('base')
  const baseRecord = base === 0 ? null : await ledger.inRecord(source, target, base)
  return {
    peer: {
      own: ownEnclave(site),
      trust: Buffer.from(peer.trust).toString(),
      state: head.last === null ? null : { last: { ...head.last }, log: { ...head.log } },
      same: same === null ? null : { header: same.header.digest, result: same.result },
      base: baseRecord?.header.digest ?? null,
      promoting:
        head.promoting === null
          ? null
          : { sequence: head.promoting.sequence, header: head.promoting.header },
    },
  }
}

/** Keeps a header that contradicts what was seen, once, and raises the alarm in the audit trail. */
export async function keepEvidence(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const request = new Body(body)
  const signed = parseHeader(utf8(request.text('header')))
  const why = request.text('why')
  const { source, target, sequence } = signed.header
  const ledger = new Ledger(site.records)
  const known = await ledger.inRecord(source, target, sequence)
  const name = `${source}/${signed.digest.slice('sha256:'.length)}`
  site.notify(`airseal: ALARM: ${why}`)
  const audit = auditRow(site, caller, 'bundle-alarm', {
    source,
    target,
    sequence,
    header: signed.digest,
    why,
  })
  if ((await site.records.document('bundle', `evidence/${name}`)) !== null) {
    await site.records.audit(audit)
    return {}
  }
  const evidence = {
    time: site.clock(),
    why,
    source,
    target,
    sequence,
    came: Buffer.from(signed.bytes).toString(),
    known: known === null ? null : Buffer.from(known.header.bytes).toString(),
  }
  await site.records.putDocuments([change.evidence(name, evidence)], audit)
  return {}
}

/** Compares what the sender saw of our log with the log itself. @throws AirsealError TRANSFER_FORK */
export async function checkWitness(site: SiteParts, body: Json): Promise<Json> {
  const request = new Body(body)
  const [size, root] = [request.whole('size'), request.text('root')]
  if (request.text('enclave') !== ownEnclave(site) || size === 0) return {}
  const head = await site.log.signedHead()
  const problem = (what: string): AirsealError =>
    new AirsealError(
      'TRANSFER_FORK',
      `the sender saw our log with ${size} entries, and ${what}: this log was rolled back or forked since our last receipt`,
    )
  if (size > head.treeSize) throw problem(`it has ${head.treeSize}`)
  const actual =
    size === head.treeSize
      ? head.rootHash
      : (await site.log.consistencyProof(size, head.treeSize)).firstRoot
  if (shortRoot(actual) !== root) throw problem('another root')
  return {}
}

/** Notes that promoting begins; the same header may begin again. @returns when it began first, Unix milliseconds */
export async function promote(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const request = new Body(body)
  const signed = parseHeader(utf8(request.text('header')))
  const { source, target, sequence } = signed.header
  const ledger = new Ledger(site.records)
  const { value: head, revision } = await ledger.in(source, target)
  if (head.promoting?.header === signed.digest) return { time: head.promoting.time }
  if (head.promoting !== null) {
    throw new AirsealError(
      'TRANSFER_UNFINISHED',
      `the import of bundle ${head.promoting.sequence} of ${source} was begun: import it again first, which finishes it`,
    )
  }
  if (sequence <= (head.last?.sequence ?? 0))
    throw new AirsealError('TRANSFER_OLD', `bundle ${sequence} of ${source} is not the next one`)
  const time = site.clock()
  const promoting = { sequence, header: signed.digest, time, registry: request.text('registry') }
  await site.records.putDocuments(
    [change.in(source, target, { ...head, promoting }, revision)],
    auditRow(site, caller, 'bundle-promote', {
      source,
      target,
      sequence,
      header: signed.digest,
      registry: promoting.registry,
    }),
  )
  return { time }
}

/** Notes the whole import: result, receipt, position in the stream, and the trust that came with it. */
export async function finish(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const request = new Body(body)
  const signed = parseHeader(utf8(request.text('header')))
  const { header } = signed
  const { source, target, sequence } = header
  const ledger = new Ledger(site.records)
  const { value: head, revision } = await ledger.in(source, target)
  if (head.promoting?.header !== signed.digest)
    throw new AirsealError(
      'CONFLICT',
      `the import of bundle ${sequence} of ${source} was not begun, or is finished`,
    )
  const peer = await ledger.peer(source)
  if (peer === null) throw new AirsealError('PEER_UNKNOWN', `${source} is not known here`)
  const trust = request.text('trust')
  const isNewer = trustReader.update(peer.trust, utf8(trust))
  const result: JsonObject = {
    source,
    target,
    sequence,
    id: header.id,
    header: signed.digest,
    kind: header.kind,
    imported: new Date(site.clock()).toISOString(),
    registry: request.text('registry'),
    images: request.members['images'] ?? [],
    bytes: request.whole('bytes'),
    trustVersion: trustReader.read(utf8(trust)).version,
    receipt: await receipt(site, signed),
  }
  const last = { sequence, header: signed.digest }
  const log = { size: header.log.size, root: header.log.root }
  await site.records.putDocuments(
    [
      change.in(source, target, { last, log, promoting: null }, revision),
      change.inRecord({ header: signed, result }),
      ...(isNewer ? [change.peer(source, trust, peer.revision)] : []),
    ],
    auditRow(site, caller, 'bundle-import', {
      source,
      target,
      sequence,
      header: signed.digest,
      kind: header.kind,
      registry: result['registry'] ?? '',
      images: Array.isArray(result['images']) ? result['images'].length : 0,
      trust: result['trustVersion'] ?? 0,
      logSize: header.log.size,
    }),
  )
  if (isNewer) await carryTrust(site, caller, { trust: utf8(trust), enclave: source })
  return result
}

/** The receipt for a bundle, under the log as it is now. */
async function receipt(site: SiteParts, { header, digest }: SignedHeader): Promise<JsonObject> {
  const [signer] = site.signers.values()
  if (signer === undefined) throw new AirsealError('KEY_UNKNOWN', 'there is no key that signs')
  const { treeSize, rootHash, checkpoint } = await site.log.signedHead()
  const { source, target, sequence } = header
  const facts = {
    enclave: ownEnclave(site),
    source,
    target,
    sequence,
    header: digest,
    size: treeSize,
    root: shortRoot(rootHash),
  }
  const made = await signer.sign(receiptMessage(facts))
  const signature =
    signer.publicKey.algorithm.kind === 'ec' ? rawSignature(made, signer.publicKey) : made
  const seen = header.witness
  const growth =
    seen !== null && seen.enclave === facts.enclave && seen.size > 0 && seen.size < treeSize
      ? await site.log.consistencyProof(seen.size, treeSize)
      : null
  return {
    format: 1,
    code: receiptText({ sequence, size: treeSize, root: facts.root, signature }),
    ...facts,
    key: signer.publicKey.id,
    checkpoint,
    consistency:
      growth === null || seen === null
        ? null
        : {
            size: seen.size,
            root: Buffer.from(growth.firstRoot).toString('hex'),
            hashes: growth.hashes.map((hash) => Buffer.from(hash).toString('hex')),
          },
  }
}

/** The receipt of the last import of a stream, made anew: it states the log of now. */
export async function lastReceipt(site: SiteParts, body: Json): Promise<Json> {
  const request = new Body(body)
  const ledger = new Ledger(site.records)
  const source = request.optional('source') ?? (await onlySource(ledger))
  const records = (await ledger.inRecords()).filter(({ header }) => header.header.source === source)
  const importedAt = ({ result }: InRecord): string => shownText(result['imported'])
  const record = records.reduce<InRecord | null>(
    (newest, one) => (newest === null || importedAt(one) >= importedAt(newest) ? one : newest),
    null,
  )
  if (record === null) throw new AirsealError('NOT_FOUND', `nothing of ${source} was imported yet`)
  return receipt(site, record.header)
}

async function onlySource(ledger: Ledger): Promise<string> {
  const sources = new Set((await ledger.inRecords()).map(({ header }) => header.header.source))
  const [only, ...others] = sources
  if (only === undefined) throw new AirsealError('NOT_FOUND', 'nothing was imported yet')
  if (others.length > 0)
    throw new AirsealError(
      'USAGE',
      `bundles came from ${[...sources].join(', ')}: say whose, with --from`,
    )
  return only
}

/** Makes another side known by its trust bundle, which somebody brought and compared; or brings newer trust of a known one. */
export async function addPeer(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const trust = new Body(body).text('trust')
  const { enclave, version, digest } = trustReader.read(utf8(trust))
  const known = await new Ledger(site.records).peer(enclave)
  if (known !== null) {
    if (bytesEqual(known.trust, utf8(trust)) || !trustReader.update(known.trust, utf8(trust)))
      return { enclave, version, known: true }
  }
  await site.records.putDocuments(
    [change.peer(enclave, trust, known?.revision ?? null)],
    auditRow(site, caller, 'bundle-peer', { enclave, version, trust: digest }),
  )
  return { enclave, version, known: known !== null }
}

function shownText(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}
