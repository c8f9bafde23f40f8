import { sha256Hex, type Json, type JsonObject } from '../core/index.ts'
import {
  currentOf,
  listsTargets,
  rolesOf,
  timeText,
  type Head,
  type RoleName,
  type Roles,
} from '../tuf/index.ts'
import { alarmJson, clockFault, expiryAlarms, type Alarm } from './tuf-health.ts'
import type { SiteTuf } from './tuf-site.ts'
import { versionsOf, type TufState } from './tuf-state.ts'

/** What an operator wants to know of the repository: versions, expiry, keys, alarms. */
export async function tufStatus(tuf: SiteTuf, state: TufState, now: number): Promise<JsonObject> {
  const current = currentOf(state.files)
  const roles = rolesOf(current.root.signed)
  const here = await tuf.rolesHere(state)
  const keys: JsonObject[] = []
  for (const [id, names] of usesOf(roles)) {
    const place = state.keys.find((one) => one.id === id)
    const isHere = place !== undefined && (await tuf.keys.isHere(place))
    keys.push({ id, roles: names, here: isHere, uri: place?.uri ?? null })
  }
  const alarms = tufAlarms(tuf, state, here, now)
  return {
    origin: state.origin,
    versions: versionsOf(state.files),
    expires: Object.fromEntries(
      Object.entries(current).map(([role, { expires }]) => [role, timeText(expires)]),
    ),
    rootSha256: sha256Hex(current.root.bytes),
    keys,
    thresholds: Object.fromEntries(
      Object.entries(roles).map(([role, { threshold }]) => [role, threshold]),
    ),
    signsHere: [...here],
    targets: targetNames(current.targets),
    alarms: alarms.map(alarmJson),
  }
}

/** What needs somebody's attention, of the clock, of age, of changes that can't be published here. */
export function tufAlarms(
  tuf: Pick<SiteTuf, 'lifetimes' | 'wanted'>,
  state: TufState,
  here: ReadonlySet<RoleName>,
  now: number,
): readonly Alarm[] {
  return [
    ...clockAlarms(state, now),
    ...expiryAlarms(currentOf(state.files), tuf.lifetimes, now),
    ...(state.origin === 'own' ? pendingAlarms(tuf, state, here) : []),
  ]
}

/** One line for the readiness of the service; the repository's troubles never take it out of use. */
export async function tufReadiness(tuf: SiteTuf, now: number): Promise<string> {
  if (tuf.mode === 'off') return 'off'
  const state = await tuf.stateOrNull()
  if (state === null) return 'there is none'
  const alarms = tufAlarms(tuf, state, await tuf.rolesHere(state), now)
  const { timestamp } = currentOf(state.files)
  return [
    `${state.origin}, good until ${timeText(timestamp.expires)}`,
    ...alarms.map(({ level, text }) => `${level}: ${text}`),
  ].join('; ')
}

function targetNames({ signed }: Head): Json[] {
  return Object.keys(signed['targets'] as JsonObject)
}

function usesOf(roles: Roles): ReadonlyMap<string, RoleName[]> {
  const uses = new Map<string, RoleName[]>()
  for (const [role, { keys }] of Object.entries(roles) as [RoleName, Roles[RoleName]][])
    for (const { id } of keys) uses.set(id, [...(uses.get(id) ?? []), role])
  return uses
}

function clockAlarms({ time }: TufState, now: number): Alarm[] {
  const text = clockFault(now, time)
  return text === null ? [] : [{ role: 'clock', level: 'critical', text }]
}

/** Trust that has changed and can't be published here. */
function pendingAlarms(
  tuf: Pick<SiteTuf, 'wanted'>,
  state: TufState,
  here: ReadonlySet<RoleName>,
): Alarm[] {
  if (here.has('targets') || listsTargets(currentOf(state.files).targets.signed, tuf.wanted()))
    return []
  const text =
    'the trust files have changed and the targets key is not here: run `airseal tuf propose targets`'
  return [{ role: 'trust', level: 'warning', text }]
}
