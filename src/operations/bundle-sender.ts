import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  ANYONE,
  CONTENTS,
  headerMessage,
  headerPayload,
  KINDS,
  LIMITS,
  parseContents,
  parseHeader,
  signedHeader,
  type Header,
  type Kind,
} from '../../offline-bundles/index.ts'
import {
  AirsealError,
  bytesEqual,
  digestOf,
  fromHex,
  isObject,
  parseDigest,
  toBase64,
  toHex,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { version } from '../version.ts'
import { Body } from './bundle-body.ts'
import { change, itemChanges, Ledger, type Item, type OutHead } from './bundle-ledger.ts'
import { ownTrustBundle, trustReader } from './bundle-trust.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

/** Operations of the sending side; offline-bundles/sender.ts says what each is for. */

export async function prepare(site: SiteParts, body: Json): Promise<Json> {
  const request = new Body(body)
  const kind = kindOf(request)
  const ledger = new Ledger(site.records)
  const target = request.optional('target') ?? (await onlyTarget(ledger))
  const { value: head } = await ledger.out(target)
  if (kind === 'delta' && head.base === null)
    throw new AirsealError(
      'TRANSFER_BASE',
      `no receipt for bundles to ${target} was taken yet: export with --kind full`,
    )
  const trust = ownTrustBundle(site)
  const own = trustReader.read(trust)
  const policies = await site.records.documents('policy')
  const held =
    kind === 'delta' && head.base !== null ? await heldAt(ledger, target, head.base.sequence) : []
  const unfinished =
    head.unfinished === null ? null : await ledger.outRecord(target, head.unfinished.sequence)
  return {
    enclave: own.enclave,
    target,
    base: kind === 'delta' && head.base !== null ? { ...head.base } : null,
    held: held.map(({ digest, size, repository }) => [digest, size, repository]),
    trust: { version: own.version, text: Buffer.from(trust).toString() },
    policies: policies.map(({ name, text }) => [policyName(name), toBase64(Buffer.from(text))]),
    unfinished:
      unfinished === null
        ? null
        : {
            sequence: unfinished.value.header.header.sequence,
            output: unfinished.value.output,
            header: unfinished.value.text,
          },
    auditSeq: await lastAuditSeq(site, head.auditSeq),
  }
}

/** Names of policies may hold more than names of files. */
function policyName(name: string): string {
  return (
    name
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, '-')
      .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
      .slice(0, 90) || 'policy'
  )
}

async function onlyTarget(ledger: Ledger): Promise<string> {
  const targets = await ledger.outTargets()
  if (targets.length > 1)
    throw new AirsealError(
      'USAGE',
      `bundles go to ${targets.join(', ')}: say for whom this one is, with --to`,
    )
  return targets[0] ?? ANYONE
}

/** What the receivers hold for certain: since a rebase nothing before it is certain. */
async function heldAt(ledger: Ledger, target: string, base: number): Promise<readonly Item[]> {
  const records = await ledger.outRecords(target)
  const first = records.reduce((from, { header: { header } }) => {
    const whole = header.kind === 'rebase' && header.sequence <= base
    return whole ? Math.max(from, header.sequence) : from
  }, 1)
  return ledger.items(target, first, base)
}

/** The newest row of the audit trail. */
async function lastAuditSeq(site: SiteParts, from: number): Promise<number> {
  let last = from
  for (;;) {
    const rows = await site.records.auditRows(last, 1_000)
    const end = rows.at(-1)?.seq
    if (end === undefined) return last
    last = end
  }
}

export async function snapshot(site: SiteParts): Promise<Json> {
  const { treeSize, rootHash, checkpoint } = await site.log.signedHead()
  return { size: treeSize, root: toHex(rootHash), checkpoint }
}

export async function entries(site: SiteParts, body: Json): Promise<Json> {
  const request = new Body(body)
  const keys = request.texts('keys', 1_000)
  const head = {
    treeId: site.log.treeId,
    treeSize: request.whole('size'),
    rootHash: fromHex(request.text('root'), 'root'),
    checkpoint: request.text('checkpoint'),
  }
  const found = new Map<number, JsonObject>()
  for (const key of keys) {
    for (const id of await site.log.search(key, 1_000)) {
      const known = await site.log.entryByLeafHash(
        fromHex(id.slice(16), 'entry id'),
        site.log.treeId,
      )
      if (known === null || found.has(known.logIndex)) continue
      const entry = await site.log.entryInTree(known.logIndex, head)
      if (entry === null) continue
      found.set(entry.logIndex, {
        index: entry.proof.index,
        logIndex: entry.logIndex,
        body: toBase64(entry.body),
        integratedTime: entry.integratedTime,
        signedEntryTimestamp: toBase64(entry.signedEntryTimestamp),
        hashes: entry.proof.hashes.map(toHex),
      })
    }
  }
  return { entries: [...found.values()] }
}

