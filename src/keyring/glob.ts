/**
 * True when all of `text` matches `pattern`: `*` stands for any characters but `/`, `**` for any characters; everything else is literal, upper
 * and lower case differ. Time is bounded by the product of the two lengths.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const parts = pattern.split(/(\*+)/)
  // reachable[i]: the pattern so far can end before character i of the text.
  let reachable: boolean[] = [true, ...Array<boolean>(text.length).fill(false)]
  for (const part of parts) {
    if (part === '') continue
    reachable = part.startsWith('*')
      ? afterStar(reachable, text, part.length > 1)
      : afterLiteral(reachable, text, part)
  }
  return reachable[text.length] === true
}

function afterStar(before: readonly boolean[], text: string, crossesSlash: boolean): boolean[] {
  let isOpen = false
  return before.map((reached, at) => {
    if (at > 0 && text[at - 1] === '/' && !crossesSlash) isOpen = false
    if (reached) isOpen = true
    return isOpen
  })
}

function afterLiteral(before: readonly boolean[], text: string, literal: string): boolean[] {
  return before.map(
    (_, end) =>
      before[end - literal.length] === true && text.startsWith(literal, end - literal.length),
  )
}
