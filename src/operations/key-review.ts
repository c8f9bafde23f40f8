import {
  AirsealError,
  fromHex,
  parseJson,
  fromUtf8,
  isObject,
  sha256Hex,
  utf8,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { validRanges, type Mark, type RegisteredKey } from '../keyring/index.ts'
import type { LoggedEntry } from '../log/index.ts'
import { locationName } from '../sign/index.ts'
import { managed } from './key-records.ts'
import { Members } from './members.ts'
import type { Operations } from './operation.ts'
import { callerName, type SiteParts } from './site-parts.ts'

/** Entries of one key that are looked at; a key that made more is looked at in the log itself. */
const MAX_ENTRIES = 10_000_000
const MAX_PAGE = 5_000
const AUDIT_PAGE = 500
/** One answer takes about this long, so that whoever waits sees progress. Milliseconds. */
const SLICE_MS = 2_000

/** What a key signed: found by the log, and signed again by another. */
export function keyReviewOperations(site: SiteParts): Operations {
  const images = imagesByEntry(site)
  return {
    'key/signed': managed((body) => signed(site, images, body)),
    'key/resign': managed((body, caller) => resign(site, body, caller)),
  }
}

/**
 * Entries by a key from an index on, page by page, with the image that each belongs to where airseal made the signature: `image` is null for
 * what others logged with the key, whose entry names a payload only.
 */
async function signed(site: SiteParts, images: ImagesByEntry, body: Json): Promise<Json> {
  const { keyring, log } = site
  const members = new Members(body, ['key', 'from', 'after', 'limit'])
  const key = keyring.registry.get(members.requiredText('key'))
  const { index: from } = await firstIndexAt(site, members.text('from') ?? '0')
  const limit = Math.min(members.count('limit', MAX_PAGE) ?? 1_000, MAX_PAGE)
  const ids = await log.search(`sha256:${sha256Hex(utf8(key.publicKey.pem))}`, MAX_ENTRIES)
  const entryAt = async (at: number): Promise<LoggedEntry> => {
    const id = ids[at] ?? ''
    const entry = await log.entryByLeafHash(fromHex(id.slice(16), 'entry id', 'INTERNAL'))
    if (entry === null) throw new AirsealError('LOG_DAMAGED', `entry ${id} is not there`)
    return entry
  }
  // Oldest first, so the first one to show is found by halving.
  const first = await lowest(ids.length, async (at) => (await entryAt(at)).logIndex >= from)
  const start = Math.max(first, members.count('after', ids.length) ?? 0)
  const made = await images(key)
  const entries: JsonObject[] = []
  for (let at = start; at < Math.min(start + limit, ids.length); at += 1) {
    const entry = await entryAt(at)
    const image = made.get(entry.logIndex) ?? null
    entries.push({
      logIndex: entry.logIndex,
      entryId: entry.entryId,
      time: new Date(entry.integratedTime * 1_000).toISOString(),
      digest: image?.digest ?? null,
      place: image?.place ?? null,
      payload: payloadOf(entry.body),
    })
  }
  const end = start + entries.length
  return { key: key.name, total: ids.length - first, entries, next: end < ids.length ? end : null }
}

/** `sha256:…` of what was signed, as the entry names it. */
function payloadOf(body: Uint8Array): string | null {
  const entry = parseJson(fromUtf8(body, 'an entry', 'LOG_DAMAGED'), { code: 'LOG_DAMAGED' })
  const spec = isObject(entry) ? entry['spec'] : null
  const data = isObject(spec) ? spec['data'] : null
  const hash = isObject(data) ? data['hash'] : isObject(spec) ? spec['payloadHash'] : null
  const { algorithm, value } = isObject(hash) ? hash : {}
  return typeof algorithm === 'string' && typeof value === 'string' ? `${algorithm}:${value}` : null
}

interface SignedImage {
  readonly digest: string
  readonly place: string
}

type ImagesByEntry = (key: RegisteredKey) => Promise<ReadonlyMap<number, SignedImage>>

/** The images of a key by log index, from audit trail and jobs; kept until the log grows, for page after page. */
function imagesByEntry({ records, signing, log }: SiteParts): ImagesByEntry {
  let last: { keyId: string; size: number; found: ReadonlyMap<number, SignedImage> } | null = null
  return async ({ publicKey }) => {
    const size = log.nextIndex()
    if (last?.keyId === publicKey.id && last.size === size) return last.found
    const found = new Map<number, SignedImage>()
    let seq = 0
    for (;;) {
      const rows = await records.auditRows(seq, AUDIT_PAGE)
      for (const row of rows) {
        const job = row.key === publicKey.id ? await signing.jobOf(row) : null
        if (job?.entry)
          found.set(job.entry.logIndex, {
            digest: job.subject.digest,
            place: locationName(job.location),
          })
      }
      const end = rows.at(-1)
      if (end === undefined) break
      seq = end.seq
    }
    last = { keyId: publicKey.id, size, found }
    return found
  }
}

/**
 * Signs again with another key what older keys signed and what still counts. Driven by the audit trail: `after` is the row that the last
 * answer ended with, so it goes on where it ended, or from the start, where what is done is passed over.
 */
async function resign(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { keyring, records, signing, log } = site
  const members = new Members(body, ['from', 'to', 'after', 'countOnly'])
  const target = keyring.registry.choose(members.text('to'))
  const named = members.text('from')
  const wanted = named === null ? null : keyring.registry.get(named)
  if (wanted?.name === target.name)
    throw new AirsealError('REQUEST_INVALID', 'from and to are the same key')
  const countOnly = members.flag('countOnly')
  const answer = { added: 0, present: 0, refused: 0, found: 0 }
  const failed: JsonObject[] = []
  let after = members.count('after', Number.MAX_SAFE_INTEGER) ?? 0
  const end = Date.now() + SLICE_MS
  for (;;) {
    const rows = await records.auditRows(after, AUDIT_PAGE)
    for (const row of rows) {
      after = row.seq
      const old = row.key === undefined ? null : keyring.registry.byKeyId(row.key)
      const isOurs = wanted === null ? old?.state !== 'active' : old?.name === wanted.name
      if (old === null || !isOurs || (row.action !== 'sign' && row.action !== 'attest')) continue
      answer.found += 1
      if (countOnly) continue
      const counts = countsAt(old, log.logId)
      try {
        const done = await signing.countersign(row, target, counts, callerName(caller))
        if (done !== null) answer[done.status] += 1
      } catch (thrown) {
        if (!(thrown instanceof AirsealError)) throw thrown
        const { code, message } = thrown
        failed.push({ digest: row.digest ?? null, place: placeOf(row.detail), code, message })
      }
      if (Date.now() >= end) return { to: target.name, ...answer, failed, next: after }
    }
    if (rows.length < AUDIT_PAGE) return { to: target.name, ...answer, failed, next: null }
    if (Date.now() >= end) return { to: target.name, ...answer, failed, next: after }
  }
}

/**
 * Images that no other key vouches for in the same way: what retiring the key would leave without a signature that counts.
 * @returns `PLACE@DIGEST`, each once
 */
export async function onlySignedBy(
  { keyring, records, signing, log }: SiteParts,
  key: RegisteredKey,
): Promise<readonly string[]> {
  const own = new Map<string, string>()
  const covered = new Set<string>()
  let seq = 0
  for (;;) {
    const rows = await records.auditRows(seq, AUDIT_PAGE)
    for (const row of rows) {
      const by = row.key === undefined ? null : keyring.registry.byKeyId(row.key)
      if (by === null || (row.action !== 'sign' && row.action !== 'attest')) continue
      const { format = null, predicateType = null } = row.detail
      const place = placeOf(row.detail) ?? ''
      const what = JSON.stringify([row.action, format, predicateType, place, row.digest ?? null])
      if (by.name === key.name) own.set(what, `${place}@${row.digest ?? ''}`)
      else {
        const job = await signing.jobOf(row)
        if (job?.entry && countsAt(by, log.logId)(job.entry.logIndex)) covered.add(what)
      }
    }
    const last = rows.at(-1)
    if (last === undefined) break
    seq = last.seq
  }
  return [...new Set([...own].flatMap(([what, image]) => (covered.has(what) ? [] : [image])))]
}

function placeOf({ location }: JsonObject): string | null {
  if (!isObject(location)) return null
  const { registry, repository, directory } = location
  if (typeof directory === 'string') return `oci:${directory}`
  return typeof registry === 'string' && typeof repository === 'string'
    ? `${registry}/${repository}`
    : null
}

function countsAt(key: RegisteredKey, logId: string): (logIndex: number) => boolean {
  const ranges = validRanges(key, logId)
  return (logIndex) =>
    ranges === null ||
    ranges.some(
      ({ first, last }) =>
        logIndex >= (first ?? 0) && logIndex <= (last ?? Number.MAX_SAFE_INTEGER),
    )
}

/**
 * Reads `--from`: a log index, or a time, which stands for the first entry that was logged at it or later.
 * @throws AirsealError REQUEST_INVALID
 */
export async function firstIndexAt({ log, clock }: SiteParts, text: string): Promise<Mark> {
  const size = log.nextIndex()
  const timeAt = async (index: number): Promise<number> =>
    ((await log.entryByIndex(index))?.integratedTime ?? 0) * 1_000
  if (/^\d{1,15}$/.test(text)) {
    const index = Number(text)
    if (index > size)
      throw new AirsealError('REQUEST_INVALID', `from: the log has ${size} entries, no ${index}`)
    return { index, time: index === size ? clock() : await timeAt(index) }
  }
  const isForm = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/.test(
    text,
  )
  const time = isForm ? Date.parse(text) : NaN
  if (Number.isNaN(time)) {
    throw new AirsealError(
      'REQUEST_INVALID',
      `from: "${text.slice(0, 80)}" is neither a log index nor a time such as 2026-11-24T18:00:00Z`,
    )
  }
  // Times never fall along the log, and are whole seconds: one that began before the moment may hold entries after it.
  const index = await lowest(
    size,
    async (at) => (await timeAt(at)) >= Math.floor(time / 1_000) * 1_000,
  )
  return { index, time }
}

/** The lowest number below `size` for which the test holds; `size` when it does for none. It must go on to hold once it does. */
async function lowest(size: number, test: (at: number) => Promise<boolean>): Promise<number> {
  let [low, high] = [0, size]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (await test(middle)) high = middle
    else low = middle + 1
  }
  return low
}
