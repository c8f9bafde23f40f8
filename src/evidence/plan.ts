import { AirsealError, publicKeyFromPem } from '../core/index.ts'
import { type Policy, type Trust, trustFromRoot, type TrustedKey } from '../verify/index.ts'
import type { DemandSpec } from './demand.ts'
import type { NamedDemand } from './image.ts'
import type { VerifyRequest } from './request.ts'
import type { SiteTrust } from './site-trust.ts'

/** What is asked of each image, in terms of what is trusted now. */
export interface Plan {
  readonly trust: Trust
  readonly demands: readonly NamedDemand[]
}

/**
 * Joins demands and trust. A name selects among the trusted keys; a PEM key is trusted for this request, and is the site's own where the site
 * knows it: what it knows about that key, its end for instance, holds however the key is named.
 * @throws AirsealError KEY_UNKNOWN, KEY_INVALID, KEY_UNSUPPORTED
 */
export function planOf(
  specs: readonly DemandSpec[],
  { trustedRoot, ownPki }: Pick<VerifyRequest, 'trustedRoot' | 'ownPki'>,
  own: SiteTrust,
): Plan {
  const keys = new Map<string, TrustedKey>(own.keys.map((key) => [key.name, key]))
  const demands = specs.map((spec) => demandOf(spec, keys, own))
  const believed = trustedRoot === null ? own.believed : trustFromRoot(trustedRoot)
  const authorities = [...(believed.authorities ?? []), ...ownPki]
  return {
    trust: { ...believed, authorities, keys: [...keys.values()], revoked: own.revoked },
    demands,
  }
}

function demandOf(spec: DemandSpec, keys: Map<string, TrustedKey>, own: SiteTrust): NamedDemand {
  const common: Policy = {
    annotations: spec.annotations,
    requireLog: spec.requireLog,
    logThreshold: spec.logThreshold ?? undefined,
    predicateType: spec.predicateType ?? undefined,
    identity: spec.identity ?? undefined,
    requireSct: spec.requireSct,
    timestampThreshold: spec.timestampThreshold ?? undefined,
    conditions: spec.conditions,
  }
  const byIdentity = spec.identities.map((signer): Policy => ({ ...common, signer }))
  const named =
    spec.keys === null
      ? byIdentity.length > 0
        ? []
        : own.keys.map(({ name }) => name)
      : spec.keys.map((key) => nameOf(key, keys, own))
  const byKey = named.length > 0 || byIdentity.length === 0 ? [{ ...common, keys: named }] : []
  return {
    kind: spec.predicateType === null ? 'signature' : 'attestation',
    name: spec.name,
    predicateType: spec.predicateType,
    threshold: spec.threshold,
    policies: [...byKey, ...byIdentity],
  }
}

/** Name of a trusted key; one that is given as PEM is added to `keys` under a name that no trusted key can have. */
function nameOf(wanted: string, keys: Map<string, TrustedKey>, own: SiteTrust): string {
  if (!wanted.includes('-----BEGIN')) {
    if (own.keys.some(({ name }) => name === wanted)) return wanted
    throw new AirsealError('KEY_UNKNOWN', `there is no trusted key named "${wanted.slice(0, 80)}"`)
  }
  const key = publicKeyFromPem(wanted)
  for (const [name, known] of keys) if (known.key.id === key.id) return name
  const given = [...keys.keys()].filter((name) => name.startsWith(GIVEN)).length
  const name = given === 0 ? GIVEN : `${GIVEN} ${given + 1}`
  keys.set(name, { name, key, validFor: null })
  return name
}

const GIVEN = 'given key'