export async function consistency(site: SiteParts, body: Json): Promise<Json> {
  const request = new Body(body)
  const size = request.whole('size')
  const records = await new Ledger(site.records).outRecords(request.text('target'))
  const sizes = new Set(records.slice(-LIMITS.history).map(({ header }) => header.header.log.size))
  const proofs: JsonObject[] = []
  for (const from of [...sizes].sort((a, b) => a - b)) {
    if (from < 1 || from >= size) continue
    const { hashes } = await site.log.consistencyProof(from, size)
    proofs.push({ size: from, hashes: hashes.map(toHex) })
  }
  return { proofs }
}

/** Takes the next number and signs. The header is made here from what the ledger and the log say, not from what the caller wants. */
export async function seal(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const request = new Body(body)
  const kind = kindOf(request)
  const target = request.text('target')
  const ledger = new Ledger(site.records)
  const { value: head, revision } = await ledger.out(target)
  if (head.unfinished !== null && kind !== 'rebase')
    throw new AirsealError(
      'TRANSFER_UNFINISHED',
      `bundle ${head.unfinished.sequence} for ${target} was not finished`,
    )
  const own = trustReader.read(ownTrustBundle(site))
  const bytes = await readFile(join(request.text('directory'), CONTENTS)).catch(
    (cause: unknown) => {
      throw new AirsealError('STORAGE', `${CONTENTS} can't be read by the service`, { cause })
    },
  )
  if (digestOf(bytes) !== request.text('contents'))
    throw new AirsealError('CONFLICT', `${CONTENTS} changed while the bundle was made`)
  const contents = parseContents(bytes)
  const sequence = (head.last?.sequence ?? 0) + 1
  const draft: Omit<Header, 'id'> = {
    source: own.enclave,
    target,
    sequence,
    previous: head.last?.header ?? null,
    kind,
    base: kind === 'delta' ? head.base : null,
    created: `${new Date(site.clock()).toISOString().slice(0, 19)}Z`,
    tool: `airseal ${version()}`,
    contents: digestOf(bytes),
    log: await logPoint(site, request),
    trust: { version: own.version, digest: own.digest },
    volumes: request.objects('volumes', LIMITS.volumes).map((volume) => ({
      sums: parseDigest(volume.text('sums')),
      files: volume.whole('files'),
      bytes: volume.whole('bytes'),
    })),
    images: contents.images.length,
    history: kind === 'rebase' ? await history(ledger, target) : [],
    witness: witnessOf(head),
    label: request.optional('label'),
  }
  const [signer] = site.signers.values()
  if (signer === undefined) throw new AirsealError('KEY_UNKNOWN', 'there is no key that signs')
  const { payload } = headerPayload(draft)
  const text = signedHeader(payload, await signer.sign(headerMessage(payload)), signer.publicKey.id)
  const signed = parseHeader(Buffer.from(text))
  const point = { sequence, header: signed.digest }
  const output = request.text('output')
  const auditSeq = request.whole('auditSeq')
  const next: OutHead = { ...head, last: point, unfinished: { sequence, output }, auditSeq }
  const images = contents.images.map(({ repository, tag, from, digest }) => ({
    repository,
    tag,
    from,
    digest,
  }))
  const record = {
    header: signed,
    text,
    time: site.clock(),
    output,
    written: false,
    auditSeq,
    images,
  }
  await site.records.putDocuments(
    [
      change.out(target, next, revision),
      change.outRecord(target, record, null),
      ...itemChanges(target, sequence, [...contents.blobs, ...contents.omitted]),
    ],
    auditRow(site, caller, 'bundle-seal', {
      target,
      sequence,
      header: signed.digest,
      kind,
      images: images.length,
      trust: own.version,
      logSize: draft.log.size,
      key: signer.publicKey.id,
    }),
  )
  return { header: text }
}

