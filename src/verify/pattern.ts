import { RE2JS } from 're2js'
import { AirsealError } from '../core/index.ts'

/** A pattern that matches a whole text or not at all. */
export interface TextPattern {
  readonly source: string
  matches(text: string): boolean
}

const MAX_PATTERN = 1024
const MAX_TEXT = 4096

/**
 * Compiles a pattern in RE2 syntax, as Go and cosign read it, but anchored at both ends: `https://github.com/corp/.*` does not match
 * `https://evil.example/?https://github.com/corp/a`. The engine takes time linear in the text; the built-in one can be made to run for hours.
 * @throws AirsealError REQUEST_INVALID
 */
export function compilePattern(source: string): TextPattern {
  if (source === '' || source.length > MAX_PATTERN) {
    throw new AirsealError('REQUEST_INVALID', `a pattern must have 1 to ${MAX_PATTERN} characters`)
  }
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(source)
  } catch (cause) {
    throw new AirsealError(
      'REQUEST_INVALID',
      `not a pattern: ${(cause as Error).message.slice(0, 200)}`,
      { cause },
    )
  }
  return { source, matches: (text) => text.length <= MAX_TEXT && compiled.matches(text) }
}
