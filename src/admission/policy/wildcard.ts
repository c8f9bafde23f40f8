/**
 * Kyverno's wildcards: `*` is any run of characters, also empty and also with `/`; `?` is exactly one character; everything else is literal.
 * The whole text must match, letter case counts. Takes time linear in the text for each `*`.
 */
export function matchesWildcard(pattern: string, text: string): boolean {
  if (pattern === '') return text === ''
  let p = 0
  let t = 0
  let star = -1
  let mark = 0
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++
      mark = t
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++
      t++
    } else if (star !== -1) {
      p = star + 1
      t = ++mark
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

export function matchesAny(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) => matchesWildcard(pattern, text))
}

export function hasWildcard(text: string): boolean {
  return /[*?]/.test(text)
}
