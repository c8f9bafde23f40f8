import { isObject, type Json, type JsonObject } from '../../src/core/index.ts'

type Path = readonly (string | number)[]

/** A document changed in one place. */
export interface Mutant {
  /** Place, with list positions as `[]`. */
  readonly place: string
  readonly change: string
  readonly text: string
}

/** Every place of a JSON document that holds a text or number. */
function places(value: Json, path: Path = []): Path[] {
  if (Array.isArray(value)) return value.flatMap((item, at) => places(item, [...path, at]))
  if (isObject(value))
    return Object.entries(value).flatMap(([name, item]) => places(item, [...path, name]))
  return [path]
}

/** Every place that holds an object or a list. */
function holders(value: Json, path: Path = []): Path[] {
  if (Array.isArray(value))
    return [path, ...value.flatMap((item, at) => holders(item, [...path, at]))]
  if (!isObject(value)) return []
  return [path, ...Object.entries(value).flatMap(([name, item]) => holders(item, [...path, name]))]
}

/** The document with the value at `path` changed; a change to undefined leaves the member out. */
export function changed(
  text: string,
  path: Path,
  change: (value: Json) => Json | undefined,
): string {
  const top = { document: JSON.parse(text) as JsonObject }
  let holder = top as unknown as Record<string | number, Json>
  const whole: Path = ['document', ...path]
  for (const step of whole.slice(0, -1))
    holder = holder[step] as unknown as Record<string | number, Json>
  const last = whole.at(-1) ?? ''
  const value = change(holder[last] ?? null)
  if (value === undefined) Reflect.deleteProperty(holder, last)
  else holder[last] = value
  return JSON.stringify(top.document)
}

const BASE64 = /^[A-Za-z0-9+/]{8,}=*$/

function flipped(value: Json, part: number): Json {
  if (typeof value !== 'string' || !BASE64.test(value)) return `${JSON.stringify(value)}1`
  const bytes = Buffer.from(value, 'base64')
  const at = Math.floor(bytes.length * part)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes.toString('base64')
}

/** Changes of one value: a bit of the bytes in several places, nothing, another value, another spelling. */
const VALUES: readonly (readonly [string, (value: Json) => Json | undefined])[] = [
  ...[0, 0.1, 0.25, 0.4, 0.5, 0.65, 0.75, 0.9, 0.999].map(
    (part) => [`bit at ${part}`, (value: Json): Json => flipped(value, part)] as const,
  ),
  ['left out', () => undefined],
  ['null', () => null],
  ['empty', () => ''],
  ['number', () => 0],
  ['object', () => ({})],
  [
    'url-safe base64',
    (value) =>
      typeof value === 'string' && BASE64.test(value)
        ? value.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
        : value,
  ],
  [
    'larger',
    (value) => (typeof value === 'string' && /^[0-9]+$/.test(value) ? `${value}0` : value),
  ],
]

/** Changes of an object or list. */
const STRUCTURES: readonly (readonly [string, (value: Json) => Json | undefined])[] = [
  ['emptied', (value) => (Array.isArray(value) ? [] : {})],
  ['left out', () => undefined],
  ['null', () => null],
  ['in a list', (value) => [value]],
  ['more members', (value) => (isObject(value) ? { ...value, extra: 1 } : value)],
  [
    'first item twice',
    (value) => (Array.isArray(value) ? [...value.slice(0, 1), ...value] : value),
  ],
  ['first item gone', (value) => (Array.isArray(value) ? value.slice(1) : value)],
]

/** Documents that differ from `text` in one place, each in another way; of equal list items the first two are changed. */
export function mutantsOf(text: string): readonly Mutant[] {
  const document = JSON.parse(text) as Json
  const same = JSON.stringify(document)
  const found: Mutant[] = []
  const change = (paths: readonly Path[], changes: typeof VALUES): void => {
    for (const path of paths) {
      if (path.includes('hashes') && Number(path.at(-1)) > 1) continue
      if (path.length === 0) continue
      const place = path.map((step) => (typeof step === 'number' ? '[]' : step)).join('.')
      for (const [name, make] of changes) {
        const mutant = changed(text, path, make)
        if (mutant !== same) found.push({ place, change: name, text: mutant })
      }
    }
  }
  change(places(document), VALUES)
  change(holders(document), STRUCTURES)
  return found
}
