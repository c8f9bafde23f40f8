import { isObject, type Json, type JsonObject } from '../../core/index.ts'
import type { Facts } from '../judge/ports.ts'
import { parseImageName } from '../image/name.ts'

/** What keeps one attestor from working without Internet, as far as it can be seen in the policy. */
export interface Hazard {
  readonly path: string
  readonly kyverno: readonly string[]
  readonly airseal: readonly string[]
}

/** Looks through the attestors of one item of `verifyImages`, which has been parsed already. */
export function attestorHazards(entry: JsonObject, facts: Facts | null): readonly Hazard[] {
  const attested = list(entry['attestations']).flatMap((one, at) =>
    setsHazards(one['attestors'], `.attestations[${at}]`, facts),
  )
  return [...setsHazards(entry['attestors'], '', facts), ...oldHazards(entry, facts), ...attested]
}

function list(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

function setsHazards(sets: Json | undefined, path: string, facts: Facts | null): readonly Hazard[] {
  return list(sets).flatMap((set, at) => setHazards(set, `${path}.attestors[${at}]`, facts))
}

function setHazards(set: JsonObject, path: string, facts: Facts | null): readonly Hazard[] {
  return list(set['entries']).flatMap((entry, at): readonly Hazard[] => {
    const here = `${path}.entries[${at}]`
    if (isObject(entry['attestor'])) return setHazards(entry['attestor'], `${here}.attestor`, facts)
    for (const kind of ['keys', 'keyless', 'certificates'] as const) {
      const part = entry[kind]
      if (isObject(part)) return hazard(part, kind, `${here}.${kind}`, facts)
    }
    return []
  })
}

/** The deprecated members stand for an attestor that says nothing of logs. */
function oldHazards(entry: JsonObject, facts: Facts | null): readonly Hazard[] {
  const { key, issuer, roots } = entry
  if (typeof key === 'string') return hazard({ publicKeys: key }, 'keys', '.key', facts)
  return typeof issuer === 'string'
    ? hazard(roots === undefined ? {} : { roots }, 'keyless', '.issuer', facts)
    : []
}

function hazard(
  part: JsonObject,
  kind: 'keys' | 'keyless' | 'certificates',
  path: string,
  facts: Facts | null,
): readonly Hazard[] {
  const rekor = isObject(part['rekor']) ? part['rekor'] : null
  const ctlog = isObject(part['ctlog']) ? part['ctlog'] : null
  const ignored = rekor?.['ignoreTlog'] === true
  const kyverno = [
    ...(kind === 'keyless' && part['roots'] === undefined
      ? ['no roots: Kyverno takes the authorities from its TUF mirror']
      : []),
    ...(!ignored && rekor?.['pubkey'] === undefined
      ? [
          rekor === null
            ? 'no rekor: Kyverno demands an entry in rekor.sigstore.dev and takes the log key from its TUF mirror'
            : 'rekor without pubkey: Kyverno takes the log key from its TUF mirror',
        ]
      : []),
    ...(ctlog?.['ignoreSCT'] !== true && ctlog?.['pubkey'] === undefined
      ? [
          kind === 'keys'
            ? 'without ctlog.ignoreSCT Kyverno dials its TUF mirror even for a plain key'
            : 'without ctlog.ignoreSCT or ctlog.pubkey Kyverno dials its TUF mirror for the keys of the certificate log',
        ]
      : []),
  ]
  const airseal = facts === null ? [] : airsealHazards(part, kind, ignored, facts)
  return kyverno.length + airseal.length === 0 ? [] : [{ path, kyverno, airseal }]
}

function airsealHazards(
  part: JsonObject,
  kind: 'keys' | 'keyless' | 'certificates',
  ignored: boolean,
  facts: Facts,
): readonly string[] {
  const { believed } = facts.trust
  const rekor = isObject(part['rekor']) ? part['rekor'] : {}
  const ctlog = isObject(part['ctlog']) ? part['ctlog'] : {}
  const secret = secretOf(part)
  const kms = kmsUri(part)
  return [
    ...(kms !== null && facts.keysByUri(kms).length === 0
      ? [`no trusted key is registered here under ${kms}`]
      : []),
    ...(secret !== null && facts.secret(secret.namespace, secret.name) === null
      ? [`the Secret ${secret.namespace}/${secret.name} was not given to airseal`]
      : []),
    ...(kind === 'keyless' &&
    part['roots'] === undefined &&
    (believed.authorities ?? []).length === 0
      ? ['no certificate authority is trusted here, so no keyless signature can verify']
      : []),
    ...(kind === 'keyless' &&
    ctlog['ignoreSCT'] !== true &&
    ctlog['pubkey'] === undefined &&
    (believed.ctLogs ?? []).length === 0
      ? ['no certificate log is trusted here']
      : []),
    ...(!ignored && rekor['pubkey'] === undefined && believed.logs.length === 0
      ? ['no transparency log is trusted here']
      : []),
  ]
}

function secretOf({ secret }: JsonObject): { namespace: string; name: string } | null {
  if (!isObject(secret)) return null
  const { namespace, name } = secret
  return typeof namespace === 'string' && typeof name === 'string' ? { namespace, name } : null
}

function kmsUri(part: JsonObject): string | null {
  const { kms, publicKeys } = part
  if (typeof kms === 'string') return kms
  const text = typeof publicKeys === 'string' ? publicKeys.trim() : ''
  return /^[a-z0-9]+:\/\//.test(text) && !text.startsWith('k8s://') ? text : null
}

/** Holes in patterns of images: what the author most likely meant to cover and did not. */
export function patternHoles(references: readonly string[]): readonly string[] {
  return references.flatMap((pattern) => {
    if (pattern.endsWith(':*') && !references.includes(pattern.slice(0, -2) + '*'))
      return [
        `"${pattern}" does not cover references by digest: write "${pattern.slice(0, -2)}*" or add "${pattern.slice(0, -2)}@*"`,
      ]
    const first = pattern.split('/', 1)[0] ?? ''
    if (!pattern.includes('/') && !pattern.includes('*') && parses(pattern))
      return [`"${pattern}" matches nothing: images are compared as docker.io/${pattern}`]
    return first === 'docker.io' && pattern.startsWith('docker.io/library/')
      ? [`"${pattern}" does not cover short names: Kyverno reads nginx as docker.io/nginx`]
      : []
  })
}

function parses(text: string): boolean {
  try {
    parseImageName(text)
    return true
  } catch {
    return false
  }
}
