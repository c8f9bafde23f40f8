import { AirsealError, concat, fromBase64, toBase64 } from '../core/index.ts'

/** One signature line of a signed note. Nothing about it is verified. */
export interface NoteSignature {
  readonly name: string
  /** 4 bytes that hint at the key. */
  readonly keyHint: Uint8Array
  readonly signature: Uint8Array
}

export interface SignedNote {
  /** The signed text, newline at the end included. */
  readonly body: string
  readonly signatures: readonly NoteSignature[]
}

/** Limits of what is read. Logs have one signature, witnesses add some; Go's reader stops at 100 too. */
const MAX_LENGTH = 1_000_000
const MAX_SIGNATURES = 100

// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const FORBIDDEN = /[\u0000-\u0009\u000b-\u001f\u007f]|\p{Surrogate}|^\ufeff/u
const LINE = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)$/u

/**
 * Takes a signed note apart (C2SP signed-note): text, empty line, signature lines that begin with an em dash. Attacker-controlled.
 * The same line twice counts once.
 * @throws AirsealError CHECKPOINT_INVALID
 */
export function parseSignedNote(text: string): SignedNote {
  if (text.length > MAX_LENGTH) throw invalid('is longer than 1,000,000 characters')
  if (FORBIDDEN.test(text)) throw invalid('has control characters or is not Unicode text')
  const gap = text.lastIndexOf('\n\n')
  if (gap < 0 || !text.endsWith('\n') || gap + 2 >= text.length) {
    throw invalid('does not end in an empty line and signature lines')
  }
  const lines = text.slice(gap + 2, -1).split('\n', MAX_SIGNATURES + 1)
  if (lines.length > MAX_SIGNATURES) throw invalid(`has more than ${MAX_SIGNATURES} signatures`)
  return { body: text.slice(0, gap + 1), signatures: [...new Set(lines)].map(parseLine) }
}

function parseLine(line: string): NoteSignature {
  const [, name, base64] = LINE.exec(line) ?? []
  if (name === undefined || base64 === undefined) throw invalid('has a malformed signature line')
  const bytes = fromBase64(base64, 'signature of the note', 'CHECKPOINT_INVALID')
  if (bytes.length < 5) throw invalid('has a signature that is too short')
  return { name, keyHint: bytes.subarray(0, 4), signature: bytes.subarray(4) }
}

/** A note with one signature: `body` ends with a newline, `keyHint` has 4 bytes. */
export function signedNote(
  body: string,
  name: string,
  keyHint: Uint8Array,
  signature: Uint8Array,
): string {
  const note = `${body}\n\u2014 ${name} ${toBase64(concat(keyHint, signature))}\n`
  // What we could not read ourselves we don't write.
  if (keyHint.length !== 4 || parseSignedNote(note).body !== body)
    throw invalid('would be malformed')
  return note
}

function invalid(what: string): AirsealError {
  return new AirsealError('CHECKPOINT_INVALID', `signed note ${what}`)
}
