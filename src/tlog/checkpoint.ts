import { AirsealError, bytesEqual, fromBase64, toBase64 } from '../core/index.ts'
import { EMPTY_ROOT, HASH_SIZE } from './hash.ts'

/** What a log states about its tree. Nothing about it is verified. */
export interface Checkpoint {
  readonly origin: string
  readonly size: number
  /** 32 bytes. */
  readonly rootHash: Uint8Array
  /** Lines after the third, without newlines; logs of 2023 have a `Timestamp:` here. */
  readonly otherLines: readonly string[]
}

const MAX_LENGTH = 16_384
const MAX_OTHER_LINES = 32
// 2^53 - 1 has 16 digits. `Number` alone reads "", " 1", "0x10" and "1e3" as numbers.
const SIZE = /^(?:0|[1-9][0-9]{0,15})$/

/** The three lines that are signed: origin, size in decimal, root in base64; newline at the end (C2SP tlog-checkpoint). */
export function checkpointBody(origin: string, size: number, rootHash: Uint8Array): string {
  const body = `${origin}\n${size}\n${toBase64(rootHash)}\n`
  if (parseCheckpoint(body).origin !== origin) throw invalid('would be malformed')
  return body
}

/**
 * Reads the signed text of a checkpoint. Attacker-controlled, and read before any signature is checked.
 * @throws AirsealError CHECKPOINT_INVALID
 */
export function parseCheckpoint(body: string): Checkpoint {
  if (body.length > MAX_LENGTH) throw invalid(`is longer than ${MAX_LENGTH} characters`)
  if (!body.endsWith('\n')) throw invalid('does not end with a newline')
  const [origin, sizeText, rootText, ...otherLines] = body.slice(0, -1).split('\n')
  if (origin === undefined || origin === '' || sizeText === undefined || rootText === undefined) {
    throw invalid('has fewer than three lines')
  }
  if (body.includes('\r')) throw invalid('has a carriage return')
  const size = SIZE.test(sizeText) ? Number(sizeText) : NaN
  if (!Number.isSafeInteger(size))
    throw invalid('has a size that is not a decimal number below 2^53')
  const rootHash = fromBase64(rootText, 'root hash of the checkpoint', 'CHECKPOINT_INVALID')
  if (rootHash.length !== HASH_SIZE) throw invalid(`has a root hash of ${rootHash.length} bytes`)
  if (size === 0 && !bytesEqual(rootHash, EMPTY_ROOT)) throw invalid('has a root for an empty tree')
  if (otherLines.length > MAX_OTHER_LINES || otherLines.includes('')) {
    throw invalid('has an empty line or too many lines')
  }
  return { origin, size, rootHash, otherLines }
}

function invalid(what: string): AirsealError {
  return new AirsealError('CHECKPOINT_INVALID', `checkpoint ${what}`)
}
