import type { JsonObject } from '../core/index.ts'
import type { Current, Head, Lifetimes, RoleName } from '../tuf/index.ts'

const DAY = 86_400_000
/** A clock may be this much behind the last signature: two machines never agree. Milliseconds. */
const CLOCK_SLACK = 5 * 60_000
/** A clock that is further ahead of the last signature than this is not believed without the operator's word. */
const MAX_GAP = 180 * DAY
/** Before the end of files that people renew, days: the alarms. */
const ALARM_DAYS: readonly number[] = [30, 90, 180]

export interface Alarm {
  readonly role: RoleName | 'clock' | 'trust'
  /** `warning`: something must be done in time; `critical`: clients refuse the repository, or soon will. */
  readonly level: 'warning' | 'critical'
  readonly text: string
}

/** Why the clock can't be right; null when nothing speaks against it. */
export function clockFault(now: number, last: number): string | null {
  const day = (time: number): string => new Date(time).toISOString().slice(0, 16)
  if (now < last - CLOCK_SLACK)
    return `the clock says ${day(now)}, which is before ${day(last)}, when this repository was last changed`
  if (now > last + MAX_GAP)
    return `the clock says ${day(now)}, ${Math.round((now - last) / DAY)} days after this repository was last changed`
  return null
}

/** Roles whose files are to be signed anew now: daily for the timestamp, the others in the last part of their life. */
export function dueRoles(
  current: Current,
  lifetimes: Lifetimes,
  now: number,
  here: ReadonlySet<RoleName>,
): RoleName[] {
  const left = (role: RoleName): number => current[role].expires - now
  const due: RoleName[] = []
  if (left('timestamp') < lifetimes.timestamp - DAY) due.push('timestamp')
  if (left('snapshot') < lifetimes.snapshot / 2) due.push('snapshot')
  for (const role of ['targets', 'root'] as const)
    if (left(role) < lifetimes[role] / 3 && here.has(role)) due.push(role)
  return due
}

export function expiryAlarms(current: Current, lifetimes: Lifetimes, now: number): Alarm[] {
  return (Object.entries(current) as [RoleName, Head][]).flatMap(([role, { expires }]) => {
    const days = Math.floor((expires - now) / DAY)
    const when = expires <= now ? `expired ${-days} days ago` : `expires in ${days} days`
    const isManual = role === 'root' || role === 'targets'
    const limit = isManual
      ? Math.min(ALARM_DAYS.at(-1) ?? 0, Math.floor(lifetimes[role] / DAY / 4))
      : Math.floor(lifetimes[role] / DAY / 3)
    if (days >= limit) return []
    const critical = expires <= now || (isManual ? days < (ALARM_DAYS[0] ?? 0) : days < limit / 2)
    return [{ role, level: critical ? 'critical' : 'warning', text: `the ${role} ${when}` }]
  })
}

export function alarmJson({ role, level, text }: Alarm): JsonObject {
  return { level, role, text }
}
