import { canonicalJson, isObject, type Json, type JsonObject } from '../core/index.ts'
import type { IndexRange } from '../verify/index.ts'
import { writeDocument } from './document.ts'
import type { SignerKey, TrustDocument, TrustRevocations } from './model.ts'
import { overlap } from './ranges.ts'

/** Canonical text of what a bundle says, apart from when and under which number it was said. */
export function contentOf(document: TrustDocument): string {
  const same = { version: 2, previous: `sha256:${'0'.repeat(64)}`, created: 0, expires: 1 }
  return Buffer.from(writeDocument({ ...document, ...same })).toString('utf8')
}

/**
 * Differences in words, one a line, for people who are asked to sign or to approve. Empty: both say the same.
 * @param from - null: there was nothing before
 */
export function differences(from: TrustDocument | null, to: TrustDocument): readonly string[] {
  const [before, after] = [from === null ? {} : linesOf(from), linesOf(to)]
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return names.flatMap((name) => {
    const [old, now] = [before[name], after[name]]
    if (old === now) return []
    if (old === undefined) return [`+ ${name}: ${now ?? ''}`]
    if (now === undefined) return [`- ${name}: ${old}`]
    return [`~ ${name}: ${old} → ${now}`]
  })
}

function linesOf(document: TrustDocument): Record<string, string> {
  const lines: Record<string, string> = {
    enclave: document.enclave,
    url: document.url,
    'update every': `${document.updateDays} days`,
    roots: `version ${document.roots.version}, ${document.roots.threshold} of ${document.roots.keys.length}`,
  }
  const short = (id: string): string => id.slice(0, 16)
  for (const { name, key } of document.roots.keys) lines[`root key ${name}`] = short(key.id)
  for (const key of document.keys)
    lines[`key ${key.name}`] =
      `${key.state} ${short(key.key.id)}${rangeWords(key)}${key.reason === null ? '' : ` (${key.reason})`}`
  for (const root of document.foreign)
    lines[`carried root ${root.name}`] =
      `${root.kind}${root.kind === 'enclave' ? ` version ${root.bundle.document.version}` : ''}, fetched ${new Date(root.fetched).toISOString().slice(0, 10)} from ${root.source}`
  const { keys, images, entries } = document.revocations
  for (const { keyId, from, reason } of keys)
    lines[`revoked key ${short(keyId)}`] =
      `from ${from === null ? 'the start' : `index ${from.index}`}: ${reason}`
  for (const { digest, repository, reason } of images)
    lines[`revoked image ${digest}`] = `${repository ?? 'anywhere'}: ${reason}`
  for (const { leafHash, reason } of entries) lines[`revoked entry ${leafHash}`] = reason
  for (const { name, scope, keys: wanted } of document.policies)
    lines[`policy ${name}`] = `${scope} needs ${wanted?.join(' or ') ?? 'any key'}`
  for (const [name, items] of Object.entries(document.trustedRoot))
    if (Array.isArray(items))
      for (const item of items) lines[`${name} ${nameOf(item)}`] = digestOf(item)
  if (document.tuf !== null) lines['TUF mirror'] = document.tuf.mirror
  return lines
}

function rangeWords({ validIn }: SignerKey): string {
  if (validIn === null) return ''
  if (validIn.length === 0) return ', nowhere'
  return `, in ${validIn.map(({ first, last }) => `${first ?? 0}–${last ?? ''}`).join(', ')}`
}

function nameOf(item: Json): string {
  if (!isObject(item)) return ''
  const name = item['baseUrl'] ?? item['uri']
  return typeof name === 'string' ? name : ''
}

function digestOf(item: Json): string {
  return canonicalJson(item)
}

/** Both revocations; where both revoke a key, the earlier place counts. */
export function mergeRevocations(a: TrustRevocations, b: TrustRevocations): TrustRevocations {
  const keys = new Map(a.keys.map((key) => [key.keyId, key]))
  for (const key of b.keys) {
    const known = keys.get(key.keyId)
    keys.set(key.keyId, known === undefined ? key : earlier(known, key))
  }
  const both = <Item>(
    left: readonly Item[],
    right: readonly Item[],
    id: (item: Item) => string,
  ): Item[] => [...new Map([...right, ...left].map((item) => [id(item), item])).values()]
  return {
    keys: [...keys.values()].sort((x, y) => compare(x.keyId, y.keyId)),
    images: both(a.images, b.images, ({ digest }) => digest).sort((x, y) =>
      compare(x.digest, y.digest),
    ),
    entries: both(a.entries, b.entries, ({ leafHash }) => leafHash).sort((x, y) =>
      compare(x.leafHash, y.leafHash),
    ),
  }
}

type RevokedKey = TrustRevocations['keys'][number]

/** In different logs nothing is earlier than everything: then the key counts nowhere. */
function earlier(a: RevokedKey, b: RevokedKey): RevokedKey {
  const [place, other] = [a.from, b.from]
  if (place === null || other?.logId !== place.logId) return { ...a, from: null }
  return place.index <= other.index ? a : b
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * What counts of `published` while `wanted` waits for its signatures: everything that it takes away is gone already, nothing that it adds is
 * there yet.
 */
export function restricted(published: TrustDocument, wanted: TrustDocument): TrustDocument {
  const foreign = new Set(wanted.foreign.map(({ name }) => name))
  return {
    ...published,
    keys: published.keys.flatMap((key) => {
      const next = wanted.keys.find((other) => other.key.id === key.key.id)
      return next === undefined ? [] : [narrowed(key, next)]
    }),
    foreign: published.foreign.filter(({ name }) => foreign.has(name)),
    revocations: mergeRevocations(published.revocations, wanted.revocations),
  }
}

function narrowed(key: SignerKey, to: SignerKey): SignerKey {
  return {
    ...key,
    state: key.state === 'compromised' ? key.state : to.state,
    validIn: both(rangesOf(key), rangesOf(to)),
    validFor: bothTimes(key.validFor, to.validFor),
    reason: to.reason ?? key.reason,
  }
}

function rangesOf({ state, validIn }: SignerKey): readonly IndexRange[] | null {
  return validIn ?? (state === 'compromised' ? [] : null)
}

function both(
  a: readonly IndexRange[] | null,
  b: readonly IndexRange[] | null,
): readonly IndexRange[] | null {
  if (a === null || b === null) return a ?? b
  return a.flatMap((left) => b.flatMap((right) => overlap(left, right)))
}

function bothTimes(a: SignerKey['validFor'], b: SignerKey['validFor']): SignerKey['validFor'] {
  if (a === null || b === null) return a ?? b
  const end = Math.min(a.end ?? Number.MAX_SAFE_INTEGER, b.end ?? Number.MAX_SAFE_INTEGER)
  const start = Math.max(a.start, b.start)
  return { start, end: end === Number.MAX_SAFE_INTEGER ? null : Math.max(end, start) }
}

/** The trusted root with this log in it, in place of what stood there for it; the others stay. */
export function withLog(trustedRoot: JsonObject, log: JsonObject): JsonObject {
  const logs = Array.isArray(trustedRoot['tlogs']) ? trustedRoot['tlogs'] : []
  const id = idOf(log)
  const others = logs.some((item) => idOf(item) === id)
  return {
    ...trustedRoot,
    tlogs: others ? logs.map((item) => (idOf(item) === id ? log : item)) : [...logs, log],
  }
}

function idOf(log: Json): string {
  return canonicalJson(isObject(log) ? (log['logId'] ?? null) : null)
}
