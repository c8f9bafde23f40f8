import { timingSafeEqual } from 'node:crypto'
import { AirsealError, sha256 } from '../core/index.ts'
import type { Token } from './model.ts'

const NAME = /^[A-Za-z0-9._-]{1,64}$/
const TOKEN = /^[A-Za-z0-9._~+/=-]{20,512}$/
const BEARER = /^Bearer ([A-Za-z0-9._~+/=-]{1,512})$/i
const MAX_TOKENS = 1000

/**
 * Reads a token file: one `NAME TOKEN` a line; blank lines and lines that begin with `#` are passed over. Only hashes are kept.
 * @throws AirsealError CONFIG_INVALID naming the line, never the token
 */
export function parseTokens(text: string): readonly Token[] {
  const tokens: Token[] = []
  const seen = new Set<string>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const [name = '', token = '', ...more] = line.trim().split(/[ \t]+/)
    if (!NAME.test(name) || !TOKEN.test(token) || more.length > 0) {
      throw new AirsealError(
        'CONFIG_INVALID',
        `tokens file, line ${index + 1}: want NAME TOKEN, the token of 20 to 512 characters A-Z a-z 0-9 . _ ~ + / = -`,
      )
    }
    if (seen.has(name))
      throw new AirsealError(
        'CONFIG_INVALID',
        `tokens file, line ${index + 1}: the name ${name} stands there twice`,
      )
    if (tokens.length === MAX_TOKENS)
      throw new AirsealError('CONFIG_INVALID', `tokens file: more than ${MAX_TOKENS} tokens`)
    seen.add(name)
    tokens.push({ name, sha256: sha256(token) })
  }
  return tokens
}

/** The token that an Authorization header carries; null when there is none or it is unknown. */
export function findToken(
  tokens: readonly Token[],
  authorization: string | undefined,
): Token | null {
  const presented = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
  if (presented === undefined) return null
  const digest = sha256(presented)
  let found: Token | null = null
  // No early end: how long it takes says nothing about which token fits.
  for (const token of tokens) if (timingSafeEqual(token.sha256, digest)) found = token
  return found
}
