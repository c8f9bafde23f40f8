import {
  AirsealError,
  fromUtf8,
  isDigest,
  isObject,
  parseJson,
  type Digest,
  type ErrorCode,
  type Json,
  type JsonObject,
} from '../src/core/index.ts'

/** Reads members of a document from a medium; every deviation names the document and the member. */
export class Reader {
  readonly #members: JsonObject
  readonly #what: string
  readonly #code: ErrorCode

  constructor(value: Json | undefined, what: string, code: ErrorCode = 'MEDIUM_INVALID') {
    this.#what = what
    this.#code = code
    if (!isObject(value)) throw this.fail('is not an object')
    this.#members = value
  }

  /** One JSON document in bytes. */
  static parse(bytes: Uint8Array, what: string, code: ErrorCode = 'MEDIUM_INVALID'): Reader {
    return new Reader(
      parseJson(fromUtf8(bytes, what, code), { code, what, maxDepth: 16 }),
      what,
      code,
    )
  }

  /** Refuses members that are not known: what is passed over could be a demand. */
  only(...names: readonly string[]): this {
    for (const name of Object.keys(this.#members)) {
      if (!names.includes(name)) throw this.fail(`has the unknown member "${name.slice(0, 60)}"`)
    }
    return this
  }

  has(name: string): boolean {
    return (this.#members[name] ?? null) !== null
  }

  raw(name: string): Json | undefined {
    return this.#members[name]
  }

  text(name: string, form?: RegExp, most = 4096): string {
    const value = this.#members[name]
    if (
      typeof value !== 'string' ||
      value.length > most ||
      (form !== undefined && !form.test(value))
    )
      throw this.fail(`has no good ${name}`)
    return value
  }

  whole(name: string): number {
    const value = this.#members[name]
    if (
      typeof value !== 'number' ||
      !Number.isSafeInteger(value) ||
      value < 0 ||
      Object.is(value, -0)
    )
      throw this.fail(`has no whole number ${name}`)
    return value
  }

  digest(name: string): Digest {
    const value = this.#members[name]
    if (typeof value !== 'string' || !isDigest(value))
      throw this.fail(`has no sha256 digest ${name}`)
    return value
  }

  object(name: string): Reader {
    return new Reader(this.#members[name], `${this.#what}: ${name}`, this.#code)
  }

  list(name: string, most: number): readonly Json[] {
    const value = this.#members[name]
    if (!Array.isArray(value)) throw this.fail(`has no list ${name}`)
    if (value.length > most)
      throw this.fail(`has ${value.length} ${name}, at most ${most} are read`)
    return value
  }

  objects(name: string, most: number): readonly Reader[] {
    return this.list(name, most).map(
      (item, at) => new Reader(item, `${this.#what}: ${name}[${at}]`, this.#code),
    )
  }

  digests(name: string, most: number): readonly Digest[] {
    return this.list(name, most).map((item) => {
      if (typeof item !== 'string' || !isDigest(item))
        throw this.fail(`has a bad digest in ${name}`)
      return item
    })
  }

  fail(problem: string): AirsealError {
    return new AirsealError(this.#code, `${this.#what} ${problem}`)
  }
}
