import { AirsealError, type Json } from '../../core/index.ts'

/** What a function may ask for beside its arguments. */
export interface Surroundings {
  /** Milliseconds since 1970. */
  readonly now: number
  readonly root: Json
  /** The expression (`&…`) given at this position. */
  readonly reference: (at: number) => (item: Json) => Json
}

/** A function of expressions. */
export interface Function {
  readonly least: number
  readonly most: number
  call(values: readonly Json[], surroundings: Surroundings): Json
}

export function function_(count: number, call: Function['call'], most: number = count): Function {
  return { least: count, most, call }
}

export function failed(message: string): AirsealError {
  return new AirsealError('EXPRESSION_FAILED', message)
}

export function text(values: readonly Json[], at: number): string {
  const value = values[at] ?? null
  if (typeof value !== 'string')
    throw failed(`argument ${at + 1} must be a text, not ${kindOf(value)}`)
  return value
}

export function texts(values: readonly Json[]): string[] {
  return values.map((_, at) => text(values, at))
}

export function anyNumber(values: readonly Json[], at: number): number {
  const value = values[at] ?? null
  if (typeof value !== 'number')
    throw failed(`argument ${at + 1} must be a number, not ${kindOf(value)}`)
  return value
}

export function list(values: readonly Json[], at: number): readonly Json[] {
  const value = values[at] ?? null
  if (!Array.isArray(value)) throw failed(`argument ${at + 1} must be a list, not ${kindOf(value)}`)
  return value
}

export function kindOf(value: Json): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value
}
