import { RE2JS } from 're2js'
import { AirsealError } from '../../core/index.ts'

const MAX_GLOB = 1_024

/**
 * Globs of ImageValidatingPolicy (the gobwas/glob dialect without separators): `*` and `**` are any run, also with `/`; `?` one character; `[a-z]`, `[!a]`,
 * `{a,b}`; `\` takes the next character literally. The whole text must match.
 * @throws AirsealError POLICY_INVALID
 */
export function compileGlob(glob: string): (text: string) => boolean {
  if (glob === '' || glob.length > MAX_GLOB)
    throw new AirsealError('POLICY_INVALID', `a glob must have 1 to ${MAX_GLOB} characters`)
  let pattern = ''
  let braces = 0
  for (let at = 0; at < glob.length; at++) {
    const c = glob[at] ?? ''
    if (c === '\\') pattern += RE2JS.quote(glob[++at] ?? '\\')
    else if (c === '*') pattern += '[\\s\\S]*'
    else if (c === '?') pattern += '[\\s\\S]'
    else if (c === '[') {
      const end = glob.indexOf(']', at + 1)
      if (end === -1) throw bad(glob)
      const body = glob.slice(at + 1, end)
      const negated = body.startsWith('!')
      pattern += `[${negated ? '^' : ''}${body.slice(negated ? 1 : 0).replaceAll(/[\\^[\]]/g, '\\$&')}]`
      at = end
    } else if (c === '{') {
      braces++
      pattern += '(?:'
    } else if (c === '}' && braces > 0) {
      braces--
      pattern += ')'
    } else if (c === ',' && braces > 0) pattern += '|'
    else pattern += RE2JS.quote(c)
  }
  if (braces > 0) throw bad(glob)
  try {
    const compiled = RE2JS.compile(pattern)
    return (text) => compiled.matches(text)
  } catch (cause) {
    throw new AirsealError('POLICY_INVALID', `"${glob.slice(0, 80)}" is no glob`, { cause })
  }
}

function bad(glob: string): AirsealError {
  return new AirsealError('POLICY_INVALID', `"${glob.slice(0, 80)}" is no glob`)
}
