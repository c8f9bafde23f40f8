import { isAbsolute, resolve } from 'node:path'
import { AirsealError } from './core/index.ts'

/** Takes fields out of one section; what is never asked for is unknown. */
export class FieldReader {
  readonly #fields: ReadonlyMap<string, unknown>
  readonly #where: string
  readonly #base: string
  readonly #known = new Set<string>()

  constructor(value: unknown, where: string, base: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new AirsealError('CONFIG_INVALID', `${where} is not a set of fields`)
    }
    this.#fields = new Map(Object.entries(value))
    this.#where = where
    this.#base = base
  }

  has(name: string): boolean {
    this.#known.add(name)
    return (this.#fields.get(name) ?? null) !== null
  }

  section(name: string): FieldReader {
    return new FieldReader(this.#take(name) ?? {}, `${this.#where}: ${name}`, this.#base)
  }

  text(name: string): string | null {
    const value = this.#take(name)
    if (value === null) return null
    if (typeof value !== 'string' || value === '') throw this.#wrong(name, 'a text')
    return value
  }

  texts(name: string): readonly string[] {
    const value = this.#take(name)
    if (value === null) return []
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string'))
      throw this.#wrong(name, 'a list of texts')
    return value as string[]
  }

  /** Names and texts, in the order of the file. */
  textMap(name: string): ReadonlyMap<string, string> {
    const value = this.#take(name)
    if (value === null) return new Map()
    if (typeof value !== 'object' || Array.isArray(value))
      throw this.#wrong(name, 'a set of fields')
    const entries: [string, unknown][] = Object.entries(value)
    if (entries.some(([, text]) => typeof text !== 'string' || text === ''))
      throw this.#wrong(name, 'a set of texts')
    return new Map(entries as [string, string][])
  }

  /** A path, taken relative to the configuration file. */
  path(name: string): string | null {
    const text = this.text(name)
    return text === null ? null : this.#absolute(text)
  }

  paths(name: string): readonly string[] {
    return this.texts(name).map((text) => this.#absolute(text))
  }

  requiredPath(name: string): string {
    const path = this.path(name)
    if (path === null) throw this.#wrong(name, 'set')
    return path
  }

  count(name: string, least: number, most: number): number | null {
    const value = this.#take(name)
    if (value === null) return null
    if (
      typeof value !== 'number' ||
      !Number.isSafeInteger(value) ||
      value < least ||
      value > most
    ) {
      throw this.#wrong(name, `a whole number from ${least} to ${most}`)
    }
    return value
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice | null {
    const text = this.text(name)
    if (text === null) return null
    const choice = choices.find((choice) => choice === text)
    if (choice === undefined) throw this.#wrong(name, `one of ${choices.join(', ')}`)
    return choice
  }

  refuseUnknown(): void {
    for (const name of this.#fields.keys()) {
      if (!this.#known.has(name)) {
        throw new AirsealError(
          'CONFIG_INVALID',
          `${this.#where}: unknown field "${name}"; known: ${[...this.#known].join(', ')}`,
        )
      }
    }
  }

  #take(name: string): unknown {
    this.#known.add(name)
    return this.#fields.get(name) ?? null
  }

  #absolute(path: string): string {
    return isAbsolute(path) ? path : resolve(this.#base, path)
  }

  #wrong(name: string, want: string): AirsealError {
    return new AirsealError('CONFIG_INVALID', `${this.#where}: ${name} must be ${want}`)
  }
}
