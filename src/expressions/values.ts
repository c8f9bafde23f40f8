import {
  celMap,
  isCelError,
  isCelList,
  isCelMap,
  isCelType,
  isCelUint,
  type CelInput,
  type CelMap,
} from '@bufbuild/cel'
import { isReflectMessage } from '@bufbuild/protobuf/reflect'
import {
  type Duration,
  DurationSchema,
  type Timestamp,
  timestampDate,
  timestampFromDate,
  TimestampSchema,
} from '@bufbuild/protobuf/wkt'
import { AirsealError, toBase64, type Json } from '../core/index.ts'

/** What an expression is given: JSON, and dates, which become CEL timestamps. Whole numbers become int, others double, as in Kubernetes. */
export type ExpressionInput =
  | null
  | boolean
  | number
  | string
  | Date
  | readonly ExpressionInput[]
  | { readonly [name: string]: ExpressionInput }

/** A function that expressions can call beside those of CEL. */
export interface ExpressionFunction {
  /** `name(a, b)`, or with `method` `target.name(b)`. May hold dots. */
  readonly name: string
  /** Arguments in brackets, so without the target of a method. */
  readonly parameters: number
  /** True: the target comes first among the arguments of `run`. */
  readonly method?: boolean
  /** Synchronous and pure. What it throws is thrown by the evaluation, unless `||` or `&&` make up for it. */
  readonly run: (...args: Json[]) => ExpressionInput
}

/** The value as CEL takes it. Objects become maps, so that no member name has a meaning of its own. */
export function toCel(value: ExpressionInput): CelInput {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (value instanceof Date) return timestampFromDate(value)
  if (isList(value)) return value.map(toCel)
  if (typeof value === 'object' && value !== null) {
    return celMap(new Map(Object.entries(value).map(([name, item]) => [name, toCel(item)])))
  }
  return value
}

function isList(value: ExpressionInput): value is readonly ExpressionInput[] {
  return Array.isArray(value)
}

/**
 * The value as JSON: bytes in base64, timestamps in RFC 3339, durations in seconds with `s` behind, whole numbers as numbers.
 * @throws AirsealError EXPRESSION_FAILED for what JSON can't say: errors, types, other messages, integers beyond 2^53, maps with keys that are no strings
 */
export function fromCel(value: unknown): Json {
  switch (typeof value) {
    case 'boolean':
    case 'string':
      return value
    case 'number':
      if (!Number.isFinite(value)) throw failed('gives a number that is not finite')
      return value
    case 'bigint':
      return whole(value)
    case 'object':
      return value === null ? null : fromObject(value)
    default:
      throw failed('gives a value that is no JSON')
  }
}

function fromObject(value: object): Json {
  if (value instanceof Uint8Array) return toBase64(value)
  if (isCelUint(value)) return whole(value.value)
  if (isCelList(value)) return [...value].map(fromCel)
  if (isCelMap(value)) return fromMap(value)
  if (isCelError(value) || isCelType(value)) throw failed('gives a type or an error, not a value')
  if (isReflectMessage(value, TimestampSchema)) {
    return timestampDate(value.message as Timestamp).toISOString()
  }
  if (isReflectMessage(value, DurationSchema)) {
    const { seconds, nanos } = value.message as Duration
    return `${Number(seconds) + nanos / 1e9}s`
  }
  throw failed('gives a message that is no JSON')
}

function fromMap(value: CelMap): Json {
  return Object.fromEntries(
    [...value].map(([name, item]) => {
      if (typeof name !== 'string') throw failed('gives a map with keys that are no text')
      return [name, fromCel(item)]
    }),
  )
}

function whole(value: bigint): number {
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw failed('gives an integer beyond 2^53')
  return number
}

function failed(problem: string): AirsealError {
  return new AirsealError('EXPRESSION_FAILED', `the expression ${problem}`)
}
