import {
  AirsealError,
  fromBase64,
  isObject,
  publicKeyFromPem,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { listedKey, type Files, type ListedKey } from '../tuf/index.ts'

const MAX_FILES = 2000
const MAX_KEYS = 16
const FILE_NAME =
  /^(?:targets\/)?(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\/){0,8}[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$/

/** Members of a request, each read by the name it must have. @throws AirsealError REQUEST_INVALID */
export class TufBody {
  readonly #members: JsonObject

  constructor(body: Json, known: readonly string[]) {
    if (!isObject(body)) throw new AirsealError('REQUEST_INVALID', 'the body must be a JSON object')
    for (const name of Object.keys(body)) {
      if (!known.includes(name))
        throw new AirsealError('REQUEST_INVALID', `${name.slice(0, 80)} is not known here`)
    }
    this.#members = body
  }

  flag(name: string): boolean {
    const value = this.#members[name] ?? false
    if (typeof value !== 'boolean') throw wrong(name, 'true or false')
    return value
  }

  text(name: string): string | null {
    const value = this.#members[name] ?? null
    if (value !== null && typeof value !== 'string') throw wrong(name, 'a text')
    return value
  }

  choice<Choice extends string>(name: string, choices: readonly Choice[]): Choice {
    const choice = choices.find((one) => one === this.#members[name])
    if (choice === undefined) throw wrong(name, `one of ${choices.join(', ')}`)
    return choice
  }

  count(name: string, least: number, most: number): number | null {
    const value = this.#members[name] ?? null
    if (value === null) return null
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most)
      throw wrong(name, `a whole number from ${least} to ${most}`)
    return value
  }

  bytes(name: string): Uint8Array | null {
    const text = this.text(name)
    return text === null ? null : fromBase64(text, name)
  }

  /** Public keys in PEM. @throws AirsealError KEY_INVALID, KEY_UNSUPPORTED */
  keys(name: string): readonly ListedKey[] {
    const value = this.#members[name] ?? []
    if (!Array.isArray(value) || value.length > MAX_KEYS)
      throw wrong(name, `a list of ${MAX_KEYS} public keys at most`)
    return value.map((pem) => {
      if (typeof pem !== 'string') throw wrong(name, 'public keys in PEM')
      return listedKey(publicKeyFromPem(pem))
    })
  }

  /** Base64 by path below the repository. */
  files(name: string): Files {
    const value = this.#members[name]
    const entries = isObject(value) ? Object.entries(value) : []
    if (entries.length === 0 || entries.length > MAX_FILES)
      throw wrong(name, `1 to ${MAX_FILES} files`)
    return new Map(
      entries.map(([path, content]) => {
        if (!FILE_NAME.test(path)) throw wrong(name, 'named as a repository names its files')
        if (typeof content !== 'string') throw wrong(path, 'base64')
        return [path, fromBase64(content, path)]
      }),
    )
  }
}

function wrong(name: string, want: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `${name} must be ${want}`)
}
