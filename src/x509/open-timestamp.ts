import type { TimestampToken } from './timestamp.ts'
import type { Link } from './path.ts'

/** A token with its check; see {@link TimestampToken}. */
export interface OpenTimestamp extends Pick<TimestampToken, 'signer' | 'embedded' | 'time'> {
  /**
   * Whether `signer`, chosen and trusted by the caller, signed the token over exactly `stamped`.
   * @returns what is wrong, null when nothing is
   * @throws AirsealError KEY_INVALID
   */
  verify(signer: Link, stamped: Uint8Array): Promise<string | null>
}

/**
 * Reads an attacker-controlled TimeStampResp. The reader is loaded with the first one, since most signatures carry none.
 * @throws AirsealError KEY_INVALID
 */
export async function openTimestamp(der: Uint8Array): Promise<OpenTimestamp> {
  const { readTimestamp, verifyTimestamp } = await import('./timestamp.ts')
  const token = readTimestamp(der)
  const { signer, embedded, time } = token
  return { signer, embedded, time, verify: (by, stamped) => verifyTimestamp(token, by, stamped) }
}
