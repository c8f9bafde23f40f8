import { parseHeader, type HeaderPoint, type SignedHeader } from '../../offline-bundles/index.ts'
import {
  AirsealError,
  canonicalJson,
  parseDigest,
  parseJson,
  utf8,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { DocumentChange, Records, StoredDocument } from '../log/index.ts'
import { Body } from './bundle-body.ts'

/** The transfer ledger: documents of one kind, each change with its audit row. */
const KIND = 'bundle'
/** What each bundle brought, in documents of their own: only deltas ask for it. */
const ITEMS = 'bundle-items'
const ITEMS_A_DOCUMENT = 50_000

/** Receiver of receipts, or sender of bundles, as it was made known by its trust bundle. */
export interface Peer {
  readonly enclave: string
  readonly trust: Uint8Array
  readonly revision: number
}

/** The other side's log, as it was last stated. `root`: 64 hex digits, or 24 where a typed receipt stated it. */
export interface Witnessed {
  readonly sequence: number
  readonly size: number
  readonly root: string
}

/** The stream to one target, on the sending side. */
export interface OutHead {
  readonly last: HeaderPoint | null
  /** Last bundle that every receiver acknowledged. */
  readonly base: HeaderPoint | null
  readonly unfinished: { readonly sequence: number; readonly output: string } | null
  readonly peers: Readonly<Record<string, Witnessed>>
  /** Last row of the audit trail when the newest bundle was begun. */
  readonly auditSeq: number
}

/** One bundle that was made. */
export interface OutRecord {
  readonly header: SignedHeader
  readonly text: string
  readonly time: number
  readonly output: string
  readonly written: boolean
  readonly auditSeq: number
  /** `from` of each image, with its tag and repository. */
  readonly images: readonly JsonObject[]
}

/** The stream from one source for one target, on the receiving side. */
export interface InHead {
  readonly last: HeaderPoint | null
  readonly log: { readonly size: number; readonly root: string }
  readonly promoting: (HeaderPoint & { readonly time: number; readonly registry: string }) | null
}

export interface InRecord {
  readonly header: SignedHeader
  readonly result: JsonObject
}

export interface Item {
  readonly digest: Digest
  readonly size: number
  readonly repository: string
}

/** A document with the revision that a change of it names. */
export interface Held<T> {
  readonly value: T
  readonly revision: number | null
}

export class Ledger {
  readonly #records: Records

  constructor(records: Records) {
    this.#records = records
  }

  async peer(enclave: string): Promise<Peer | null> {
    const stored = await this.#records.document(KIND, `peer/${enclave}`)
    return stored === null
      ? null
      : {
          enclave,
          trust: utf8(new Body(parseJson(stored.text)).text('trust')),
          revision: stored.revision,
        }
  }

  async peers(): Promise<readonly Peer[]> {
    const found = await this.#below('peer/')
    return found.map(({ name, text, revision }) => ({
      enclave: name.slice('peer/'.length),
      trust: utf8(new Body(parseJson(text)).text('trust')),
      revision,
    }))
  }

  async out(target: string): Promise<Held<OutHead>> {
    const stored = await this.#records.document(KIND, `out/${target}/head`)
    const empty = { last: null, base: null, unfinished: null, peers: {}, auditSeq: 0 }
    return stored === null
      ? { value: empty, revision: null }
      : { value: parseJson(stored.text) as unknown as OutHead, revision: stored.revision }
  }

  async outTargets(): Promise<readonly string[]> {
    const found = await this.#below('out/')
    return found.flatMap(({ name }) =>
      name.endsWith('/head') ? [name.slice('out/'.length, -'/head'.length)] : [],
    )
  }

  async outRecord(target: string, sequence: number): Promise<Held<OutRecord> | null> {
    const stored = await this.#records.document(KIND, `out/${target}/${number(sequence)}`)
    return stored === null ? null : { value: outRecord(stored), revision: stored.revision }
  }

  /** Every bundle that was made for a target, oldest first. */
  async outRecords(target: string): Promise<readonly OutRecord[]> {
    return (await this.#below(`out/${target}/`)).filter(isRecord).map(outRecord)
  }

  async in(source: string, target: string): Promise<Held<InHead>> {
    const stored = await this.#records.document(KIND, `in/${source}/${target}/head`)
    const empty = { last: null, log: { size: 0, root: '' }, promoting: null }
    return stored === null
      ? { value: empty, revision: null }
      : { value: parseJson(stored.text) as unknown as InHead, revision: stored.revision }
  }

  async inRecord(source: string, target: string, sequence: number): Promise<InRecord | null> {
    const stored = await this.#records.document(KIND, `in/${source}/${target}/${number(sequence)}`)
    return stored === null ? null : inRecord(stored)
  }

  /** Every bundle that was imported, by source, target and number. */
  async inRecords(): Promise<readonly InRecord[]> {
    return (await this.#below('in/')).filter(isRecord).map(inRecord)
  }

  async evidence(): Promise<readonly JsonObject[]> {
    return (await this.#below('evidence/')).map(({ text }) => new Body(parseJson(text)).members)
  }

  /** What bundles `first` to `last` brought. */
  async items(target: string, first: number, last: number): Promise<Item[]> {
    const items: Item[] = []
    for (let sequence = first; sequence <= last; sequence++) {
      for (const { text } of await this.#below(`${target}/${number(sequence)}/`, ITEMS)) {
        for (const [repository, lines] of Object.entries(
          parseJson(text) as Record<string, string[]>,
        )) {
          for (const line of lines) {
            const [digest = '', size = ''] = line.split(' ')
            items.push({ digest: parseDigest(`sha256:${digest}`), size: Number(size), repository })
          }
        }
      }
    }
    return items
  }

  async #below(prefix: string, kind = KIND): Promise<readonly StoredDocument[]> {
    const found: StoredDocument[] = []
    for (let after = prefix; ;) {
      const page = await this.#records.documents(kind, { after, limit: 200 })
      const inside = page.filter(({ name }) => name.startsWith(prefix))
      found.push(...inside)
      if (inside.length < page.length || page.length === 0) return found
      after = page.at(-1)?.name ?? after
    }
  }
}

export const change = {
  peer: (enclave: string, trust: string, expected: number | null): DocumentChange =>
    document(`peer/${enclave}`, { trust }, expected),
  out: (target: string, head: OutHead, expected: number | null): DocumentChange =>
    document(`out/${target}/head`, head, expected),
  outRecord: (target: string, record: OutRecord, expected: number | null): DocumentChange => {
    const { text, time, output, written, auditSeq, images } = record
    const value = { text, time, output, written, auditSeq, images }
    return document(`out/${target}/${number(record.header.header.sequence)}`, value, expected)
  },
  in: (source: string, target: string, head: InHead, expected: number | null): DocumentChange =>
    document(`in/${source}/${target}/head`, head, expected),
  inRecord: ({ header: signed, result }: InRecord): DocumentChange => {
    const { source, target, sequence } = signed.header
    const value = { text: Buffer.from(signed.bytes).toString(), result }
    return document(`in/${source}/${target}/${number(sequence)}`, value, null)
  },
  evidence: (name: string, value: JsonObject): DocumentChange =>
    document(`evidence/${name}`, value, null),
}

/** Documents with what a bundle brings. */
export function itemChanges(
  target: string,
  sequence: number,
  items: readonly Item[],
): DocumentChange[] {
  const changes: DocumentChange[] = []
  for (let at = 0; at < items.length; at += ITEMS_A_DOCUMENT) {
    const byRepository: Record<string, string[]> = {}
    for (const { digest, size, repository } of items.slice(at, at + ITEMS_A_DOCUMENT))
      (byRepository[repository] ??= []).push(`${digest.slice('sha256:'.length)} ${size}`)
    const name = `${target}/${number(sequence)}/${number(at / ITEMS_A_DOCUMENT)}`
    changes.push({ kind: ITEMS, name, expected: null, text: canonicalJson(byRepository) })
  }
  return changes
}

function document(name: string, value: object, expected: number | null): DocumentChange {
  return { kind: KIND, name, expected, text: canonicalJson(value as Json) }
}

function outRecord({ text }: StoredDocument): OutRecord {
  const body = new Body(parseJson(text))
  const header = body.text('text')
  return {
    header: parseHeader(utf8(header)),
    text: header,
    time: body.whole('time'),
    output: body.text('output'),
    written: body.members['written'] === true,
    auditSeq: body.whole('auditSeq'),
    images: body.objects('images', 100_000).map(({ members }) => members),
  }
}

function inRecord({ text }: StoredDocument): InRecord {
  const body = new Body(parseJson(text))
  const result = body.object('result')
  if (result === null)
    throw new AirsealError('STORAGE', 'the ledger holds an import without result')
  return { header: parseHeader(utf8(body.text('text'))), result: result.members }
}

function isRecord({ name }: StoredDocument): boolean {
  return /\/[0-9]{8}$/.test(name)
}

function number(sequence: number): string {
  return String(sequence).padStart(8, '0')
}
