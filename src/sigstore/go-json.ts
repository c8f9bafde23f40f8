/**
 * JSON text as Go's encoder writes it: `<`, `>`, `&` and the two line separators are escaped inside strings.
 * None of these characters occurs outside strings, so replacing them in the finished text is enough.
 */
export function goJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** `members` as an object with its names sorted by UTF-8 bytes, as Go sorts map keys. */
export function sortedByUtf8(members: Readonly<Record<string, string>>): Record<string, string> {
  const names = Object.keys(members).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  // fromEntries defines own members, so `__proto__` stays an ordinary name.
  return Object.fromEntries(names.map((name) => [name, members[name] ?? '']))
}
