import { AirsealError, type ErrorCode } from './errors.ts'

// What must not occur, not what must: an expression over the whole text overflows the engine's stack on some megabytes.
const NOT_BASE64 = /[^A-Za-z0-9+/]/
const NOT_HEX = /[^0-9a-f]/

/** Standard, padded base64 of `bytes` (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/**
 * Bytes of standard, padded base64. Strict, since Node's own decoder skips rubbish: two texts must never decode to the same bytes,
 * so non-zero trailing bits are refused as well.
 * @throws AirsealError with `code` when `text` is not such base64
 */
export function fromBase64(
  text: string,
  what: string,
  code: ErrorCode = 'REQUEST_INVALID',
): Uint8Array {
  const end = text.endsWith('==') ? -2 : text.endsWith('=') ? -1 : text.length
  if (text.length % 4 !== 0 || NOT_BASE64.test(text.slice(0, end)))
    throw new AirsealError(code, `${what} is not standard base64`)
  const bytes = Buffer.from(text, 'base64')
  if (text.endsWith('=') && bytes.toString('base64') !== text) {
    throw new AirsealError(code, `${what} is not canonical base64`)
  }
  return bytes
}

/** Lower-case hex of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Bytes of lower-case hex. @throws AirsealError with `code` when `text` is not such hex */
export function fromHex(
  text: string,
  what: string,
  code: ErrorCode = 'REQUEST_INVALID',
): Uint8Array {
  if (text.length % 2 !== 0 || NOT_HEX.test(text))
    throw new AirsealError(code, `${what} is not lower-case hex`)
  return Buffer.from(text, 'hex')
}

/** UTF-8 bytes of `text`. */
export function utf8(text: string): Uint8Array {
  return Buffer.from(text, 'utf8')
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text of UTF-8 `bytes`; a byte order mark is kept. @throws AirsealError with `code` when they are not UTF-8 */
export function fromUtf8(
  bytes: Uint8Array,
  what: string,
  code: ErrorCode = 'REQUEST_INVALID',
): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new AirsealError(code, `${what} is not UTF-8`, { cause })
  }
}

/** True when both hold the same bytes. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** One array with the bytes of all `parts`. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts)
}
