import {
  AirsealError,
  fromBase64,
  isDigest,
  isObject,
  publicKeyFromPem,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { RootKey, ScopePolicy } from '../trust/index.ts'

/** Members of a request about trust; one that nobody knows is refused. */
export class TrustBody {
  readonly #body: JsonObject

  constructor(body: Json, known: readonly string[]) {
    const object = body ?? {}
    if (!isObject(object)) throw wrong('the body is not an object')
    for (const name of Object.keys(object))
      if (!known.includes(name)) throw wrong(`unknown member "${name.slice(0, 80)}"`)
    this.#body = object
  }

  text(name: string): string | null {
    const value = this.#body[name] ?? null
    if (value === null) return null
    if (typeof value !== 'string' || value === '') throw wrong(`${name} is not a text`)
    return value
  }

  requiredText(name: string): string {
    const text = this.text(name)
    if (text === null) throw wrong(`${name} is missing`)
    return text
  }

  count(name: string, least: number): number | null {
    const value = this.#body[name] ?? null
    if (value === null) return null
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least)
      throw wrong(`${name} is not a whole number from ${least}`)
    return value
  }

  /** Milliseconds since 1970. */
  time(name: string): number | null {
    const text = this.text(name)
    if (text === null) return null
    const time = Date.parse(text)
    if (Number.isNaN(time)) throw wrong(`${name} is not a time`)
    return time
  }

  digest(name: string): string | null {
    const text = this.text(name)
    if (text === null || isDigest(text)) return text
    throw wrong(`${name} is not a sha256 digest`)
  }

  bytes(name: string): Uint8Array {
    return fromBase64(this.requiredText(name), name)
  }

  object(name: string): JsonObject | null {
    const value = this.#body[name] ?? null
    if (value === null || isObject(value)) return value
    throw wrong(`${name} is not an object`)
  }

  texts(name: string): readonly string[] {
    return this.#list(name).map((item) => {
      if (typeof item !== 'string' || item === '') throw wrong(`${name} is not a list of texts`)
      return item
    })
  }

  rootKeys(name: string): readonly RootKey[] {
    return this.#list(name).map((item) => {
      const key = new TrustBody(item, ['name', 'publicKey'])
      return {
        name: key.requiredText('name'),
        key: publicKeyFromPem(key.requiredText('publicKey')),
      }
    })
  }

  policies(name: string): readonly ScopePolicy[] {
    return this.#list(name).map((item) => {
      const policy = new TrustBody(item, ['name', 'scope', 'keys'])
      const keys = policy.texts('keys')
      return {
        name: policy.requiredText('name'),
        scope: policy.requiredText('scope'),
        keys: keys.length === 0 ? null : keys,
      }
    })
  }

  #list(name: string): readonly Json[] {
    const value = this.#body[name] ?? []
    if (!Array.isArray(value)) throw wrong(`${name} is not a list`)
    if (value.length > 256) throw wrong(`${name} has more than 256 elements`)
    return value
  }
}

function wrong(problem: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', problem)
}
