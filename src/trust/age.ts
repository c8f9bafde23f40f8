import type { SignedTrustBundle, TrustDocument } from './model.ts'

const DAY = 24 * 60 * 60 * 1000
/** Clocks of two machines may differ by so much, milliseconds. */
const CLOCK_TOLERANCE = DAY
/** A site that saw nothing new for so long either slept or has a wrong clock. */
const SUSPICIOUS_GAP = 2 * 365 * DAY

/** When old trust is warned about, and when it no longer counts. Days of age, and updates that were promised and did not come. */
export interface AgeLimits {
  readonly warnAfterDays: number
  readonly warnAfterMissed: number
  readonly enforceAfterDays: number
  readonly enforceAfterMissed: number
  /** Days after `expires` before it no longer counts. */
  readonly graceDays: number
  /** Days before an expiry at which alarms begin. */
  readonly alarmDays: number
}

/** `clock`: the clock of this machine is behind the bundle, so nothing can be said of its age. */
export type Stage = 'fresh' | 'warn' | 'enforce' | 'clock'

export interface Age {
  readonly stage: Stage
  readonly days: number
  readonly missed: number
  /** Why it is not fresh; null: it is. */
  readonly reason: string | null
}

/** How old a bundle is. @param now - milliseconds since 1970 */
export function ageOf(
  { version, created, expires, updateDays }: TrustDocument,
  limits: AgeLimits,
  now: number,
): Age {
  const days = Math.floor((now - created) / DAY)
  if (now < created - CLOCK_TOLERANCE) {
    const reason = `the clock of this machine says ${dayOf(now)}, before trust version ${version} was made (${dayOf(created)}): the clock is wrong`
    return { stage: 'clock', days, missed: 0, reason }
  }
  const missed = Math.max(0, Math.floor(days / updateDays))
  const reached = (...reasons: (string | false)[]): string | undefined =>
    reasons.find((reason): reason is string => reason !== false)
  const enforced = reached(
    days >= limits.enforceAfterDays &&
      `${days} days old; from ${limits.enforceAfterDays} days on it does not count (trust.enforceAfterDays)`,
    missed >= limits.enforceAfterMissed &&
      `${missed} promised updates did not come; from ${limits.enforceAfterMissed} on it does not count (trust.enforceAfterMissed)`,
    now > expires + limits.graceDays * DAY &&
      `it expired ${dayOf(expires)}, more than ${limits.graceDays} days ago (trust.graceDays)`,
  )
  if (enforced !== undefined) return { stage: 'enforce', days, missed, reason: enforced }
  const warned = reached(
    now > expires && `it expired ${dayOf(expires)}`,
    expires - now <= limits.alarmDays * DAY && `it expires ${dayOf(expires)}`,
    days >= limits.warnAfterDays && `${days} days old`,
    missed >= limits.warnAfterMissed && `${missed} promised updates did not come`,
  )
  return warned === undefined
    ? { stage: 'fresh', days, missed, reason: null }
    : { stage: 'warn', days, missed, reason: warned }
}

/** Something that an operator must know, in words. */
export interface Alarm {
  readonly stage: Exclude<Stage, 'fresh'>
  readonly about: string
  readonly message: string
}

/**
 * Everything in a bundle that is old, expires soon or did, our own and what is carried.
 * @param newest - the last moment that this site has proof of (its newest log entry), milliseconds since 1970
 */
export function alarmsOf(
  { document }: Pick<SignedTrustBundle, 'document'>,
  limits: AgeLimits,
  now: number,
  newest: number,
): readonly Alarm[] {
  const alarms: Alarm[] = []
  const bundles: [string, TrustDocument][] = [
    [`trust version ${document.version}`, document],
    ...document.foreign.flatMap((root): [string, TrustDocument][] =>
      root.kind === 'enclave'
        ? [[`trust of ${root.name}, version ${root.bundle.document.version}`, root.bundle.document]]
        : [],
    ),
  ]
  const clock = clockAlarm(now, newest)
  if (clock !== null) alarms.push(clock)
  for (const [about, bundle] of bundles) {
    const { stage, reason } = ageOf(bundle, limits, now)
    if (stage !== 'fresh') alarms.push({ stage, about, message: `${about}: ${reason ?? ''}` })
  }
  for (const root of document.foreign) {
    const days = Math.floor((now - root.fetched) / DAY)
    if (root.kind === 'enclave' || days < limits.warnAfterDays) continue
    const message = `the carried root ${root.name} was fetched ${dayOf(root.fetched)}, ${days} days ago`
    alarms.push({ stage: 'warn', about: root.name, message })
  }
  for (const { name, end } of expiriesOf(document)) {
    if (end - now > limits.alarmDays * DAY) continue
    const message = `${name} ${now > end ? 'expired' : 'expires'} ${dayOf(end)}`
    alarms.push({ stage: 'warn', about: name, message })
  }
  return alarms
}

/** What the log has signed is proof that its moment has been: a clock far from it is wrong, or the site slept for years. */
function clockAlarm(now: number, newest: number): Alarm | null {
  const about = 'clock'
  if (newest === 0) return null
  if (now < newest - CLOCK_TOLERANCE) {
    const message = `the clock of this machine says ${dayOf(now)}, and the newest log entry is of ${dayOf(newest)}: the clock is wrong`
    return { stage: 'clock', about, message }
  }
  if (now <= newest + SUSPICIOUS_GAP) return null
  const message = `the clock of this machine says ${dayOf(now)}, and the newest log entry is of ${dayOf(newest)}: the clock is wrong, or nothing was logged for years`
  return { stage: 'clock', about, message }
}

/** Ends of validity that lie ahead: of active keys, and of authorities. */
function expiriesOf({ keys, trustedRoot }: TrustDocument): { name: string; end: number }[] {
  const found: { name: string; end: number }[] = []
  for (const { name, state, validFor } of keys) {
    const end = validFor?.end ?? null
    if (state === 'active' && end !== null) found.push({ name: `key ${name}`, end })
  }
  for (const member of ['certificateAuthorities', 'timestampAuthorities'] as const) {
    const list = trustedRoot[member]
    for (const item of Array.isArray(list) ? list : []) {
      const { uri, validFor } = item as { uri?: string; validFor?: { end?: string } }
      const end = Date.parse(validFor?.end ?? '')
      if (!Number.isNaN(end)) found.push({ name: `authority ${uri ?? ''}`, end })
    }
  }
  return found
}

function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}
