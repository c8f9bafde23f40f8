import { AirsealError } from '../core/index.ts'
import { type Link, type OpenTimestamp, openTimestamp, USAGE, validatePath } from '../x509/index.ts'
import { CLOCK_SKEW_MS, within } from './log-entry.ts'
import type { TrustedAuthority } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

/** A time that a trusted authority vouched for, milliseconds since 1970. */
export interface Stamp {
  readonly time: number
  /** SHA-256 of the SPKI of the key that stamped, hex: two names for one key are one authority. */
  readonly keyId: string
}

/**
 * Checks time stamps over `stamped` (the signature, not what it signs). Stamps of authorities that are not trusted are passed over; everything of a
 * trusted one must be right. The signer is the one that the token names by issuer and serial number: certificates that the token
 * carries are believed only when they lead to the trusted anchor (CVE-2026-39984).
 */
export async function checkTimestamps(
  tokens: readonly Uint8Array[],
  stamped: Uint8Array,
  authorities: readonly TrustedAuthority[],
  now: number,
): Promise<readonly Stamp[] | Refusal> {
  const stamps: Stamp[] = []
  if (authorities.length === 0) return stamps
  for (const der of tokens) {
    try {
      const token = await openTimestamp(der)
      const found = await judge(token, stamped, authorities, now)
      if (found === null) continue
      if ('reason' in found) return found
      stamps.push(found)
    } catch (thrown) {
      if (!(thrown instanceof AirsealError)) throw thrown
      return refusal('TIMESTAMP_INVALID', thrown.message)
    }
  }
  return stamps
}

async function judge(
  token: OpenTimestamp,
  stamped: Uint8Array,
  authorities: readonly TrustedAuthority[],
  now: number,
): Promise<Stamp | Refusal | null> {
  let refused: Refusal | null = null
  for (const authority of authorities) {
    const signer = signerOf(token, authority)
    if (signer === null) continue
    refused = checkAuthority(token, signer, authority, now)
    if (refused !== null) continue
    const problem = await token.verify(signer, stamped)
    if (problem !== null) return refusal('TIMESTAMP_INVALID', `the time stamp ${problem}`)
    return { time: token.time, keyId: signer.certificate.publicKey.id }
  }
  return refused
}

/** The authority's own certificate when the trusted root holds it, else the one in the token; null when this is not the authority. */
function signerOf({ signer, embedded }: OpenTimestamp, { chain }: TrustedAuthority): Link | null {
  const known = chain.find(({ profile }) => !profile.authority.ca)
  if (known === undefined) {
    // Another authority's certificate is no sign of forgery, so it only means: not this one.
    return embedded !== null && leads(embedded, chain, []) === null ? embedded : null
  }
  const same =
    known.profile.serial === signer.serial &&
    Buffer.compare(known.profile.issuer, signer.issuer) === 0
  return same ? known : null
}

function checkAuthority(
  { time }: OpenTimestamp,
  signer: Link,
  { chain, validFor }: TrustedAuthority,
  now: number,
): Refusal | null {
  const { extendedKeyUsage, extensions } = signer.profile
  // RFC 3161 §2.3: this use alone, and critical.
  const critical = extensions.get('2.5.29.37')?.critical === true
  if (!critical || extendedKeyUsage?.length !== 1) {
    return refusal(
      'TIMESTAMP_INVALID',
      'the certificate of the authority is not for time stamps alone',
    )
  }
  if (!within(validFor, time)) {
    return refusal('TIMESTAMP_INVALID', 'the time stamp lies outside the validity of its authority')
  }
  if (time > now + CLOCK_SKEW_MS) {
    return refusal('TIMESTAMP_INVALID', 'the time stamp lies in the future')
  }
  const problem = leads(signer, chain, [time])
  return problem === null ? null : refusal('TIMESTAMP_INVALID', problem)
}

function leads(leaf: Link, chain: readonly Link[], times: readonly number[]): string | null {
  const anchor = chain.at(-1)
  if (anchor === undefined) return 'the authority has no certificate'
  const intermediates = chain.slice(0, -1).filter((link) => link !== leaf)
  const result = validatePath({ leaf, intermediates, anchor, usage: USAGE.timeStamping, times })
  return 'problem' in result ? result.problem : null
}
