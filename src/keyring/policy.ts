import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'

/** What a key may be used for: images, statements, airseal's own documents, and digests whose content airseal can't see. */
export type UseKind = 'sign' | 'attest' | 'document' | 'digest'

/** What one key may sign. Every member that is null demands nothing. */
export interface KeyPolicy {
  /** Globs of repositories, `HOST[:PORT]/NAME`, or `oci:DIRECTORY` for layouts; every name that a signature bears must match one. */
  readonly repositories: readonly string[] | null
  /** Kinds of use; null: all but `digest`, which opens the doors for stock cosign. */
  readonly payloads: readonly UseKind[] | null
  /** Predicate types (URIs) that may be attested. */
  readonly predicateTypes: readonly string[] | null
  /** Annotations that every signature of an image must carry: name → glob of the value. */
  readonly requiredAnnotations: Readonly<Record<string, string>> | null
  /** Names of the annotations that may be signed. */
  readonly allowedAnnotations: readonly string[] | null
  /** Signatures on one day (UTC), and ever; counted by the audit trail. An image in both formats is two. */
  readonly maxPerDay: number | null
  readonly maxLifetime: number | null
  /** When it may sign, UTC: within any of them. */
  readonly windows: readonly TimeWindow[] | null
  /** Unix milliseconds; it signs from the first on, and before the second. */
  readonly notBefore: number | null
  readonly notAfter: number | null
  /** The digest must be that of a manifest in its repository, and airseal must have seen it there. */
  readonly requireExisting: boolean
}

/** Minutes from midnight UTC, `to` excluded, on some days of the week. */
export interface TimeWindow {
  /** 0 is Sunday. */
  readonly days: readonly number[]
  readonly from: number
  readonly to: number
}

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
const KINDS: readonly UseKind[] = ['sign', 'attest', 'document', 'digest']
const MEMBERS = [
  'repositories',
  'payloads',
  'predicateTypes',
  'requiredAnnotations',
  'allowedAnnotations',
  'maxPerDay',
  'maxLifetime',
  'windows',
  'notBefore',
  'notAfter',
  'requireExisting',
] as const
const MAX_ITEMS = 200
const MAX_TEXT = 512

/**
 * Reads a policy; what it does not know it refuses.
 * @param resolveType - makes a predicate type of a short name such as `cyclonedx`
 * @throws AirsealError REQUEST_INVALID naming the member
 */
export function parseKeyPolicy(
  value: Json,
  resolveType: (name: string) => string = (name) => name,
): KeyPolicy {
  if (!isObject(value)) throw invalid('policy', 'must be a set of members')
  for (const name of Object.keys(value)) {
    if (!MEMBERS.some((member) => member === name))
      throw invalid(name, `is not known; known: ${MEMBERS.join(', ')}`)
  }
  const policy: KeyPolicy = {
    repositories: texts(value, 'repositories'),
    payloads: texts(value, 'payloads')?.map(kindOf) ?? null,
    predicateTypes: texts(value, 'predicateTypes')?.map(resolveType) ?? null,
    requiredAnnotations: annotations(value),
    allowedAnnotations: texts(value, 'allowedAnnotations'),
    maxPerDay: count(value, 'maxPerDay'),
    maxLifetime: count(value, 'maxLifetime'),
    windows: windows(value),
    notBefore: moment(value, 'notBefore'),
    notAfter: moment(value, 'notAfter'),
    requireExisting: flag(value, 'requireExisting'),
  }
  checkSense(policy)
  return policy
}

/** The policy as it is written and shown; members that demand nothing are left out. */
export function policyJson(policy: KeyPolicy): JsonObject {
  const { windows, notBefore, notAfter, requireExisting, ...plain } = policy
  const members: Record<string, Json | null> = {
    ...(plain as unknown as JsonObject),
    windows:
      windows?.map(({ days, from, to }) => ({
        days: days.map((day) => DAYS[day] ?? ''),
        from: clockText(from),
        to: clockText(to),
      })) ?? null,
    notBefore: notBefore === null ? null : new Date(notBefore).toISOString(),
    notAfter: notAfter === null ? null : new Date(notAfter).toISOString(),
    requireExisting: requireExisting ? true : null,
  }
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null))
}

