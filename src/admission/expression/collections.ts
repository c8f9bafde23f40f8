import { isObject, type Json } from '../../core/index.ts'
import { anyNumber, failed, function_, type Function, kindOf, list, text } from './parameters.ts'

function numbers(values: readonly Json[]): number[] {
  return list(values, 0).map((item) => {
    if (typeof item !== 'number') throw failed('the list must hold numbers')
    return item
  })
}

function less(a: Json, b: Json): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0
  throw failed('the list must hold numbers or texts, not both')
}

function extreme(values: readonly Json[], sign: 1 | -1): Json {
  const sorted = [...list(values, 0)].sort((a, b) => sign * less(a, b))
  return sorted[0] ?? null
}

/** JMESPath's own functions (jmespath.org, specification), with Kyverno's on lists and objects. */
export const COLLECTIONS: Readonly<Record<string, Function>> = {
  abs: function_(1, (values) => Math.abs(anyNumber(values, 0))),
  ceil: function_(1, (values) => Math.ceil(anyNumber(values, 0))),
  floor: function_(1, (values) => Math.floor(anyNumber(values, 0))),
  avg: function_(1, (values) => {
    const all = numbers(values)
    return all.length === 0 ? null : all.reduce((sum, one) => sum + one, 0) / all.length
  }),
  contains: function_(2, ([where = null, what = null]) => {
    if (typeof where === 'string') return typeof what === 'string' && where.includes(what)
    if (!Array.isArray(where)) throw failed('contains() wants a list or a text')
    return where.some((item) => item === what)
  }),
  starts_with: function_(2, (values) => text(values, 0).startsWith(text(values, 1))),
  ends_with: function_(2, (values) => text(values, 0).endsWith(text(values, 1))),
  join: function_(2, (values) =>
    list(values, 1)
      .map((_, at) => text(list(values, 1), at))
      .join(text(values, 0)),
  ),
  keys: function_(1, ([value = null]) => {
    if (!isObject(value)) throw failed('keys() wants an object')
    return Object.keys(value)
  }),
  values: function_(1, ([value = null]) => {
    if (!isObject(value)) throw failed('values() wants an object')
    return Object.values(value)
  }),
  length: function_(1, ([value = null]) => {
    if (typeof value === 'string') return Array.from(value).length
    if (Array.isArray(value)) return value.length
    if (isObject(value)) return Object.keys(value).length
    throw failed('length() wants a text, a list or an object')
  }),
  map: function_(2, (values, { reference }) => list(values, 1).map(reference(0))),
  max: function_(1, (values) => extreme(values, -1)),
  min: function_(1, (values) => extreme(values, 1)),
  max_by: function_(2, (values, { reference }) => by(values, reference(1)).at(-1) ?? null),
  min_by: function_(2, (values, { reference }) => by(values, reference(1))[0] ?? null),
  sort: function_(1, (values) => [...list(values, 0)].sort(less)),
  sort_by: function_(2, (values, { reference }) => by(values, reference(1))),
  merge: function_(
    0,
    (values) =>
      Object.fromEntries(
        values.flatMap((value) => {
          if (!isObject(value)) throw failed('merge() wants objects')
          return Object.entries(value)
        }),
      ),
    64,
  ),
  not_null: function_(0, (values) => values.find((value) => value !== null) ?? null, 64),
  reverse: function_(1, ([value = null]) => {
    if (typeof value === 'string') return Array.from(value).reverse().join('')
    if (Array.isArray(value)) return [...value].reverse()
    throw failed('reverse() wants a text or a list')
  }),
  to_array: function_(1, ([value = null]) => (Array.isArray(value) ? value : [value])),
  to_string: function_(1, ([value = null]) =>
    typeof value === 'string' ? value : JSON.stringify(value),
  ),
  to_number: function_(1, ([value = null]) => {
    if (typeof value === 'number') return value
    if (typeof value !== 'string' || value.trim() === '') return null
    const number = Number(value)
    return Number.isFinite(number) ? number : null
  }),
  type: function_(1, ([value = null]) => kindOf(value)),
  lookup: function_(2, ([where = null, what = null]) => {
    if (Array.isArray(where) && typeof what === 'number') return where[what] ?? null
    if (isObject(where) && typeof what === 'string')
      return Object.hasOwn(where, what) ? (where[what] ?? null) : null
    throw failed('lookup() wants an object and a text, or a list and a number')
  }),
  items: function_(3, (values) => {
    const [where = null] = values
    const key = text(values, 1)
    const value = text(values, 2)
    if (Array.isArray(where)) return where.map((item, at) => ({ [key]: at, [value]: item }))
    if (!isObject(where)) throw failed('items() wants a list or an object')
    return Object.keys(where)
      .sort()
      .map((name) => ({ [key]: name, [value]: where[name] ?? null }))
  }),
  object_from_lists: function_(2, (values) => {
    const names = list(values, 0)
    const given = list(values, 1)
    return Object.fromEntries(names.map((_, at) => [text(names, at), given[at] ?? null]))
  }),
}

function by(values: readonly Json[], key: (item: Json) => Json): Json[] {
  return [...list(values, 0)].sort((a, b) => less(key(a), key(b)))
}
