import { createSecretKey } from 'node:crypto'
import { AirsealError } from '../core/index.ts'
import type { AwsCredential } from './sigv4.ts'

const ID = /^[A-Za-z0-9_]{3,128}$/
const MAX_CREDENTIALS = 1_000
const MIN_SECRET = 20
const MAX_SECRET = 128
const [LINE_FEED, RETURN, BLANK, TAB, HASH] = [10, 13, 32, 9, 35]
const PREFIX = Buffer.from('AWS4')

/**
 * Reads a credentials file: one `ACCESSKEYID SECRETACCESSKEY` a line, the secret of 20 to 128 printable characters; blank lines and lines
 * that begin with `#` are passed over. No secret becomes a JavaScript string, and `bytes` are overwritten.
 * @throws AirsealError CONFIG_INVALID naming the line, never the secret
 */
export function parseAwsCredentials(bytes: Buffer): ReadonlyMap<string, AwsCredential> {
  const credentials = new Map<string, AwsCredential>()
  try {
    let number = 0
    for (const line of linesOf(bytes)) {
      number += 1
      if (line.length === 0 || line[0] === HASH) continue
      const credential = parseLine(line)
      if (credential === null) throw wrong(number, 'want ACCESSKEYID SECRETACCESSKEY')
      const { accessKeyId } = credential
      if (credentials.has(accessKeyId)) throw wrong(number, `${accessKeyId} stands there twice`)
      if (credentials.size === MAX_CREDENTIALS) throw wrong(number, 'too many credentials')
      credentials.set(accessKeyId, credential)
    }
  } finally {
    bytes.fill(0)
  }
  if (credentials.size === 0) {
    throw new AirsealError('CONFIG_INVALID', 'doors: aws: credentialsFile holds no credential')
  }
  return credentials
}

function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from <= bytes.length;) {
    const end = bytes.indexOf(LINE_FEED, from)
    const to = end === -1 ? bytes.length : end
    yield trimmed(bytes.subarray(from, to))
    from = to + 1
  }
}

function trimmed(line: Buffer): Buffer {
  let [from, to] = [0, line.length]
  while (from < to && isBlank(line[from])) from += 1
  while (to > from && isBlank(line[to - 1])) to -= 1
  return line.subarray(from, to)
}

function isBlank(byte: number | undefined): boolean {
  return byte === BLANK || byte === TAB || byte === RETURN
}

function parseLine(line: Buffer): AwsCredential | null {
  const at = line.findIndex((byte) => isBlank(byte))
  if (at === -1) return null
  const accessKeyId = line.toString('latin1', 0, at)
  const secret = trimmed(line.subarray(at))
  const isPrintable = secret.every((byte) => byte > BLANK && byte < 127)
  const isSized = secret.length >= MIN_SECRET && secret.length <= MAX_SECRET
  if (!ID.test(accessKeyId) || !isSized || !isPrintable) return null
  const seed = Buffer.concat([PREFIX, secret])
  try {
    return { accessKeyId, seed: createSecretKey(seed) }
  } finally {
    seed.fill(0)
  }
}

function wrong(line: number, what: string): AirsealError {
  return new AirsealError('CONFIG_INVALID', `doors: aws: credentialsFile, line ${line}: ${what}`)
}
