import { AirsealError, isObject, type Json } from '../core/index.ts'
import { parseCertificates, type TrustedRoot } from '../sigstore/index.ts'
import { pinnedAuthority, type TrustedAuthority } from '../verify/index.ts'
import { DEMAND_MEMBERS, type DemandSpec, parseDemand } from './demand.ts'
import { Members } from './members.ts'
import { parsePolicyDocument, type VerificationPolicy } from './policy-document.ts'
import { parseRequestRoot, SIGNER_MEMBERS } from './signer-request.ts'

/** What to verify, from a command or from `POST /v1/verify`. */
export interface VerifyRequest {
  readonly images: readonly string[]
  /** All of them must hold; or the name of the policy that says what must. */
  readonly asked: readonly DemandSpec[] | { readonly policyName: string } | VerificationPolicy
  /** True: the registry is asked first, as cosign does, and what is known here counts only when it can't be reached. */
  readonly fresh: boolean
  /** Trusted for this request in place of the site's; null: the site's. */
  readonly trustedRoot: TrustedRoot | null
  /** Trusted for this request as well. */
  readonly ownPki: readonly TrustedAuthority[]
}

const COMMON = ['images', 'fresh', 'trustedRoot', 'caRoots', 'caIntermediates']
const DEMANDS = ['key', ...DEMAND_MEMBERS, ...SIGNER_MEMBERS]
const MAX_IMAGES = 100
const MAX_PEM = 256 * 1024

/**
 * Reads the body of `POST /v1/verify`: `images`, and either `policy` (the name of a stored one, or a whole one) or what is demanded: `key` or `keys`
 * with `keyThreshold`, or for certificates the members of {@link parseSigner}; `annotations`, `type` (a predicate type's name or URI:
 * then attestations are verified) with `conditions`, `identity` (a name or a list), `requireLog` (default true), `logThreshold`, `requireSct` (default
 * true), `timestampThreshold`. Beside both: `fresh`, `trustedRoot`, and `caRoots` and `caIntermediates` (PEM) for an own authority.
 * @throws AirsealError REQUEST_INVALID naming the member, PREDICATE_INVALID for an unknown type, EXPRESSION_INVALID, TRUST_INVALID, POLICY_INVALID
 */
export async function parseVerifyRequest(body: Json): Promise<VerifyRequest> {
  const members = new Members(body, [...COMMON, 'policy', ...DEMANDS])
  const ownPki = parseOwnPki(members)
  const common = {
    images: members.texts('images', MAX_IMAGES),
    fresh: members.flag('fresh', false),
    trustedRoot: parseRequestRoot(members.value('trustedRoot')),
    ownPki,
  }
  if (!members.has('policy')) {
    return { ...common, asked: [await parseDemand(members, ownPki.length > 0)] }
  }
  const beside = DEMANDS.find((name) => members.has(name))
  if (beside !== undefined)
    throw members.invalid(beside, 'stands beside policy, which says everything that is demanded')
  const policy = members.value('policy')
  return {
    ...common,
    asked: isObject(policy)
      ? await parsePolicyDocument(policy)
      : { policyName: members.text('policy', 128) ?? '' },
  }
}

/** Each certificate of `caRoots` is an anchor of its own; dates are those of the certificates themselves. */
function parseOwnPki(members: Members): readonly TrustedAuthority[] {
  const roots = members.text('caRoots', MAX_PEM)
  const between = members.text('caIntermediates', MAX_PEM)
  if (roots === null) {
    if (between !== null) throw members.invalid('caIntermediates', 'needs caRoots')
    return []
  }
  const [anchors, intermediates] = [roots, between ?? ''].map(certificatesOf)
  return (anchors ?? []).map((der, at) =>
    pinnedAuthority(`caRoots[${at}]`, [...(intermediates ?? []), der], { start: 0, end: null }),
  )
}

function certificatesOf(pem: string): readonly Uint8Array[] {
  try {
    return parseCertificates(pem)
  } catch (cause) {
    throw new AirsealError(
      'TRUST_INVALID',
      'caRoots and caIntermediates must be PEM certificates',
      {
        cause,
      },
    )
  }
}
