import type { Json } from '../core/index.ts'
import type { SiteTrust } from './site-trust.ts'
import { type Basis, VerdictCache } from './verdict-cache.ts'

/** Bytes of a body that is looked up at all, and of all answers together. */
const MAX_BODY = 8192
const ANSWER_BYTES = 64 * 1024 * 1024

/**
 * Whole answers by the bytes that asked for them: whoever asks the same again gets the same bytes, with nothing parsed. What an answer rests on
 * is kept with it, and compared each time.
 */
export class PreparedAnswers {
  readonly #answers = new VerdictCache<Uint8Array>(ANSWER_BYTES)
  /** What answers that were just given rest on; gone with them. */
  readonly #given = new WeakMap<object, Basis>()

  /** Says that an answer may be kept; not at all when `until` has passed. */
  may(answer: object, basis: Basis): void {
    if (basis.until > basis.at) this.#given.set(answer, basis)
  }

  remember(body: Uint8Array, answer: Json, text: Uint8Array): void {
    const basis =
      typeof answer === 'object' && answer !== null ? this.#given.get(answer) : undefined
    if (basis === undefined || body.length > MAX_BODY) return
    this.#answers.set(keyOf(body), text, text.length, basis)
  }

  known(body: Uint8Array, trust: SiteTrust, policies: number, now: number): Uint8Array | null {
    return body.length > MAX_BODY ? null : this.#answers.get(keyOf(body), trust, policies, now)
  }
}

/** One character a byte: other bytes are another text. */
function keyOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
}
