import type { Json } from '../../core/index.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { failed, function_, type Function, text } from './parameters.ts'

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

/** Milliseconds since 1970 of an RFC 3339 time; other layouts of Go are not read. */
function time(values: readonly Json[], at: number): number {
  const given = text(values, at)
  const found = RFC3339.test(given) ? Date.parse(given) : Number.NaN
  if (Number.isNaN(found)) throw failed(`"${given.slice(0, 60)}" is no RFC 3339 time`)
  return found
}

function shown(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace('.000Z', 'Z')
}

function seconds(values: readonly Json[], at: number): number {
  const found = parseDuration(text(values, at))
  if (found === null) throw failed(`"${text(values, at).slice(0, 40)}" is no duration`)
  return found
}

/** Kyverno's functions of time, for RFC 3339 alone. */
export const TIME_FUNCTIONS: Readonly<Record<string, Function>> = {
  time_now: function_(0, (_, { now }) => shown(now)),
  time_now_utc: function_(0, (_, { now }) => shown(now)),
  time_since: function_(3, (values, { now }) => {
    if (text(values, 0) !== '')
      throw failed('time_since(): only RFC 3339 times are read, give an empty layout')
    const until = text(values, 2) === '' ? now : time(values, 2)
    return formatDuration((until - time(values, 1)) / 1000)
  }),
  time_add: function_(2, (values) => shown(time(values, 0) + seconds(values, 1) * 1000)),
  time_utc: function_(1, (values) => shown(time(values, 0))),
  time_diff: function_(2, (values) => formatDuration((time(values, 1) - time(values, 0)) / 1000)),
  time_before: function_(2, (values) => time(values, 0) < time(values, 1)),
  time_after: function_(2, (values) => time(values, 0) > time(values, 1)),
  time_between: function_(
    3,
    (values) => time(values, 1) < time(values, 0) && time(values, 0) < time(values, 2),
  ),
  time_truncate: function_(2, (values) => {
    const step = seconds(values, 1) * 1000
    if (step <= 0) throw failed('time_truncate() wants a positive duration')
    return shown(Math.floor(time(values, 0) / step) * step)
  }),
}