function checkSense({
  requiredAnnotations,
  allowedAnnotations,
  notBefore,
  notAfter,
}: KeyPolicy): void {
  const names = Object.keys(requiredAnnotations ?? {})
  const denied = names.find((name) => allowedAnnotations?.includes(name) === false)
  if (denied !== undefined)
    throw invalid('allowedAnnotations', `lacks "${denied}", which is required`)
  if (notBefore !== null && notAfter !== null && notBefore >= notAfter)
    throw invalid('notAfter', 'is not after notBefore')
}

function texts(members: JsonObject, name: string): readonly string[] | null {
  const value = members[name] ?? null
  if (value === null) return null
  const isList = Array.isArray(value) && value.length > 0 && value.length <= MAX_ITEMS
  // An empty list would allow nothing, which is what retiring a key is for: more likely it is a slip.
  if (!isList || !value.every((item) => typeof item === 'string' && isText(item)))
    throw invalid(name, `must be a list of 1 to ${MAX_ITEMS} texts`)
  return value as string[]
}

function kindOf(text: string): UseKind {
  const kind = KINDS.find((one) => one === text)
  if (kind === undefined) throw invalid('payloads', `must be of ${KINDS.join(', ')}`)
  return kind
}

function annotations(members: JsonObject): Readonly<Record<string, string>> | null {
  const value = members['requiredAnnotations'] ?? null
  if (value === null) return null
  const entries = isObject(value) ? Object.entries(value) : []
  if (!isObject(value) || entries.length === 0 || entries.length > MAX_ITEMS)
    throw invalid('requiredAnnotations', `must be a set of 1 to ${MAX_ITEMS} texts by name`)
  for (const [name, item] of entries) {
    if (!isText(name) || typeof item !== 'string' || !isText(item))
      throw invalid(`requiredAnnotations.${name.slice(0, 80)}`, 'must be a text')
  }
  return Object.fromEntries(entries) as Record<string, string>
}

function count(members: JsonObject, name: string): number | null {
  const value = members[name] ?? null
  if (value === null) return null
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    throw invalid(name, 'must be a whole number from 1')
  return value
}

function windows(members: JsonObject): readonly TimeWindow[] | null {
  const value = members['windows'] ?? null
  if (value === null) return null
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ITEMS)
    throw invalid('windows', 'must be a list of {days, from, to}')
  return value.map((item) => {
    const known =
      isObject(item) && Object.keys(item).every((name) => /^(?:days|from|to)$/.test(name))
    if (!isObject(item) || !known) throw invalid('windows', 'must be a list of {days, from, to}')
    const days = (texts(item, 'days') ?? DAYS).map((day) => DAYS.findIndex((one) => one === day))
    if (days.includes(-1)) throw invalid('windows.days', `must be of ${DAYS.join(', ')}`)
    const from = minutes(item['from'] ?? '00:00', 'windows.from')
    const to = minutes(item['to'] ?? '24:00', 'windows.to')
    if (from >= to)
      throw invalid('windows.to', 'is not after from: write two windows for a night (UTC)')
    return { days, from, to }
  })
}

function minutes(value: Json, name: string): number {
  const [, hour, minute] =
    /^([01]\d|2[0-4]):([0-5]\d)$/.exec(typeof value === 'string' ? value : '') ?? []
  const found = Number(hour) * 60 + Number(minute)
  if (hour === undefined || found > 1_440)
    throw invalid(name, 'must be HH:MM, from 00:00 to 24:00 UTC')
  return found
}

function clockText(minutes: number): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`
}

function moment(members: JsonObject, name: string): number | null {
  const value = members[name] ?? null
  if (value === null) return null
  const isForm =
    typeof value === 'string' &&
    /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{3})?)?Z)?$/.test(value)
  const time = isForm ? Date.parse(value) : NaN
  if (Number.isNaN(time)) throw invalid(name, 'must be a time such as 2027-01-31T12:00:00Z')
  return time
}

function flag(members: JsonObject, name: string): boolean {
  const value = members[name] ?? false
  if (typeof value !== 'boolean') throw invalid(name, 'must be true or false')
  return value
}

function isText(text: string): boolean {
  return text !== '' && text.length <= MAX_TEXT
}

function invalid(name: string, message: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `key policy: ${name} ${message}`)
}
