import { fromBase64, isObject } from '../core/index.ts'
import type { Json, JsonObject } from '../core/index.ts'
import { entryError } from './problems.ts'

/** Readers of attacker-controlled members inside an entry's spec. `null` is the same as absent: Go's clients send it for both. */

const SHA256_HEX = /^[0-9a-fA-F]{64}$/

/** Value of a member; undefined when absent or null. Only own members count. */
export function member(object: JsonObject, name: string): Exclude<Json, null> | undefined {
  return Object.hasOwn(object, name) ? (object[name] ?? undefined) : undefined
}

export function objectMember(object: JsonObject, name: string, path: string): JsonObject {
  const value = member(object, name)
  if (value === undefined) throw entryError(`${path}.${name} is required`)
  if (!isObject(value)) throw entryError(`${path}.${name} must be an object`)
  return value
}

export function stringMember(object: JsonObject, name: string, path: string): string {
  const value = member(object, name)
  if (value === undefined) throw entryError(`${path}.${name} is required`)
  if (typeof value !== 'string') throw entryError(`${path}.${name} must be a string`)
  return value
}

/** Between 1 and `most` items. */
export function listMember(
  object: JsonObject,
  name: string,
  path: string,
  most: number,
): readonly Json[] {
  const value = member(object, name)
  if (value === undefined) throw entryError(`${path}.${name} is required`)
  if (!Array.isArray(value)) throw entryError(`${path}.${name} must be an array`)
  if (value.length > most) throw entryError(`${path}.${name} has more than ${most} items`)
  return value
}

/** Strict base64: the text that was sent is also the text that is stored. */
export function base64Member(
  object: JsonObject,
  name: string,
  path: string,
): { text: string; bytes: Uint8Array } {
  const text = stringMember(object, name, path)
  if (text === '') throw entryError(`${path}.${name} is empty`)
  return { text, bytes: fromBase64(text, `${path}.${name}`, 'ENTRY_INVALID') }
}

/** Hash object with algorithm sha256; its 64 hex digits as sent. */
export function sha256Member(object: JsonObject, name: string, path: string): string {
  const hash = objectMember(object, name, path)
  if (stringMember(hash, 'algorithm', `${path}.${name}`) !== 'sha256') {
    throw entryError(`${path}.${name}.algorithm must be sha256`)
  }
  const value = stringMember(hash, 'value', `${path}.${name}`)
  if (!SHA256_HEX.test(value)) throw entryError(`${path}.${name}.value is not 64 hex digits`)
  return value
}

/** base64 of DSSE documents: standard or URL alphabet, padded (DSSE 1.0, protocol). */
export function dsseBase64(text: string, what: string): Uint8Array {
  const standard = /[-_]/.test(text) ? text.replaceAll('-', '+').replaceAll('_', '/') : text
  if (standard !== text && /[+/]/.test(text)) throw entryError(`${what} mixes two base64 alphabets`)
  return fromBase64(standard, what, 'ENTRY_INVALID')
}
