import { AirsealError, concat, sha256, toHex, verifyMessage } from '../core/index.ts'
import type { PublicKey } from '../core/index.ts'
import { readDer, TAG, withTag } from './der.ts'
import type { Link } from './path.ts'
import { EXTENSION, tbsWithout } from './profile.ts'

/** Signed certificate timestamp (RFC 6962 §3.2); nothing about it is verified. */
export interface Sct {
  /** 64 lower-case hex digits. */
  readonly logId: string
  /** Milliseconds since 1970. */
  readonly time: number
  readonly extensions: Uint8Array
  readonly hashAlgorithm: number
  readonly signatureAlgorithm: number
  readonly signature: Uint8Array
}

const MAX_SCTS = 16
/** Digitally-signed header: SHA-256, then RSA or ECDSA (RFC 5246 §7.4.1.4.1). */
const SHA256 = 4
const SIGNATURE_OF: Readonly<Record<string, number>> = { rsa: 1, ec: 3 }

/** The timestamps embedded in a certificate; empty when there are none. @throws AirsealError KEY_INVALID */
export function embeddedScts({ profile }: Link): readonly Sct[] {
  const extension = profile.extensions.get(EXTENSION.sctList)
  if (extension === undefined) return []
  const list = new Reader(withTag(readDer(extension.value), TAG.octetString).content)
  const items = new Reader(list.vector())
  list.end()
  const found: Sct[] = []
  while (!items.done) {
    if (found.length === MAX_SCTS) throw invalid(`are more than ${MAX_SCTS}`)
    const sct = readSct(new Reader(items.vector()))
    if (sct !== null) found.push(sct)
  }
  return found
}

/** Null for another version than 1, which is passed over. */
function readSct(reader: Reader): Sct | null {
  if (reader.number(1) !== 0) return null
  const sct = {
    logId: toHex(reader.take(32)),
    time: reader.number(8),
    extensions: reader.vector(),
    hashAlgorithm: reader.number(1),
    signatureAlgorithm: reader.number(1),
    signature: reader.vector(),
  }
  reader.end()
  return sct
}

/**
 * Whether the log signed this timestamp for this certificate by this issuer (precert_entry).
 * @throws AirsealError KEY_INVALID
 */
export async function verifySct(
  sct: Sct,
  key: PublicKey,
  { certificate }: Link,
  issuer: Link,
): Promise<boolean> {
  if (sct.hashAlgorithm !== SHA256 || sct.signatureAlgorithm !== SIGNATURE_OF[key.algorithm.kind])
    return false
  const tbs = tbsWithout(certificate, EXTENSION.sctList)
  const time = Buffer.alloc(8)
  time.writeBigUInt64BE(BigInt(sct.time))
  const message = concat(
    Buffer.from([0, 0]),
    time,
    Buffer.from([0, 1]),
    sha256(issuer.certificate.publicKey.spki),
    Buffer.from([tbs.length >> 16, (tbs.length >> 8) & 0xff, tbs.length & 0xff]),
    tbs,
    Buffer.from([sct.extensions.length >> 8, sct.extensions.length & 0xff]),
    sct.extensions,
  )
  return verifyMessage(key, 'sha256', message, sct.signature)
}

/** Reads TLS presentation language (RFC 5246 §4). */
class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  take(count: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#at, this.#at + count)
    if (taken.length !== count) throw invalid('are cut off')
    this.#at += count
    return taken
  }

  number(size: number): number {
    let value = 0
    for (const byte of this.take(size)) value = value * 256 + byte
    if (!Number.isSafeInteger(value)) throw invalid('hold a number that is too large')
    return value
  }

  vector(): Uint8Array {
    return this.take(this.number(2))
  }

  end(): void {
    if (!this.done) throw invalid('have bytes after their end')
  }
}

function invalid(problem: string): AirsealError {
  return new AirsealError('KEY_INVALID', `the timestamps in the certificate ${problem}`)
}
