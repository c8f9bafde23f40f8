/** Nano-units of each suffix (Kubernetes API, `resource.Quantity`). */
const SUFFIXES: ReadonlyMap<string, bigint> = new Map([
  ['n', 1n],
  ['u', 10n ** 3n],
  ['m', 10n ** 6n],
  ['', 10n ** 9n],
  ['k', 10n ** 12n],
  ['M', 10n ** 15n],
  ['G', 10n ** 18n],
  ['T', 10n ** 21n],
  ['P', 10n ** 24n],
  ['E', 10n ** 27n],
  ['Ki', 2n ** 10n * 10n ** 9n],
  ['Mi', 2n ** 20n * 10n ** 9n],
  ['Gi', 2n ** 30n * 10n ** 9n],
  ['Ti', 2n ** 40n * 10n ** 9n],
  ['Pi', 2n ** 50n * 10n ** 9n],
  ['Ei', 2n ** 60n * 10n ** 9n],
])
const SHAPE = /^([+-]?)(\d*)(?:\.(\d*))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?$/

/** A quantity of Kubernetes (`100m`, `1Gi`, `1e3`) in nano-units; null when the text is none. */
export function parseQuantity(text: string): bigint | null {
  if (text.length > 40) return null
  const found = SHAPE.exec(text)
  if (found === null) return null
  const [, sign = '', whole = '', fraction = '', suffix = '', exponent] = found
  if (whole === '' && fraction === '') return null
  const digits = BigInt(`${whole}${fraction}`)
  let scale = SUFFIXES.get(suffix) ?? 10n ** 9n
  let divisor = 10n ** BigInt(fraction.length)
  const power = Number(exponent ?? 0)
  if (power >= 0) scale *= 10n ** BigInt(power)
  else divisor *= 10n ** BigInt(-power)
  const product = digits * scale
  // Kubernetes rounds up what is finer than a nano-unit.
  const value = product / divisor + (product % divisor === 0n ? 0n : 1n)
  return sign === '-' ? -value : value
}
