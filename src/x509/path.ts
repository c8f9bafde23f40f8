import { bytesEqual } from '../core/index.ts'
import { type Certificate, issuedBy } from './certificate.ts'
import { EXTENSION, type Profile } from './profile.ts'

/** A certificate with its profile. */
export interface Link {
  readonly certificate: Certificate
  readonly profile: Profile
}

/** Extended key usages (RFC 5280 §4.2.1.12). */
export const USAGE = {
  codeSigning: '1.3.6.1.5.5.7.3.3',
  timeStamping: '1.3.6.1.5.5.7.3.8',
} as const
const ANY_USAGE = '2.5.29.37.0'

/** Certificates in one path at most, and signatures checked while looking for it. */
const MAX_PATH = 8
const MAX_CHECKS = 64

/** Extensions that are judged here; any other that is critical refuses the certificate. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  EXTENSION.keyUsage,
  EXTENSION.subjectAltName,
  EXTENSION.basicConstraints,
  EXTENSION.extendedKeyUsage,
])

/** A path from the leaf to the anchor, or what stands against one. */
export type PathResult =
  { readonly path: readonly Link[] } | { readonly problem: string; readonly outside: boolean }

export interface PathQuestion {
  readonly leaf: Link
  /** May stand between leaf and anchor. */
  readonly intermediates: readonly Link[]
  readonly anchor: Link
  /** Extended key usage that the leaf must have, see {@link USAGE}. */
  readonly usage: string
  /** Milliseconds since 1970 at which every certificate must hold. */
  readonly times: readonly number[]
}

/**
 * Finds and validates a path (RFC 5280 §6.1) from `leaf` to `anchor`: signatures, names, dates of the *whole* path at every one of `times`, CA bit,
 * path length, key usage, extended key usage nested through the authorities, no unknown critical extension. Name constraints are not
 * evaluated, so an authority that has them is refused.
 */
export function validatePath(question: PathQuestion): PathResult {
  const { leaf, usage } = question
  const wrong = leafProblem(leaf.profile, usage)
  if (wrong !== null) return { problem: wrong, outside: false }
  let budget = MAX_CHECKS
  let closest: PathResult = {
    problem: 'no trusted authority issued the certificate',
    outside: false,
  }
  const climb = (below: readonly Link[]): readonly Link[] | null => {
    const child = below.at(-1)
    if (child === undefined || below.length >= MAX_PATH) return null
    for (const issuer of [question.anchor, ...question.intermediates]) {
      if (below.includes(issuer) || budget-- <= 0) continue
      if (!issued(child, issuer)) continue
      const against = issuerProblem(issuer.profile, below, usage)
      if (against !== null) {
        closest = { problem: against, outside: false }
        continue
      }
      const found = issuer === question.anchor ? [...below, issuer] : climb([...below, issuer])
      if (found !== null) return found
    }
    return null
  }
  const path = climb([leaf])
  if (path === null) return closest
  for (const time of question.times) {
    const at = path.findIndex(
      ({ certificate: { notBefore, notAfter } }) => time < notBefore || time > notAfter,
    )
    if (at >= 0) {
      const which = at === 0 ? 'the certificate' : `the authority ${at} above the certificate`
      return { problem: `${which} was not valid when the signature was made`, outside: true }
    }
  }
  return { path }
}

/** Dates are judged later, for the whole path, so the issuer is asked about a time at which it was valid. */
function issued(child: Link, issuer: Link): boolean {
  return (
    bytesEqual(child.profile.issuer, issuer.profile.subject) &&
    issuedBy(child.certificate, issuer.certificate, issuer.certificate.notBefore)
  )
}

function leafProblem(
  { authority, keyUsage, extendedKeyUsage, extensions }: Profile,
  usage: string,
): string | null {
  if (authority.ca) return 'the certificate is that of an authority'
  if (keyUsage !== null && !keyUsage.digitalSignature)
    return 'the certificate is not for signatures'
  if (extendedKeyUsage?.includes(usage) !== true) return 'the certificate is for another use'
  return criticalProblem(extensions)
}

function issuerProblem(
  { authority, keyUsage, extendedKeyUsage, extensions }: Profile,
  below: readonly Link[],
  usage: string,
): string | null {
  if (!authority.ca) return 'a certificate was issued by one that is no authority'
  if (keyUsage !== null && !keyUsage.certSign) return 'an authority may not sign certificates'
  if (
    extendedKeyUsage !== null &&
    !extendedKeyUsage.includes(usage) &&
    !extendedKeyUsage.includes(ANY_USAGE)
  ) {
    return 'an authority is for another use'
  }
  // The leaf does not count, nor do authorities that issued themselves (RFC 5280 §6.1.4 l).
  const between = below
    .slice(1)
    .filter(({ profile }) => !bytesEqual(profile.issuer, profile.subject))
  if (authority.pathLength !== null && between.length > authority.pathLength) {
    return 'there are more authorities in between than one of them allows'
  }
  if (extensions.has(EXTENSION.nameConstraints))
    return 'an authority has name constraints, which are not judged'
  return criticalProblem(extensions)
}

function criticalProblem(extensions: Profile['extensions']): string | null {
  for (const [id, { critical }] of extensions) {
    if (critical && !UNDERSTOOD.has(id)) return `the critical extension ${id} is not understood`
  }
  return extensions.has(EXTENSION.precertificatePoison)
    ? 'the certificate is a precertificate'
    : null
}
