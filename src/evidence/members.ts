import {
  AirsealError,
  isObject,
  type ErrorCode,
  type Json,
  type JsonObject,
} from '../core/index.ts'

/** Items of a list, and its largest number. */
export const MAX_LIST = 64
/** Characters of one text. */
const MAX_TEXT = 4096

/** Takes members out of a JSON object that a caller wrote; every refusal names the member. */
export class Members {
  readonly json: JsonObject
  readonly #where: string
  readonly #code: ErrorCode

  /**
   * @param where - words before a member's name in messages; empty for a request
   * @param known - names of all members: a misspelt demand that is passed over would be a demand that is not made
   * @throws AirsealError with `code`
   */
  constructor(
    value: Json | undefined,
    known: readonly string[],
    where = '',
    code: ErrorCode = 'REQUEST_INVALID',
  ) {
    this.#where = where
    this.#code = code
    if (!isObject(value)) {
      throw new AirsealError(code, `${where === '' ? 'the body' : where} must be a JSON object`)
    }
    this.json = value
    for (const name of Object.keys(value)) {
      if (!known.includes(name))
        throw this.invalid(name.slice(0, 80), `is not known; known: ${known.join(', ')}`)
    }
  }

  has(name: string): boolean {
    return (this.json[name] ?? null) !== null
  }

  value(name: string): Json {
    return this.json[name] ?? null
  }

  /** An object inside, with its own members; null when absent. */
  object(name: string, known: readonly string[]): Members | null {
    return this.has(name) ? new Members(this.json[name], known, this.#name(name), this.#code) : null
  }

  /** A list of objects; empty when absent. */
  objects(name: string, known: readonly string[], limit = MAX_LIST): readonly Members[] {
    const value = this.value(name)
    if (value === null) return []
    if (!Array.isArray(value) || value.length > limit)
      throw this.invalid(name, `must be a list of at most ${limit} objects`)
    return value.map(
      (item, at) => new Members(item, known, `${this.#name(name)}[${at}]`, this.#code),
    )
  }

  text(name: string, limit = MAX_TEXT): string | null {
    const value = this.value(name)
    if (value === null) return null
    if (typeof value !== 'string' || value === '' || value.length > limit)
      throw this.invalid(name, `must be a string of 1 to ${limit} characters`)
    return value
  }

  texts(name: string, limit = MAX_LIST, characters = MAX_TEXT): readonly string[] {
    const value = this.value(name)
    if (!Array.isArray(value) || value.length === 0 || value.length > limit)
      throw this.invalid(name, `must be a list of 1 to ${limit} strings`)
    return value.map((item) => {
      if (typeof item !== 'string' || item === '' || item.length > characters)
        throw this.invalid(name, `must hold strings of 1 to ${characters} characters`)
      return item
    })
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.json[name] ?? absent
    if (typeof value !== 'boolean') throw this.invalid(name, 'must be true or false')
    return value
  }

  /** A whole number from 1; a threshold of 0 would be none. Null when absent. */
  count(name: string): number | null {
    const value = this.value(name)
    if (value === null) return null
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > MAX_LIST)
      throw this.invalid(name, `must be a whole number from 1 to ${MAX_LIST}`)
    return value
  }

  /** An object of texts; empty when absent. */
  map(name: string): Readonly<Record<string, string>> {
    const value = this.value(name) ?? {}
    if (!isObject(value)) throw this.invalid(name, 'must be an object of strings')
    const entries = Object.entries(value).map(([key, item]): [string, string] => {
      if (key === '' || typeof item !== 'string' || key.length > MAX_TEXT || item.length > MAX_TEXT)
        throw this.invalid(name, `must hold strings of at most ${MAX_TEXT} characters`)
      return [key, item]
    })
    if (entries.length > MAX_LIST) throw this.invalid(name, `has more than ${MAX_LIST} members`)
    return Object.fromEntries(entries)
  }

  invalid(name: string, problem: string): AirsealError {
    return new AirsealError(this.#code, `${this.#name(name)} ${problem}`)
  }

  #name(name: string): string {
    return this.#where === '' ? name : `${this.#where}.${name}`
  }
}
