import { AirsealError, isObject, type Json, type JsonObject } from '../../core/index.ts'

/** Takes members out of one object of a policy. What is never asked for is unknown, and a policy with unknown members is refused. */
export class Fields {
  readonly path: string
  readonly #members: JsonObject
  readonly #known = new Set<string>()

  /** @throws AirsealError POLICY_INVALID unless `value` is an object */
  constructor(value: Json | undefined, path: string) {
    if (!isObject(value)) throw invalid(path, 'must be an object')
    this.path = path
    this.#members = value
  }

  at(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }

  /** The member as it is; null and absent are one, as in Kubernetes. */
  raw(name: string): Json | undefined {
    this.#known.add(name)
    return this.#members[name] ?? undefined
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined
  }

  text(name: string): string | null {
    const value = this.raw(name)
    if (value === undefined) return null
    if (typeof value !== 'string') throw invalid(this.at(name), 'must be a text')
    return value === '' ? null : value
  }

  requiredText(name: string): string {
    const text = this.text(name)
    if (text === null) throw invalid(this.at(name), 'is missing')
    return text
  }

  flag(name: string, absent: boolean): boolean {
    const value = this.raw(name)
    if (value === undefined) return absent
    if (typeof value !== 'boolean') throw invalid(this.at(name), 'must be true or false')
    return value
  }

  count(name: string, least: number, most: number): number | null {
    const value = this.raw(name)
    if (value === undefined) return null
    if (
      typeof value !== 'number' ||
      !Number.isSafeInteger(value) ||
      value < least ||
      value > most
    ) {
      throw invalid(this.at(name), `must be a whole number from ${least} to ${most}`)
    }
    return value
  }

  list(name: string): readonly Json[] {
    const value = this.raw(name)
    if (value === undefined) return []
    if (!Array.isArray(value)) throw invalid(this.at(name), 'must be a list')
    if (value.length > MAX_ITEMS) throw invalid(this.at(name), `has more than ${MAX_ITEMS} items`)
    return value
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((item) => {
      if (typeof item !== 'string') throw invalid(this.at(name), 'must be a list of texts')
      return item
    })
  }

  object(name: string): Fields | null {
    const value = this.raw(name)
    return value === undefined ? null : new Fields(value, this.at(name))
  }

  objects(name: string): readonly Fields[] {
    return this.list(name).map((item, index) => new Fields(item, `${this.at(name)}[${index}]`))
  }

  /** An object of texts; empty when absent. */
  map(name: string): Readonly<Record<string, string>> {
    const value = this.raw(name)
    if (value === undefined) return {}
    if (!isObject(value) || Object.values(value).some((one) => typeof one !== 'string')) {
      throw invalid(this.at(name), 'must be an object of texts')
    }
    return value as Record<string, string>
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice | null {
    const text = this.text(name)
    if (text === null) return null
    const found = choices.find((choice) => choice.toLowerCase() === text.toLowerCase())
    if (found === undefined)
      throw invalid(
        this.at(name),
        `is "${text.slice(0, 80)}", must be one of ${choices.join(', ')}`,
      )
    return found
  }

  /** The names of all members, for objects whose names are data. */
  names(): readonly string[] {
    return Object.keys(this.#members)
  }

  /** Members that are known, and that nothing here depends on. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#known.add(name)
  }

  /** @throws AirsealError POLICY_UNSUPPORTED naming the first member that is there and that airseal does not act on */
  unsupported(...names: readonly string[]): void {
    for (const name of names) {
      if (this.has(name)) throw unsupported(this.at(name), 'is not supported by airseal')
    }
  }

  /** @throws AirsealError POLICY_INVALID naming the first unknown member: one that is passed over is a demand that is not made */
  refuseUnknown(): void {
    for (const name of Object.keys(this.#members)) {
      if (!this.#known.has(name)) throw invalid(this.at(name.slice(0, 80)), 'is not known')
    }
  }
}

const MAX_ITEMS = 1_000

export function invalid(path: string, problem: string): AirsealError {
  return new AirsealError('POLICY_INVALID', `${path} ${problem}`)
}

export function unsupported(path: string, problem: string): AirsealError {
  return new AirsealError('POLICY_UNSUPPORTED', `${path} ${problem}`)
}
