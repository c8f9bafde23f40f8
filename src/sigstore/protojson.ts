import { AirsealError, fromBase64, isObject } from '../core/index.ts'
import type { ErrorCode, Json, JsonObject } from '../core/index.ts'

/** What is read and with which code it is refused. */
export interface Source {
  readonly code: ErrorCode
  readonly what: string
}

/**
 * Reads protobuf JSON the way Go's protojson does where it matters: unknown members are refused, null means absent, 64-bit integers are
 * strings or numbers, bytes are base64 in either alphabet, padded or not. Unlike protojson: member names in camel case only.
 */
export function objectAt(
  source: Source,
  value: Json | undefined,
  path: string,
  allowed: readonly string[],
): JsonObject {
  if (!isObject(value)) throw bad(source, `${path} is not an object`)
  for (const name of Object.keys(value)) {
    if (!allowed.includes(name))
      throw bad(source, `${path} has an unknown member "${name.slice(0, 80)}"`)
  }
  return value
}

/** The object at `path`, or null when it is absent or null. */
export function optionalObjectAt(
  source: Source,
  value: Json | undefined,
  path: string,
  allowed: readonly string[],
): JsonObject | null {
  return value === undefined || value === null ? null : objectAt(source, value, path, allowed)
}

/** The array at `path`, at most `limit` long; absent is empty. */
export function arrayAt(
  source: Source,
  value: Json | undefined,
  path: string,
  limit: number,
): Json[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw bad(source, `${path} is not an array`)
  if (value.length > limit) throw bad(source, `${path} has more than ${limit} elements`)
  return value
}

/** The string at `path`; absent is empty, as in protobuf. */
export function stringAt(source: Source, value: Json | undefined, path: string): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw bad(source, `${path} is not a string`)
  return value
}

/** The bytes at `path`; absent is empty. */
export function bytesAt(source: Source, value: Json | undefined, path: string): Uint8Array {
  return anyBase64(source, stringAt(source, value, path), path)
}

/** Bytes of standard or URL-safe base64, padded or not; each byte string still has one spelling per alphabet and padding. */
export function anyBase64(source: Source, text: string, path: string): Uint8Array {
  if (/[+/]/.test(text) && /[-_]/.test(text))
    throw bad(source, `${path} mixes two base64 alphabets`)
  const standard = text.replaceAll('-', '+').replaceAll('_', '/')
  const padded = standard.includes('=')
    ? standard
    : standard.padEnd(Math.ceil(standard.length / 4) * 4, '=')
  return fromBase64(padded, `${path} in ${source.what}`, source.code)
}

/** The non-negative 64-bit integer at `path`, 0 when absent; beyond 2^53 - 1 it is refused. */
export function indexAt(source: Source, value: Json | undefined, path: string): number {
  if (value === undefined || value === null) return 0
  const number =
    typeof value === 'number'
      ? value
      : typeof value === 'string' && /^(?:0|[1-9][0-9]{0,15})$/.test(value)
        ? Number(value)
        : Number.NaN
  if (!Number.isSafeInteger(number) || number < 0 || Object.is(number, -0)) {
    throw bad(source, `${path} is not an integer from 0 to 2^53 - 1`)
  }
  return number
}

export function bad(source: Source, problem: string): AirsealError {
  return new AirsealError(source.code, `${source.what}: ${problem}`)
}
