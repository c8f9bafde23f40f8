import {
  AirsealError,
  canonicalJson,
  fromBase64,
  fromUtf8,
  isObject,
  parseJson,
  toBase64,
  utf8,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { currentOf, type Files } from '../tuf/index.ts'

/** A key that may sign for the repository, and where it is. */
export interface KeyPlace {
  /** As the root lists it. */
  readonly id: string
  /** `file:keys/…` in the data directory, or the URI of a key elsewhere. */
  readonly uri: string
}

/** The TUF repository of a site. */
export interface TufState {
  /** `own`: signed here. `mirror`: imported, and served as it came. */
  readonly origin: 'own' | 'mirror'
  /** Latest time at which files were signed or accepted, milliseconds since 1970: the clock may not be behind it. */
  readonly time: number
  readonly keys: readonly KeyPlace[]
  readonly files: Files
}

export function encodeState({ origin, time, keys, files }: TufState): string {
  const texts: JsonObject = {}
  const binary: JsonObject = {}
  for (const [name, bytes] of files) {
    const text = textOf(bytes)
    if (text === null) binary[name] = toBase64(bytes)
    else texts[name] = text
  }
  const places = keys.map(({ id, uri }) => ({ id, uri }))
  return canonicalJson({ binary, files: texts, keys: places, origin, time })
}

/** @throws AirsealError STORAGE when the document is not one of ours */
export function decodeState(text: string): TufState {
  const what = 'the stored TUF repository'
  const json = parseJson(text, { code: 'STORAGE', what })
  if (isObject(json)) {
    const { binary, files, keys, origin, time } = json
    if (
      isObject(binary) &&
      isObject(files) &&
      Array.isArray(keys) &&
      (origin === 'own' || origin === 'mirror') &&
      typeof time === 'number'
    ) {
      const texts = Object.entries(files).map(
        ([name, value]) => [name, utf8(textAt(value, what))] as const,
      )
      const others = Object.entries(binary).map(
        ([name, value]) => [name, fromBase64(textAt(value, what), what, 'STORAGE')] as const,
      )
      return { origin, time, keys: keys.flatMap(placeOf), files: new Map([...texts, ...others]) }
    }
  }
  throw new AirsealError('STORAGE', `${what} is malformed`)
}

function textAt(value: Json, what: string): string {
  if (typeof value !== 'string') throw new AirsealError('STORAGE', `${what} is malformed`)
  return value
}

function placeOf(value: Json): KeyPlace[] {
  return isObject(value) && typeof value['id'] === 'string' && typeof value['uri'] === 'string'
    ? [{ id: value['id'], uri: value['uri'] }]
    : []
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return fromUtf8(bytes, 'a file')
  } catch {
    return null
  }
}

/** Version of the newest file of each role. */
export function versionsOf(files: Files): JsonObject {
  const versions: [string, Json][] = Object.entries(currentOf(files)).map(([role, { version }]) => [
    role,
    version,
  ])
  return Object.fromEntries(versions)
}
