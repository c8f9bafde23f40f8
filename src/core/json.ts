import { AirsealError, type ErrorCode } from './errors.ts'

/** A JSON value as JSON.parse gives it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type JsonObject = Record<string, Json>

export interface JsonLimits {
  /** Deepest nesting of arrays and objects that is read. Default 64. */
  readonly maxDepth?: number
  /** Most values that are read, roughly: brackets and commas are counted. Default 1000000: half a second of work. */
  readonly maxValues?: number
  /** Code of the error that is thrown. Default JSON_INVALID. */
  readonly code?: ErrorCode
  /** What is read, for the message. */
  readonly what?: string
}

const MAX_VALUES = 1_000_000

// Found one by one, not as one expression over the whole string: that one overflows the engine's stack on strings of some megabytes.
// eslint-disable-next-line no-control-regex -- control characters end a string that is none
const STOP = /["\\\u0000-\u001f]/g
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y

/**
 * Reads one JSON text strictly: bounded depth, no member name twice in an object (also when spelt with escapes), no lone surrogates,
 * nothing after the value. `__proto__` is an ordinary member name.
 * @throws AirsealError JSON_INVALID, or the code in `limits`
 */
export function parseJson(text: string, limits: JsonLimits = {}): Json {
  const { code = 'JSON_INVALID', what = 'the document' } = limits
  checkShape(text, limits, code, what)
  try {
    return JSON.parse(text) as Json
  } catch (cause) {
    // V8 quotes the text in its message; the text may be long or secret, so only the position is passed on.
    const at = /position (\d+)/.exec((cause as Error).message)?.[1]
    throw new AirsealError(
      code,
      `${what} is not JSON${at === undefined ? '' : ` (at character ${at})`}`,
    )
  }
}

/** Walks the text without recursion: JSON.parse itself bounds neither depth nor duplicates. */
function checkShape(
  text: string,
  { maxDepth = 64, maxValues = MAX_VALUES }: JsonLimits,
  code: ErrorCode,
  what: string,
): void {
  if (!text.isWellFormed()) throw new AirsealError(code, `${what} has a lone surrogate`)
  const open: (Set<string> | null)[] = []
  let values = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x7b: // {
        open.push(new Set())
        values++
        break
      case 0x5b: // [
        open.push(null)
        values++
        break
      case 0x2c: // ,
        values++
        break
      case 0x7d: // }
      case 0x5d: // ]
        open.pop()
        break
      case 0x22: {
        const end = stringEnd(text, at)
        if (end === -1) throw new AirsealError(code, `${what} is not JSON (at character ${at})`)
        const names = open.at(-1)
        const member = names && isName(text, end + 1)
        const escaped = text.slice(at, end + 1).includes('\\')
        if (member || escaped) {
          const plain = escaped
            ? (JSON.parse(text.slice(at, end + 1)) as string)
            : text.slice(at + 1, end)
          if (escaped && !plain.isWellFormed()) {
            throw new AirsealError(code, `${what} has a lone surrogate (at character ${at})`)
          }
          if (member && names.has(plain)) {
            throw new AirsealError(code, `${what} has the member "${plain.slice(0, 80)}" twice`)
          }
          if (member) names.add(plain)
        }
        at = end
        break
      }
    }
    if (open.length > maxDepth) {
      throw new AirsealError(code, `${what} is nested deeper than ${maxDepth} levels`)
    }
    if (values > maxValues)
      throw new AirsealError(code, `${what} holds more than ${maxValues} values`)
  }
}

/** Index of the quote that ends the string begun at `start`; -1 when it is no JSON string. */
function stringEnd(text: string, start: number): number {
  STOP.lastIndex = start + 1
  while (STOP.test(text)) {
    const at = STOP.lastIndex - 1
    if (text.charCodeAt(at) === 0x22) return at
    ESCAPE.lastIndex = at
    if (!ESCAPE.test(text)) return -1
    STOP.lastIndex = ESCAPE.lastIndex
  }
  return -1
}

/** True when a colon follows: the string before was a member name. */
function isName(text: string, from: number): boolean {
  for (let at = from; at < text.length; at++) {
    const c = text.charCodeAt(at)
    if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) continue
    return c === 0x3a
  }
  return false
}

/** True for a JSON object, not an array and not null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Canonical JSON text of `value` (RFC 8785): members sorted by UTF-16 code units, no spaces, ECMAScript numbers.
 * @throws AirsealError JSON_INVALID for a number that is not finite or a string with a lone surrogate
 */
export function canonicalJson(value: Json): string {
  if (typeof value === 'string') {
    if (!value.isWellFormed())
      throw new AirsealError('JSON_INVALID', 'a string has a lone surrogate')
    return JSON.stringify(value)
  }
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new AirsealError('JSON_INVALID', 'a number is not finite')
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const members = Object.keys(value).sort()
  return `{${members.map((name) => `${canonicalJson(name)}:${canonicalJson(value[name] as Json)}`).join(',')}}`
}