/** A point of our own log that the caller may state: it must be on the way to the tree of now. */
async function logPoint(site: SiteParts, request: Body): Promise<Header['log']> {
  const size = request.whole('size')
  const root = request.text('root')
  const checkpoint = request.text('checkpoint')
  const now = await site.log.signedHead()
  const actual =
    size === now.treeSize
      ? now.rootHash
      : size > 0
        ? (await site.log.consistencyProof(size, now.treeSize)).firstRoot
        : fromHex(root, 'root')
  if (!bytesEqual(actual, fromHex(root, 'root')))
    throw new AirsealError('CONFLICT', 'the log has another root at this size')
  return { size, root, origin: checkpoint.slice(0, checkpoint.indexOf('\n')) }
}

async function history(ledger: Ledger, target: string): Promise<Header['history']> {
  const records = await ledger.outRecords(target)
  return records
    .slice(-LIMITS.history)
    .map(({ header: { header, digest } }) => ({ sequence: header.sequence, header: digest }))
    .reverse()
}

/** What the receiver said of its log; with several receivers of one stream nobody is meant. */
function witnessOf({ peers }: OutHead): Header['witness'] {
  const [only, ...others] = Object.entries(peers)
  if (only === undefined || others.length > 0) return null
  const [enclave, { size, root }] = only
  return { enclave, size, root: root.slice(0, 24) }
}

export async function written(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const request = new Body(body)
  const target = request.text('target')
  const sequence = request.whole('sequence')
  const ledger = new Ledger(site.records)
  const { value: head, revision } = await ledger.out(target)
  const record = await ledger.outRecord(target, sequence)
  if (record === null)
    throw new AirsealError('NOT_FOUND', `there is no bundle ${sequence} for ${target}`)
  if (record.value.written && head.unfinished?.sequence !== sequence) return {}
  const unfinished = head.unfinished?.sequence === sequence ? null : head.unfinished
  await site.records.putDocuments(
    [
      change.out(target, { ...head, unfinished }, revision),
      change.outRecord(target, { ...record.value, written: true }, record.revision),
    ],
    auditRow(site, caller, 'bundle-export', {
      target,
      sequence,
      header: record.value.header.digest,
      output: record.value.output,
    }),
  )
  return {}
}

/**
 * References of what this site signed or attested since the bundle that the last receipt acknowledged, and of what was exported since.
 */
export async function sinceReceipt(site: SiteParts, body: Json): Promise<Json> {
  const ledger = new Ledger(site.records)
  const target = new Body(body).optional('target') ?? (await onlyTarget(ledger))
  const { value: head } = await ledger.out(target)
  if (head.base === null)
    throw new AirsealError(
      'TRANSFER_BASE',
      `no receipt for bundles to ${target} was taken yet: name the images`,
    )
  const records = await ledger.outRecords(target)
  const base = records.find(({ header }) => header.header.sequence === head.base?.sequence)
  const images = new Map<string, JsonObject>()
  for (const record of records) {
    if (record.header.header.sequence > head.base.sequence)
      for (const image of record.images)
        images.set(`${plain(image['from'])} ${plain(image['digest'])}`, image)
  }
  const known = records.flatMap((record) => record.images)
  for (let after = base?.auditSeq ?? 0; ;) {
    const rows = await site.records.auditRows(after, 1_000)
    for (const { action, digest, detail } of rows) {
      if ((action !== 'sign' && action !== 'attest') || digest === undefined) continue
      const place = referenceOf(detail['location'])
      if (place === null) continue
      // Under the tags that it went by before.
      const before = known.filter(
        (image) => image['digest'] === digest && plain(image['from']).startsWith(place),
      )
      for (const image of before) images.set(`${plain(image['from'])} ${digest}`, image)
      if (before.length === 0)
        images.set(`${place}@${digest}`, { from: `${place}@${digest}`, digest })
    }
    const end = rows.at(-1)?.seq
    if (end === undefined) return { target, images: [...images.values()] }
    after = end
  }
}

function referenceOf(location: Json | undefined): string | null {
  if (!isObject(location)) return null
  const { kind, registry, repository, directory } = location
  if (kind === 'registry') return `${plain(registry)}/${plain(repository)}`
  return typeof directory === 'string' ? `oci:${directory}` : null
}

function kindOf(request: Body): Kind {
  const kind = KINDS.find((one) => one === request.members['kind'])
  if (kind === undefined) throw new AirsealError('USAGE', `--kind: want ${KINDS.join(', ')}`)
  return kind
}

function plain(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}
