import { AirsealError, isDigest, utf8, type Digest } from '../src/core/index.ts'
import { LIMITS } from './limits.ts'
import { isFileName } from './names.ts'

/** A file of a volume with its digest. */
export interface Sum {
  readonly name: string
  readonly digest: Digest
}

/** Text that `sha256sum -c` reads: hex, two blanks, name; sorted by name. */
export function sumsText(sums: readonly Sum[]): Uint8Array {
  const sorted = [...sums].sort((a, b) => (a.name < b.name ? -1 : 1))
  return utf8(
    sorted.map(({ name, digest }) => `${digest.slice('sha256:'.length)}  ${name}\n`).join(''),
  )
}

/**
 * Reads SHA256SUMS: names of the format only, each once, sorted; so nothing escapes, collides or hides.
 * @param where - for messages
 * @throws AirsealError MEDIUM_INVALID
 */
export function parseSums(bytes: Uint8Array, where: string): readonly Sum[] {
  const text = Buffer.from(bytes).toString('latin1')
  if (text !== '' && !text.endsWith('\n')) throw invalid(where, 'does not end with a newline')
  const lines = text === '' ? [] : text.slice(0, -1).split('\n', LIMITS.files + 1)
  if (lines.length > LIMITS.files) throw invalid(where, `has more than ${LIMITS.files} files`)
  let last = ''
  return lines.map((line, at) => {
    const digest = `sha256:${line.slice(0, 64)}`
    const name = line.slice(66)
    if (!isDigest(digest) || line.slice(64, 66) !== '  ')
      throw invalid(where, `has no digest and name in line ${at + 1}`)
    if (!isFileName(name))
      throw invalid(
        where,
        `names "${name.slice(0, 120)}", which is no file of a bundle (line ${at + 1})`,
      )
    if (name <= last) throw invalid(where, `has "${name}" twice or out of order`)
    last = name
    return { name, digest }
  })
}

function invalid(where: string, problem: string): AirsealError {
  return new AirsealError('MEDIUM_INVALID', `${where} ${problem}`)
}
