import { AirsealError } from '../core/index.ts'
import { matchesGlob } from './glob.ts'
import type { KeyPolicy, UseKind } from './policy.ts'
import type { KeyRecord } from './record.ts'

/** What a key is to be used for. Null members are unknown: a rule about them then refuses. */
export interface KeyUse {
  readonly kind: UseKind
  /** Who asks, as authenticated; for the audit trail. */
  readonly caller: string
  /** Every name that the signature bears or is stored under: `HOST[:PORT]/NAME`, or `oci:DIRECTORY`. */
  readonly repositories: readonly string[] | null
  /** Null where nothing is known; `{}` for statements, which have none. */
  readonly annotations: Readonly<Record<string, string>> | null
  /** URI of a statement's predicate type; null for other kinds. */
  readonly predicateType: string | null
  /** `sha256:…` of the image, or of what is signed. */
  readonly digest: string | null
  /** Whether airseal has seen that image in its repository just now. */
  readonly exists: boolean
}

/** The rule that refused, for programs. */
export type PolicyRule = keyof KeyPolicy

/**
 * Decides whether a key may be used; pure. Caps are counted by whoever signs, see {@link checkCaps}.
 * @param now - Unix milliseconds
 * @throws AirsealError KEY_STATE when it is not active, KEY_POLICY with details `{key, rule}`
 */
export function authoriseUse(key: KeyRecord, use: KeyUse, now: number): void {
  requireActive(key)
  const payloads = key.policy?.payloads ?? ['sign', 'attest', 'document']
  if (!payloads.includes(use.kind)) {
    const what = use.kind === 'digest' ? 'digests whose content is not known' : use.kind
    throw refusal(key, 'payloads', `it is not for ${what}`)
  }
  if (key.policy === null) return
  checkNames(key, key.policy, use)
  checkStatement(key, key.policy, use)
  checkAnnotations(key, key.policy, use)
  checkTime(key, key.policy, now)
  if (key.policy.requireExisting && !use.exists && use.kind !== 'document')
    throw refusal(key, 'requireExisting', 'the image was not seen in its repository')
}

/** @throws AirsealError KEY_STATE, which names the key that took over */
export function requireActive({ name, state, successor }: KeyRecord): void {
  if (state === 'active') return
  const next = successor === null ? '' : `; "${successor}" took over`
  throw new AirsealError('KEY_STATE', `key "${name}" is ${state} and signs nothing${next}`, {
    details: { key: name, state, successor },
  })
}

/**
 * @param used - signatures so far: on this UTC day, and ever
 * @throws AirsealError KEY_POLICY
 */
export function checkCaps(
  key: KeyRecord,
  used: { readonly today: number; readonly ever: number },
): void {
  const { maxPerDay = null, maxLifetime = null } = key.policy ?? {}
  if (maxLifetime !== null && used.ever >= maxLifetime)
    throw refusal(key, 'maxLifetime', `all its ${maxLifetime} signatures are made`)
  if (maxPerDay !== null && used.today >= maxPerDay)
    throw refusal(key, 'maxPerDay', `its ${maxPerDay} signatures of this day (UTC) are made`)
}

function checkNames(key: KeyRecord, { repositories }: KeyPolicy, use: KeyUse): void {
  if (repositories === null || use.kind === 'document') return
  if (use.repositories === null || use.repositories.length === 0)
    throw refusal(key, 'repositories', 'the repository is not known')
  const outside = use.repositories.find(
    (name) => !repositories.some((pattern) => matchesGlob(pattern, name)),
  )
  if (outside !== undefined)
    throw refusal(key, 'repositories', `it is not for ${outside.slice(0, 200)}`)
}

function checkStatement(key: KeyRecord, { predicateTypes }: KeyPolicy, use: KeyUse): void {
  if (predicateTypes === null || use.kind === 'sign' || use.kind === 'document') return
  if (use.predicateType === null || !predicateTypes.includes(use.predicateType)) {
    const type = use.predicateType?.slice(0, 200) ?? 'a predicate that is not known'
    throw refusal(key, 'predicateTypes', `it is not for ${type}`)
  }
}

function checkAnnotations(key: KeyRecord, policy: KeyPolicy, { kind, annotations }: KeyUse): void {
  const { requiredAnnotations, allowedAnnotations } = policy
  if (kind === 'attest' || kind === 'document') return
  if (requiredAnnotations === null && allowedAnnotations === null) return
  if (annotations === null)
    throw refusal(key, 'requiredAnnotations', 'the annotations are not known')
  for (const [name, pattern] of Object.entries(requiredAnnotations ?? {})) {
    const value = Object.hasOwn(annotations, name) ? annotations[name] : undefined
    if (value === undefined || !matchesGlob(pattern, value))
      throw refusal(key, 'requiredAnnotations', `annotation ${name}=${pattern} is required`)
  }
  const denied = Object.keys(annotations).find(
    (name) => allowedAnnotations?.includes(name) === false,
  )
  if (denied !== undefined)
    throw refusal(key, 'allowedAnnotations', `it does not sign annotation "${denied.slice(0, 80)}"`)
}

function checkTime(key: KeyRecord, { windows, notBefore, notAfter }: KeyPolicy, now: number): void {
  if (notBefore !== null && now < notBefore)
    throw refusal(key, 'notBefore', `it signs from ${new Date(notBefore).toISOString()} on`)
  if (notAfter !== null && now >= notAfter)
    throw refusal(key, 'notAfter', `it signed until ${new Date(notAfter).toISOString()}`)
  if (windows === null) return
  const date = new Date(now)
  const minute = date.getUTCHours() * 60 + date.getUTCMinutes()
  const isOpen = windows.some(
    ({ days, from, to }) => days.includes(date.getUTCDay()) && minute >= from && minute < to,
  )
  if (!isOpen) throw refusal(key, 'windows', 'this is not a time at which it signs (UTC)')
}

function refusal({ name }: KeyRecord, rule: PolicyRule, why: string): AirsealError {
  return new AirsealError('KEY_POLICY', `the policy of key "${name}" refuses: ${why}`, {
    details: { key: name, rule },
  })
}
