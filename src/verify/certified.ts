import { AirsealError } from '../core/index.ts'
import {
  type CertifiedIdentity,
  embeddedScts,
  type Link,
  parseCertificate,
  readIdentity,
  readProfile,
  USAGE,
  validatePath,
  verifySct,
} from '../x509/index.ts'
import { within } from './log-entry.ts'
import type { Policy, SignerPolicy, TextDemand, Trust, TrustedAuthority } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

/** The certificate of a signature, read; whether it counts is judged by {@link checkCertificate}. */
export interface Certified {
  readonly leaf: Link
  /** What came with it; believed by nobody. */
  readonly others: readonly Link[]
  readonly identity: CertifiedIdentity
}

/** Reads an attacker-controlled chain, leaf first, DER. */
export function readCertified(chain: readonly Uint8Array[]): Certified | Refusal {
  try {
    const [leaf, ...others] = chain.map((der) => {
      const certificate = parseCertificate(der)
      return { certificate, profile: readProfile(certificate) }
    })
    if (leaf === undefined) return refusal('CERTIFICATE_INVALID', 'there is no certificate')
    return { leaf, others, identity: readIdentity(leaf.profile) }
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('CERTIFICATE_INVALID', thrown.message)
  }
}

/**
 * Whether the certificate counts: issued by a trusted authority, the whole chain and the authority valid at *every* one of `times`, vouched for by
 * a certificate-transparency log, and of the signer that the policy demands.
 * @param times - proven times of signing, milliseconds since 1970, at least one
 */
export async function checkCertificate(
  certified: Certified,
  times: readonly number[],
  trust: Trust,
  policy: Policy & { readonly signer: SignerPolicy },
): Promise<Refusal | null> {
  const found = findAuthority(certified, times, trust.authorities ?? [])
  if ('reason' in found) return found
  const { path, authority } = found
  return (
    (policy.requireSct === false ? null : await checkScts(path, trust)) ??
    checkSigner(certified.identity, policy.signer, authority)
  )
}

interface Found {
  readonly path: readonly Link[]
  readonly authority: TrustedAuthority
}

function findAuthority(
  { leaf, others }: Certified,
  times: readonly number[],
  authorities: readonly TrustedAuthority[],
): Found | Refusal {
  let refused = refusal('CERTIFICATE_UNTRUSTED', 'no trusted authority issued the certificate')
  for (const authority of authorities) {
    const anchor = authority.chain.at(-1)
    if (anchor === undefined) continue
    const intermediates = [...authority.chain.slice(0, -1), ...(authority.pinned ? others : [])]
    const result = validatePath({ leaf, intermediates, anchor, usage: USAGE.codeSigning, times })
    if ('problem' in result) {
      if (result.outside) refused = refusal('CERTIFICATE_OUTSIDE_VALIDITY', result.problem)
      else if (refused.reason === 'CERTIFICATE_UNTRUSTED') {
        refused = refusal('CERTIFICATE_UNTRUSTED', result.problem)
      }
    } else if (times.every((time) => within(authority.validFor, time))) {
      return { path: result.path, authority }
    } else {
      refused = refusal(
        'CERTIFICATE_OUTSIDE_VALIDITY',
        'the authority was not trusted when the signature was made',
      )
    }
  }
  return refused
}

/** One timestamp of a trusted log suffices; those of other logs are passed over, a wrong one of a trusted log is not. */
async function checkScts(
  [leaf, issuer]: readonly Link[],
  { ctLogs = [] }: Trust,
): Promise<Refusal | null> {
  if (leaf === undefined || issuer === undefined)
    return refusal('SCT_INVALID', 'the certificate has no issuer')
  try {
    let good = 0
    for (const sct of embeddedScts(leaf)) {
      const log = ctLogs.find(({ logId }) => logId === sct.logId)
      if (log === undefined) continue
      if (!within(log.validFor, sct.time)) {
        return refusal('SCT_INVALID', 'the certificate was logged outside the validity of the log')
      }
      if (!(await verifySct(sct, log.key, leaf, issuer))) {
        return refusal('SCT_INVALID', 'a timestamp in the certificate is not by its log')
      }
      good += 1
    }
    return good > 0
      ? null
      : refusal('SCT_INVALID', 'the certificate has no timestamp of a trusted log')
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('SCT_INVALID', thrown.message)
  }
}

function checkSigner(
  { subjects, issuer, workflow }: CertifiedIdentity,
  demanded: SignerPolicy,
  { pinned }: TrustedAuthority,
): Refusal | null {
  if (demanded.issuer === null) {
    // An authority that vouches for many issuers would make the name alone ambiguous.
    if (!pinned)
      return refusal('POLICY_INVALID', 'no issuer is demanded, and the authority is not pinned')
  } else if (issuer === null || !meets(issuer, demanded.issuer)) {
    return refusal('ISSUER_MISMATCH', `the issuer is ${shown(issuer)}`)
  }
  if (!subjects.some((subject) => meets(subject, demanded.subject))) {
    return refusal('SUBJECT_MISMATCH', `the signer is ${shown(subjects[0] ?? null)}`)
  }
  for (const claim of ['trigger', 'sha', 'name', 'repository', 'ref'] as const) {
    const wanted = demanded.workflow?.[claim]
    if (wanted !== undefined && workflow[claim] !== wanted) {
      return refusal('WORKFLOW_MISMATCH', `the workflow's ${claim} is ${shown(workflow[claim])}`)
    }
  }
  return null
}

function meets(text: string, demand: TextDemand): boolean {
  return 'exact' in demand ? text === demand.exact : demand.pattern.matches(text)
}

function shown(text: string | null): string {
  return text === null ? 'not named' : `"${text.slice(0, 200)}"`
}
