import { verify } from 'node:crypto'
import { AirsealError, sha256, utf8, type Digest, type PublicKey } from '../src/core/index.ts'

/** What the receiver states; FORMAT.md §8. */
export interface ReceiptFacts {
  /** The receiver. */
  readonly enclave: string
  readonly source: string
  readonly target: string
  readonly sequence: number
  readonly header: Digest
  /** The receiver's log: entries, and the first 24 hex digits of the root. */
  readonly size: number
  readonly root: string
}

/** What a code itself holds; the rest the sender knows by the number. */
export interface ReceiptCode {
  readonly sequence: number
  readonly size: number
  readonly root: string
  /** ECDSA: r and s, 64 bytes for P-256; other keys as they sign. */
  readonly signature: Uint8Array
}

const VERSION = 1
const ROOT_BYTES = 12
/** Ed25519 and P-256 sign in 64 bytes, RSA 4096 in 512. */
const SIGNATURE_BYTES = { least: 64, most: 512 } as const
/** Without 0, O, I and l, which look like others in print. */
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
/** Characters of a row without the one that checks it. */
const ROW = 24

/** The text that is signed. Its second line is no number, so it is no checkpoint; it is no JSON, so it is no entry timestamp. */
export function receiptMessage(facts: ReceiptFacts): Uint8Array {
  const { enclave, source, target, sequence, header, size, root } = facts
  return utf8(
    [
      'airseal receipt v1',
      enclave,
      source,
      target,
      `sequence ${sequence}`,
      header,
      `log ${size}`,
      root,
      '',
    ].join('\n'),
  )
}

/** Raw r and s of an ASN.1 DER signature: shorter, and always of the same length. */
export function rawSignature(der: Uint8Array, { algorithm }: PublicKey): Uint8Array {
  const width = algorithm.coordinateSize ?? 0
  const raw = new Uint8Array(2 * width)
  // P-521 signatures have a length of two bytes.
  let at = der[1] === 0x81 ? 3 : 2
  for (const end of [width, 2 * width]) {
    const length = der[at + 1] ?? 0
    const value = der.subarray(at + 2, at + 2 + length)
    const significant = value.subarray(value.findIndex((byte) => byte !== 0))
    raw.set(significant, end - significant.length)
    at += 2 + length
  }
  return raw
}

/** The code as people type it: rows of five groups, each row with a character that checks it. */
export function receiptText({ sequence, size, root, signature }: ReceiptCode): string {
  const bytes = Buffer.concat([
    Buffer.from([VERSION]),
    varint(sequence),
    varint(size),
    Buffer.from(root, 'hex'),
    signature,
  ])
  const digits = encode(bytes)
  const rows: string[] = []
  for (let at = 0; at < digits.length; at += ROW) {
    const row = digits.slice(at, at + ROW)
    const checked = row + checkOf(row, rows.length)
    rows.push((checked.match(/.{1,5}/g) ?? []).join(' '))
  }
  return rows.join('\n')
}

/**
 * Reads a code that was typed; blanks, newlines and hyphens do not matter.
 * @throws AirsealError RECEIPT_INVALID naming the row that is mistyped
 */
export function parseReceiptCode(text: string): ReceiptCode {
  if (text.length > 2_000) throw invalid('is too long')
  const typed = text.replace(/[\s-]+/g, '')
  const wrong = Array.from(typed).find((character) => !ALPHABET.includes(character))
  if (wrong !== undefined) throw invalid(`has the character "${wrong}", which no code has`)
  let digits = ''
  for (let at = 0, row = 0; at < typed.length; at += ROW + 1, row++) {
    const part = typed.slice(at, at + ROW + 1)
    if (checkOf(part.slice(0, -1), row) !== part.slice(-1))
      throw invalid(`is mistyped in row ${row + 1}: "${(part.match(/.{1,5}/g) ?? []).join(' ')}"`)
    digits += part.slice(0, -1)
  }
  const bytes = decode(digits)
  let at = 1
  if (bytes[0] !== VERSION) throw invalid('is of another version, or not a receipt')
  const number = (): number => {
    let value = 0
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++]
      if (byte === undefined || shift > 2 ** 49) throw invalid('is cut off')
      value += (byte & 0x7f) * shift
      if (byte < 0x80) return value
    }
  }
  const sequence = number()
  const size = number()
  const signed = bytes.length - at - ROOT_BYTES
  if (signed < SIGNATURE_BYTES.least || signed > SIGNATURE_BYTES.most)
    throw invalid('is not complete')
  const root = Buffer.from(bytes.subarray(at, at + ROOT_BYTES)).toString('hex')
  return { sequence, size, root, signature: bytes.subarray(at + ROOT_BYTES) }
}

/** True when this key of the receiver signed these facts. */
export function verifyReceipt(facts: ReceiptFacts, signature: Uint8Array, key: PublicKey): boolean {
  const { hash } = key.algorithm
  const ieee = { key: key.handle, dsaEncoding: 'ieee-p1363' } as const
  return verify(hash, receiptMessage(facts), ieee, signature)
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
  return Uint8Array.from([...bytes, rest])
}

/** The bytes as one number in base 58; the first byte is never zero, so their count is not lost. */
function encode(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  let text = ''
  for (; value > 0n; value /= 58n) text = `${ALPHABET[Number(value % 58n)]}${text}`
  return text
}

function decode(text: string): Uint8Array {
  let value = 0n
  for (const character of text) value = value * 58n + BigInt(ALPHABET.indexOf(character))
  const hex = value.toString(16)
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
}

function checkOf(row: string, number: number): string {
  return ALPHABET[(sha256(`${number} ${row}`)[0] ?? 0) % 58] ?? '1'
}

function invalid(problem: string): AirsealError {
  return new AirsealError('RECEIPT_INVALID', `the receipt ${problem}`)
}
