import {
  AirsealError,
  fromPem,
  publicKeyFromSpki,
  sha256Hex,
  toBase64,
  toPem,
  utf8,
} from '../core/index.ts'
import type { PublicKey } from '../core/index.ts'
import { issuedBy, parseCertificate } from '../x509/index.ts'
import { entryError } from './problems.ts'

/** What an entry names as the maker of its signature: a public key, or a certificate with its chain. */
export interface Verifier {
  readonly key: PublicKey
  /** base64 of the canonical PEM: what is stored. */
  readonly content: string
  /** `sha256:` and the hash of the canonical PEM, by which entries of this key are found. */
  readonly searchKey: string
  /** Search keys `subject:…` of the names in the certificate. Marked as such, or a certificate could pose as the digest of something else. */
  readonly subjects: readonly string[]
}

const MAX_CHAIN = 10
const MAX_PEM_BYTES = 64 * 1024
const MAX_SUBJECTS = 16
const MAX_SUBJECT_LENGTH = 512
const CACHED = 1024

/**
 * Reading a key costs as much as verifying with it, and most entries come from few keys. The text that was sent is the name in the cache, so
 * an attacker can only push others out, never be taken for them.
 */
export class VerifierCache {
  readonly #byContent = new Map<string, Verifier>()

  /** @param content base64 of the PEM, as sent. @throws AirsealError ENTRY_INVALID */
  read(content: string, pem: () => Uint8Array): Verifier {
    const known = this.#byContent.get(content)
    if (known !== undefined) {
      // Moved to the end: the first of the map is the one not used for longest.
      this.#byContent.delete(content)
      this.#byContent.set(content, known)
      return known
    }
    const verifier = parseVerifier(pem())
    this.#byContent.set(content, verifier)
    if (this.#byContent.size > CACHED) {
      for (const oldest of this.#byContent.keys()) {
        this.#byContent.delete(oldest)
        break
      }
    }
    return verifier
  }
}

/**
 * Reads attacker-controlled PEM: one `PUBLIC KEY`, or a chain of `CERTIFICATE`, leaf first, each issued by the next. Like Rekor it asks
 * neither for expiry nor for a trusted issuer: a log records, it does not judge.
 * @throws AirsealError ENTRY_INVALID
 */
export function parseVerifier(pem: Uint8Array): Verifier {
  if (pem.length > MAX_PEM_BYTES)
    throw entryError(`invalid public key: more than ${MAX_PEM_BYTES} bytes`)
  const blocks = splitPem(
    Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength).toString('latin1').trim(),
  )
  try {
    const [first] = blocks
    if (first?.label === 'PUBLIC KEY' && blocks.length === 1) {
      const key = publicKeyFromSpki(first.der)
      return verifierOf(key, key.pem, [])
    }
    return certificateVerifier(blocks)
  } catch (error) {
    if (!(error instanceof AirsealError) || error.code === 'ENTRY_INVALID') throw error
    const why =
      error.code === 'KEY_UNSUPPORTED' ? 'entry algorithms are not allowed' : 'invalid public key'
    throw entryError(`${why}: ${error.message}`, error)
  }
}

interface PemBlock {
  readonly label: string
  readonly der: Uint8Array
}

/** Nothing but blocks: what stands between them would be lost in the canonical form. */
function splitPem(text: string): readonly PemBlock[] {
  const parts = text.split(/(?<=-----END [A-Z0-9 ]{1,64}-----)\s*(?=-----BEGIN )/)
  if (parts.length > MAX_CHAIN)
    throw entryError(`invalid public key: more than ${MAX_CHAIN} certificates`)
  return parts.map((part) => {
    try {
      return fromPem(part)
    } catch (cause) {
      throw entryError('invalid public key: failure decoding PEM', cause)
    }
  })
}

function certificateVerifier(blocks: readonly PemBlock[]): Verifier {
  const other = blocks.find(({ label }) => label !== 'CERTIFICATE')
  if (other !== undefined) {
    throw entryError(
      `invalid public key: cannot handle type ${other.label}; send one PUBLIC KEY, or CERTIFICATE blocks, leaf first`,
    )
  }
  const chain = blocks.map(({ der }) => parseCertificate(der))
  const [leaf] = chain
  if (leaf === undefined) throw entryError('invalid public key: failure decoding PEM')
  let child = leaf
  for (const issuer of chain.slice(1)) {
    if (!issuedBy(child, issuer, leaf.notBefore)) {
      throw entryError(
        'invalid public key: a certificate of the chain was not issued by the one that follows',
      )
    }
    child = issuer
  }
  const subjects = leaf.subjectAltNames
    .map(({ value }) => value)
    .filter((value) => value !== '' && value.length <= MAX_SUBJECT_LENGTH)
  return verifierOf(
    leaf.publicKey,
    chain.map(({ der }) => toPem('CERTIFICATE', der)).join(''),
    subjects.slice(0, MAX_SUBJECTS).map(subjectKey),
  )
}

/** Search key of a certificate's name; letter case does not count. */
export function subjectKey(name: string): string {
  return `subject:${name.toLowerCase()}`
}

function verifierOf(key: PublicKey, pem: string, subjects: readonly string[]): Verifier {
  return { key, content: toBase64(utf8(pem)), searchKey: `sha256:${sha256Hex(pem)}`, subjects }
}
