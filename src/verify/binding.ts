import { bytesEqual, fromPem, sha256Hex } from '../core/index.ts'
import type { HashName, PublicKey } from '../core/index.ts'
import type { BodyHash, BodySignature, EntryBody } from '../sigstore/index.ts'
import { refusal, type Refusal } from './reasons.ts'

/** A verified signature, as a log entry must describe it. */
export interface Bound {
  readonly signature: Uint8Array
  readonly key: PublicKey
  /** Certificate that the key stands in, DER; null for a bare key. */
  readonly certificate: Uint8Array | null
  /** Hash of the signature; null for Ed25519. */
  readonly hash: HashName | null
  /** Hex of what was signed under a hash; null when only another digest is known. */
  readonly signedHash: (algorithm: HashName) => string | null
  /** Set when an envelope was signed. `text` is its exact stored text, null when it is part of a bundle. */
  readonly envelope: {
    readonly payload: Uint8Array
    readonly payloadType: string
    readonly text: string | null
  } | null
}

/**
 * Whether the entry is the entry of exactly this signature: same hash, same signature, same key, whatever the format. A valid entry of
 * anything else proves nothing (CVE-2022-23649, CVE-2022-36056, CVE-2026-22703).
 * @returns null when it is
 */
export function checkBinding(body: EntryBody, bound: Bound): Refusal | null {
  switch (body.kind) {
    case 'other':
      return refusal('UNSUPPORTED', 'the log entry is of a kind that is not judged')
    case 'hashedrekord':
      // The hash of the entry must be the one that the signature was made with, except for Ed25519, which has none.
      if (bound.hash !== null && body.hash.algorithm !== bound.hash)
        return mismatch('hash algorithm')
      if (body.hash.value !== bound.signedHash(body.hash.algorithm)) return mismatch('hash')
      return checkSignatures([body], bound)
    case 'dsse':
      return checkPayload(body.payloadHash, bound) ?? checkSignatures(body.signatures, bound)
    case 'intoto':
      if (body.version === '0.0.2') {
        if (body.payloadType !== bound.envelope?.payloadType) return mismatch('payload type')
        return checkPayload(body.payloadHash, bound) ?? checkSignatures(body.signatures, bound)
      }
      // intoto 0.0.1 holds no signature, only the hash of the whole envelope, signature included.
      if (typeof bound.envelope?.text !== 'string') {
        return refusal('UNSUPPORTED', 'an intoto 0.0.1 entry does not bind a bundle')
      }
      if (body.envelopeHash.algorithm !== 'sha256') return mismatch('hash algorithm')
      if (body.envelopeHash.value !== sha256Hex(bound.envelope.text)) return mismatch('envelope')
      return checkPayload(body.payloadHash, bound) ?? checkKey(body.verifierPem, bound)
  }
}

function checkPayload(payloadHash: BodyHash, { envelope }: Bound): Refusal | null {
  if (envelope === null || payloadHash.algorithm !== 'sha256') return mismatch('kind')
  return payloadHash.value === sha256Hex(envelope.payload) ? null : mismatch('payload')
}

/** One signature, ours: an entry with more is the entry of another envelope. */
function checkSignatures(signatures: readonly BodySignature[], bound: Bound): Refusal | null {
  const [only] = signatures
  if (only === undefined || signatures.length !== 1) return mismatch('number of signatures')
  if (!bytesEqual(only.signature, bound.signature)) return mismatch('signature')
  return checkKey(only.verifierPem, bound)
}

/** A certificate for the same key is another signer, and so is the bare key of a certificate. */
function checkKey(pem: string, bound: Bound): Refusal | null {
  return pemMatches(pem, bound)
    ? null
    : mismatch(bound.certificate === null ? 'key' : 'certificate')
}

function pemMatches(pem: string, { key, certificate }: Bound): boolean {
  try {
    const { label, der } = fromPem(pem)
    return certificate === null
      ? label === 'PUBLIC KEY' && bytesEqual(der, key.spki)
      : label === 'CERTIFICATE' && bytesEqual(der, certificate)
  } catch {
    return false
  }
}

function mismatch(what: string): Refusal {
  return refusal('ENTRY_MISMATCH', `the log entry has another ${what} than the signature`)
}
