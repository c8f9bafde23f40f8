import { parse as parseVersion } from 'semver'
import { isObject, parseJson, type Json } from '../../core/index.ts'
import { matchesWildcard } from '../policy/wildcard.ts'
import { parseDuration } from './duration.ts'
import { deepEqual } from './jmespath.ts'
import { parseQuantity } from './quantity.ts'

/** One comparison of a condition; false also where the kinds do not fit, as with Kyverno. */
export type Operator = (key: Json, value: Json) => boolean

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const RANGE = /^([-+]?\d+(?:\.\d+)?[A-Za-z]*)-([-+]?\d+(?:\.\d+)?[A-Za-z]*)$/

function asNumber(text: string): number | null {
  return NUMBER.test(text) ? Number(text) : null
}

/** Both in seconds, when at least one is written as a duration. */
function durations(key: Json, value: Json): readonly [number, number] | null {
  const of = (one: Json): number | null => (typeof one === 'string' ? parseDuration(one) : null)
  const [left, right] = [of(key), of(value)]
  if (left === null && right === null) return null
  const plain = (one: Json): number | null => (typeof one === 'number' ? Math.trunc(one) : null)
  const [a, b] = [left ?? plain(key), right ?? plain(value)]
  return a === null || b === null ? null : [a, b]
}

function equals(key: Json, value: Json): boolean {
  if (typeof key === 'string') {
    const seconds = durations(key, value)
    if (seconds !== null) return seconds[0] === seconds[1]
    const quantity = parseQuantity(key)
    if (quantity !== null && typeof value === 'string') {
      const other = parseQuantity(value)
      return other !== null && other === quantity
    }
    return typeof value === 'string' && matchesWildcard(value, key)
  }
  if (typeof key === 'number') {
    if (typeof value === 'number') return key === value
    return typeof value === 'string' && asNumber(value) === key
  }
  if (typeof key === 'boolean') return key === value
  if (Array.isArray(key)) return Array.isArray(value) && deepEqual(key, value)
  return isObject(key) && isObject(value) && deepEqual(key, value)
}

/** Not the reverse of {@link equals}: what can't be compared is "not equal" for the kinds that Kyverno knows, and false for null. */
function notEquals(key: Json, value: Json): boolean {
  return key !== null && !equals(key, value)
}

type Compare = (sign: number) => boolean

function numeric(accept: Compare): Operator {
  const decide = (a: number, b: number): boolean => accept(Math.sign(a - b))
  const withNumber = (key: number, value: Json): boolean => {
    if (typeof value === 'number') return decide(key, value)
    if (typeof value !== 'string') return false
    const seconds = durations(key, value)
    if (seconds !== null) return decide(...seconds)
    const number = asNumber(value)
    return number !== null && decide(key, number)
  }
  return (key, value) => {
    if (typeof key === 'number') return withNumber(key, value)
    if (typeof key !== 'string') return false
    const seconds = durations(key, value)
    if (seconds !== null) return decide(...seconds)
    const quantity = parseQuantity(key)
    if (quantity !== null && typeof value === 'string') {
      const other = parseQuantity(value)
      if (other !== null) return accept(quantity < other ? -1 : quantity > other ? 1 : 0)
    }
    const number = asNumber(key)
    if (number !== null) return withNumber(number, value)
    const [left, right] = [
      parseVersion(key),
      typeof value === 'string' ? parseVersion(value) : null,
    ]
    return left !== null && right !== null && accept(left.compare(right))
  }
}

/** The deprecated operators: both must be durations, or numbers of seconds. */
function duration(accept: Compare): Operator {
  return (key, value) => {
    const of = (one: Json): number | null =>
      typeof one === 'number'
        ? one
        : typeof one === 'string'
          ? (parseDuration(one) ?? asNumber(one))
          : null
    const [a, b] = [of(key), of(value)]
    return a !== null && b !== null && accept(Math.sign(a - b))
  }
}

function written(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Keys as a list of texts; null for kinds that have no place in a set. */
function keyList(key: Json): readonly string[] | null {
  if (Array.isArray(key)) return key.map(written)
  return key === null || isObject(key) ? null : [written(key)]
}

/** True when `key` is in the set; null when the set is none. */
type Membership = (key: string) => boolean

function membership(value: Json): Membership | null {
  if (Array.isArray(value)) {
    const items = value.map(written)
    return (key) => items.some((item) => matchesWildcard(item, key) || matchesWildcard(key, item))
  }
  if (typeof value === 'number' || typeof value === 'boolean') {
    const item = written(value)
    return (key) => matchesWildcard(key, item)
  }
  if (typeof value !== 'string') return null
  const range = RANGE.exec(value)
  if (range !== null) {
    const [, low = '', high = ''] = range
    return (key) =>
      numeric((sign) => sign >= 0)(key, low) && numeric((sign) => sign <= 0)(key, high)
  }
  const items = jsonTexts(value)
  if (items === null) return null
  return (key) => items.some((item) => matchesWildcard(item, key) || matchesWildcard(key, item))
}

/** A JSON array of texts, or the text itself; null for other JSON. */
function jsonTexts(value: string): readonly string[] | null {
  if (!/^\s*[[{"\d]/.test(value)) return [value]
  let parsed: Json
  try {
    parsed = parseJson(value)
  } catch {
    return [value]
  }
  return Array.isArray(parsed) && parsed.every((item) => typeof item === 'string') ? parsed : null
}

function inSet(decide: (keys: readonly string[], has: Membership) => boolean): Operator {
  return (key, value) => {
    const keys = keyList(key)
    const has = membership(value)
    return keys !== null && has !== null && decide(keys, has)
  }
}

const anyIn = inSet((keys, has) => keys.some(has))
const allIn = inSet((keys, has) => keys.every(has))
const anyNotIn = inSet((keys, has) => keys.some((key) => !has(key)))
const allNotIn = inSet((keys, has) => !keys.some(has))

const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ['equal', equals],
  ['equals', equals],
  ['notequal', notEquals],
  ['notequals', notEquals],
  ['in', allIn],
  ['notin', allNotIn],
  ['anyin', anyIn],
  ['allin', allIn],
  ['anynotin', anyNotIn],
  ['allnotin', allNotIn],
  ['greaterthan', numeric((sign) => sign > 0)],
  ['greaterthanorequals', numeric((sign) => sign >= 0)],
  ['lessthan', numeric((sign) => sign < 0)],
  ['lessthanorequals', numeric((sign) => sign <= 0)],
  ['durationgreaterthan', duration((sign) => sign > 0)],
  ['durationgreaterthanorequals', duration((sign) => sign >= 0)],
  ['durationlessthan', duration((sign) => sign < 0)],
  ['durationlessthanorequals', duration((sign) => sign <= 0)],
])

/** The operator of that name, letter case aside; null when there is none. */
export function findOperator(name: string): Operator | null {
  return OPERATORS.get(name.toLowerCase()) ?? null
}
