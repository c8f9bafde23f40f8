import {
  AirsealError,
  fromBase64,
  isDigest,
  isObject,
  publicKeyFromPem,
  type Json,
  type JsonObject,
  type PublicKey,
} from '../core/index.ts'

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/
const HEX32 = /^[0-9a-f]{64}$/
/** Names end up in files of consumers: letters, digits and what separates them. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/
const MAX_TEXT = 1024

/** @throws AirsealError TRUST_BUNDLE_INVALID always */
export function invalid(path: string, problem: string, cause?: unknown): never {
  throw new AirsealError('TRUST_BUNDLE_INVALID', `trust bundle: ${path} ${problem}`, { cause })
}

/** Members of one object of the document: each is asked for by kind, and one that nobody asks for is refused. */
export class Members {
  readonly #object: JsonObject
  readonly #path: string

  constructor(value: Json | undefined, path: string, names: readonly string[]) {
    if (!isObject(value)) invalid(path, 'is not an object')
    for (const name of Object.keys(value)) {
      if (!names.includes(name)) invalid(path, `has the unknown member "${name.slice(0, 80)}"`)
    }
    for (const name of names) if (!Object.hasOwn(value, name)) invalid(path, `lacks ${name}`)
    this.#object = value
    this.#path = path
  }

  at(name: string): string {
    return `${this.#path}.${name}`
  }

  value(name: string): Json {
    return this.#object[name] ?? null
  }

  text(name: string): string {
    const value = this.#object[name]
    if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT)
      invalid(this.at(name), `is not a text of 1 to ${MAX_TEXT} characters`)
    return value
  }

  optionalText(name: string): string | null {
    return this.#object[name] === null ? null : this.text(name)
  }

  name(name: string): string {
    return checkedName(this.text(name), this.at(name))
  }

  count(name: string, least: number): number {
    const value = this.#object[name]
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least)
      invalid(this.at(name), `is not a whole number from ${least}`)
    return value
  }

  optionalCount(name: string, least: number): number | null {
    return this.#object[name] === null ? null : this.count(name, least)
  }

  /** Milliseconds since 1970. */
  time(name: string): number {
    const text = this.text(name)
    const time = TIME.test(text) ? Date.parse(text) : Number.NaN
    if (Number.isNaN(time) || timeText(time) !== text)
      invalid(this.at(name), 'is not a time like 2026-01-31T12:00:00.000Z')
    return time
  }

  optionalTime(name: string): number | null {
    return this.#object[name] === null ? null : this.time(name)
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const text = this.text(name)
    return (
      choices.find((choice) => choice === text) ??
      invalid(this.at(name), `is none of ${choices.join(', ')}`)
    )
  }

  hex32(name: string): string {
    const text = this.text(name)
    return HEX32.test(text) ? text : invalid(this.at(name), 'is not 64 lower-case hex digits')
  }

  digest(name: string): string {
    const text = this.text(name)
    return isDigest(text) ? text : invalid(this.at(name), 'is not a sha256 digest')
  }

  url(name: string): string {
    const text = this.text(name)
    if (!URL.canParse(text) || !/^https?:\/\/[!-~]+$/.test(text) || text.endsWith('/'))
      invalid(this.at(name), 'is not an http(s) URL without slash at its end')
    return text
  }

  publicKey(name: string): PublicKey {
    const value = this.text(name)
    let key: PublicKey
    try {
      key = publicKeyFromPem(value)
    } catch (cause) {
      return invalid(this.at(name), 'is not a PEM public key that airseal reads', cause)
    }
    return key.pem === value ? key : invalid(this.at(name), 'is not in the usual PEM form')
  }

  bytes(name: string): Uint8Array {
    const value = this.#object[name]
    if (typeof value !== 'string') invalid(this.at(name), 'is not base64')
    return fromBase64(value, `trust bundle: ${this.at(name)}`, 'TRUST_BUNDLE_INVALID')
  }

  list<Item>(name: string, most: number, read: (value: Json, path: string) => Item): Item[] {
    const value = this.#object[name]
    if (!Array.isArray(value)) invalid(this.at(name), 'is not a list')
    if (value.length > most) invalid(this.at(name), `has more than ${most} elements`)
    return value.map((item, index) => read(item, `${this.at(name)}[${index}]`))
  }
}

/** A name of ours: letters, digits, `.`, `_`, `@`, `-`. */
export function checkedName(text: string, path: string): string {
  return NAME.test(text) ? text : invalid(path, 'is not a name of letters, digits and . _ @ -')
}

/** @throws AirsealError TRUST_BUNDLE_INVALID when two items have one name */
export function requireDistinct<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string,
  path: string,
): readonly Item[] {
  const seen = new Set<string>()
  for (const item of items) {
    const name = nameOf(item)
    if (seen.has(name)) invalid(path, `holds "${name.slice(0, 100)}" twice`)
    seen.add(name)
  }
  return items
}

/** How a time is written in a bundle. */
export function timeText(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
