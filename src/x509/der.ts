import { AirsealError } from '../core/index.ts'

/** One element of a DER text; `bytes` and `content` are views. */
export interface Der {
  /** Identifier octet: class, constructed bit and number. */
  readonly tag: number
  /** The whole element. */
  readonly bytes: Uint8Array
  readonly content: Uint8Array
}

/** Identifier octets that are read here (X.690 §8.1.2). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

const MAX_DEPTH = 32
const MAX_ELEMENTS = 20_000

/**
 * Reads exactly one element, strictly (X.690 §10.1): definite and shortest lengths, tag numbers below 31, nothing behind it. Attacker-controlled.
 * @throws AirsealError KEY_INVALID
 */
export function readDer(bytes: Uint8Array): Der {
  const element = elementAt(bytes, 0)
  if (element.bytes.length !== bytes.length) throw invalid('has bytes after its end')
  return element
}

/** The elements in the content of `parent`. @throws AirsealError KEY_INVALID */
export function children({ content }: Der): Der[] {
  const found: Der[] = []
  for (let at = 0; at < content.length;) {
    const element = elementAt(content, at)
    found.push(element)
    at += element.bytes.length
  }
  return found
}

/** The elements of `parent`, which must have this tag. @throws AirsealError KEY_INVALID */
export function childrenOf(parent: Der | undefined, tag: number): Der[] {
  return children(withTag(parent, tag))
}

/** `element`, which must be there and have this tag. @throws AirsealError KEY_INVALID */
export function withTag(element: Der | undefined, tag: number): Der {
  if (element?.tag !== tag) throw invalid(`lacks an element with the tag ${tag}`)
  return element
}

/** Walks through all of `bytes`, so that a lenient reader may be let at it. @throws AirsealError KEY_INVALID */
export function checkDer(bytes: Uint8Array): void {
  let waiting = [readDer(bytes)]
  let seen = 0
  for (let depth = 0; waiting.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw invalid(`is nested deeper than ${MAX_DEPTH} levels`)
    const next: Der[] = []
    for (const element of waiting) {
      if ((element.tag & 0x20) !== 0) next.push(...children(element))
      if (++seen > MAX_ELEMENTS) throw invalid(`has more than ${MAX_ELEMENTS} elements`)
    }
    waiting = next
  }
}

/** DER of one element. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const digits = Buffer.alloc(4)
  digits.writeUInt32BE(length)
  const short = digits.subarray(digits.findIndex((digit) => digit !== 0))
  return Buffer.concat([Buffer.from([tag, 0x80 | short.length]), short, content])
}

/** Dotted text of an OBJECT IDENTIFIER. @throws AirsealError KEY_INVALID */
export function oidText(element: Der | undefined): string {
  const { content } = withTag(element, TAG.oid)
  if (content.length === 0 || content.length > 64 || (content.at(-1) ?? 0) >= 0x80) {
    throw invalid('has a malformed object identifier')
  }
  const arcs: number[] = []
  let value = 0
  let fresh = true
  for (const byte of content) {
    if (fresh && byte === 0x80) throw invalid('has a malformed object identifier')
    value = value * 128 + (byte & 0x7f)
    if (value > Number.MAX_SAFE_INTEGER / 128) throw invalid('has an object identifier too large')
    fresh = byte < 0x80
    if (!fresh) continue
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(value / 40))
      arcs.push(first, value - first * 40)
    } else arcs.push(value)
    value = 0
  }
  return arcs.join('.')
}

function elementAt(bytes: Uint8Array, at: number): Der {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) throw invalid('is cut off')
  if ((tag & 0x1f) === 0x1f) throw invalid('has a tag number above 30')
  let start = at + 2
  let length = first
  if (first >= 0x80) {
    const digits = first & 0x7f
    if (digits === 0 || digits > 4) throw invalid('has an indefinite or oversized length')
    length = 0
    for (const byte of bytes.subarray(start, start + digits)) length = length * 256 + byte
    if (length < 0x80 || length < 256 ** (digits - 1))
      throw invalid('has a length that is not the shortest')
    start += digits
  }
  if (start + length > bytes.length) throw invalid('is cut off')
  return {
    tag,
    bytes: bytes.subarray(at, start + length),
    content: bytes.subarray(start, start + length),
  }
}

function invalid(problem: string): AirsealError {
  return new AirsealError('KEY_INVALID', `the DER ${problem}`)
}
