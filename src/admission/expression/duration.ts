const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  μs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
}
const WHOLE = /^[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/
const PART = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g

/** Seconds of a duration as Go writes it (`1h30m`); null when the text is none. A bare `0` is none, as with Kyverno. */
export function parseDuration(text: string): number | null {
  if (text.length > 64 || text === '0' || !WHOLE.test(text)) return null
  let seconds = 0
  for (const [, number = '', unit = ''] of text.matchAll(PART))
    seconds += Number(number) * (UNITS[unit] ?? 0)
  return text.startsWith('-') ? -seconds : seconds
}

/** Go's spelling of a duration of whole nanoseconds. */
export function formatDuration(seconds: number): string {
  const sign = seconds < 0 ? '-' : ''
  const all = Math.abs(seconds)
  if (all === 0) return '0s'
  if (all < 1) {
    const [scale, unit] = all < 1e-6 ? [1e9, 'ns'] : all < 1e-3 ? [1e6, 'µs'] : [1e3, 'ms']
    return `${sign}${Number((all * scale).toFixed(6))}${unit}`
  }
  const hours = Math.floor(all / 3600)
  const minutes = Math.floor((all % 3600) / 60)
  const rest = Number((all - hours * 3600 - minutes * 60).toFixed(9))
  if (hours > 0) return `${sign}${hours}h${minutes}m${rest}s`
  return minutes > 0 ? `${sign}${minutes}m${rest}s` : `${sign}${rest}s`
}
