import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'

const MAX_TEXT = 64 * 1024 * 1024

/** Reads members of the body of an operation. @throws AirsealError REQUEST_INVALID naming the member */
export class Body {
  readonly members: JsonObject

  constructor(body: Json | undefined) {
    if (!isObject(body)) throw new AirsealError('REQUEST_INVALID', 'the body must be a JSON object')
    this.members = body
  }

  text(name: string): string {
    const value = this.members[name]
    if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT)
      throw invalid(name, 'must be a non-empty string')
    return value
  }

  optional(name: string): string | null {
    return (this.members[name] ?? null) === null ? null : this.text(name)
  }

  whole(name: string): number {
    const value = this.members[name]
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
      throw invalid(name, 'must be a whole number')
    return value
  }

  texts(name: string, most: number): readonly string[] {
    const value = this.members[name]
    if (!Array.isArray(value) || value.length > most)
      throw invalid(name, `must be a list of at most ${most}`)
    return value.map((item) => {
      if (typeof item !== 'string') throw invalid(name, 'must hold strings')
      return item
    })
  }

  objects(name: string, most: number): readonly Body[] {
    const value = this.members[name]
    if (!Array.isArray(value) || value.length > most)
      throw invalid(name, `must be a list of at most ${most}`)
    return value.map((item) => new Body(item))
  }

  object(name: string): Body | null {
    const value = this.members[name] ?? null
    return value === null ? null : new Body(value)
  }
}

function invalid(name: string, problem: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `${name} ${problem}`)
}
