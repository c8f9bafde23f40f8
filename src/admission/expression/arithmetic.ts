import type { Json } from '../../core/index.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { anyNumber, failed, function_, type Function, list } from './parameters.ts'
import { parseQuantity } from './quantity.ts'

type Kind = 'number' | 'duration' | 'quantity'
interface Amount {
  readonly kind: Kind
  /** Number, seconds, or units. */
  readonly value: number
}

const NANO = 1e9

function amount(value: Json): Amount {
  if (typeof value === 'number') return { kind: 'number', value }
  if (typeof value !== 'string') throw failed('arithmetic wants numbers, durations or quantities')
  const seconds = parseDuration(value)
  if (seconds !== null) return { kind: 'duration', value: seconds }
  const nano = parseQuantity(value)
  if (nano !== null) return { kind: 'quantity', value: Number(nano) / NANO }
  throw failed(`"${value.slice(0, 40)}" is no number, duration or quantity`)
}

function shown({ kind, value }: Amount): Json {
  if (kind === 'number') return value
  if (kind === 'duration') return formatDuration(value)
  return Number.isInteger(value) ? String(value) : `${Math.ceil(value * 1000)}m`
}

function same(name: string, work: (a: number, b: number) => number): Function {
  return function_(2, ([a = null, b = null]) => {
    const [left, right] = [amount(a), amount(b)]
    if (left.kind !== right.kind) throw failed(`${name}() wants two of one kind`)
    return shown({ kind: left.kind, value: work(left.value, right.value) })
  })
}

function divide(a: number, b: number): number {
  if (b === 0) throw failed('division by zero')
  return a / b
}

/** Kyverno's arithmetic, which knows durations and quantities. */
export const ARITHMETIC: Readonly<Record<string, Function>> = {
  add: same('add', (a, b) => a + b),
  subtract: same('subtract', (a, b) => a - b),
  modulo: same('modulo', (a, b) => {
    divide(a, b)
    return a % b
  }),
  sum: function_(1, (values) => {
    const [first, ...rest] = list(values, 0).map(amount)
    if (first === undefined) throw failed('sum() wants a list that is not empty')
    if (rest.some(({ kind }) => kind !== first.kind)) throw failed('sum() wants items of one kind')
    return shown({
      kind: first.kind,
      value: rest.reduce((total, { value }) => total + value, first.value),
    })
  }),
  multiply: function_(2, ([a = null, b = null]) => {
    const [left, right] = [amount(a), amount(b)]
    if (left.kind !== 'number' && right.kind !== 'number')
      throw failed('multiply() wants at least one number')
    return shown({
      kind: left.kind === 'number' ? right.kind : left.kind,
      value: left.value * right.value,
    })
  }),
  divide: function_(2, ([a = null, b = null]) => {
    const [left, right] = [amount(a), amount(b)]
    if (right.kind !== 'number' && right.kind !== left.kind)
      throw failed('divide() wants two of one kind, or a number')
    const kind = left.kind === right.kind ? 'number' : left.kind
    return shown({ kind, value: divide(left.value, right.value) })
  }),
  round: function_(2, (values) => {
    const scale = 10 ** Math.min(15, Math.max(0, Math.trunc(anyNumber(values, 1))))
    return Math.round(anyNumber(values, 0) * scale) / scale
  }),
}
