import { AirsealError, isObject, type Json } from '../core/index.ts'

/** Reads the members of an operation's body; what it does not know it refuses. Null stands for absent. */
export class Members {
  readonly #members: ReadonlyMap<string, Json>

  /** @throws AirsealError REQUEST_INVALID */
  constructor(body: Json, known: readonly string[]) {
    if (body !== null && !isObject(body))
      throw new AirsealError('REQUEST_INVALID', 'the body must be a JSON object')
    for (const name of Object.keys(body ?? {})) {
      if (!known.includes(name)) throw invalid(name, `is not known; known: ${known.join(', ')}`)
    }
    this.#members = new Map(Object.entries(body ?? {}).filter(([, value]) => value !== null))
  }

  text(name: string): string | null {
    const value = this.#members.get(name) ?? null
    if (value === null) return null
    if (typeof value !== 'string' || value === '' || value.length > 4_096)
      throw invalid(name, 'must be a text of 1 to 4096 characters')
    return value
  }

  requiredText(name: string): string {
    const value = this.text(name)
    if (value === null) throw invalid(name, 'is required')
    return value
  }

  flag(name: string): boolean {
    const value = this.#members.get(name) ?? false
    if (typeof value !== 'boolean') throw invalid(name, 'must be true or false')
    return value
  }

  count(name: string, most: number): number | null {
    const value = this.#members.get(name) ?? null
    if (value === null) return null
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > most)
      throw invalid(name, `must be a whole number from 0 to ${most}`)
    return value
  }

  any(name: string): Json | null {
    return this.#members.get(name) ?? null
  }
}

function invalid(name: string, message: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `${name} ${message}`)
}
