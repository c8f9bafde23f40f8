import { fromPem, sha256Hex } from '../core/index.ts'
import type { HashName, PublicKey } from '../core/index.ts'
import { parseEntryBody } from '../sigstore/index.ts'
import { type Certified, readCertified } from './certified.ts'
import type { Claim } from './examine.ts'
import type { EvidenceUsed, Policy, Trust, TrustedKey } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'
import { findSigner, selectKeys } from './signature.ts'

/** Who made the signature of a claim: a trusted key, or a certificate that is still to be judged. */
export interface ClaimSigner {
  readonly key: PublicKey
  /** Null for Ed25519, which hashes by itself. */
  readonly hash: HashName | null
  readonly trustedKey: TrustedKey | null
  readonly certified: Certified | null
  readonly used: Pick<EvidenceUsed, 'keyId' | 'keyName' | 'identity' | 'hash'>
}

/**
 * Verifies the signature of a claim. A policy that demands a signer takes certificates only, any other takes keys only: a certificate is never
 * a way around a demanded key, nor the other way round.
 */
export function findClaimedSigner(
  claim: Claim,
  trust: Trust,
  policy: Policy,
): Promise<ClaimSigner | Refusal> {
  return policy.signer === undefined ? byKey(claim, trust, policy) : byCertificate(claim)
}

async function byKey(claim: Claim, trust: Trust, policy: Policy): Promise<ClaimSigner | Refusal> {
  if (claim.certificates !== null) {
    return refusal(
      'UNSUPPORTED',
      'the signature was made with a certificate, and keys are demanded',
    )
  }
  const keys = selectKeys(trust, policy)
  if ('reason' in keys) return keys
  const signer = await findSigner(keys, claim.signed, claim.signature, claimedKeys(claim))
  if ('reason' in signer) return signer
  const { key, name } = signer.key
  return {
    key,
    hash: signer.hash,
    trustedKey: signer.key,
    certified: null,
    used: { keyId: key.id, keyName: name, identity: null, hash: signer.hash },
  }
}

async function byCertificate(claim: Claim): Promise<ClaimSigner | Refusal> {
  if (claim.certificates === null) {
    return refusal(
      'UNSUPPORTED',
      'the signature was made with a bare key, and an identity is demanded',
    )
  }
  const certified = readCertified(claim.certificates)
  if ('reason' in certified) return certified
  const key = certified.leaf.certificate.publicKey
  const candidates = [{ name: 'certificate', key, validFor: null }]
  const signer = await findSigner(candidates, claim.signed, claim.signature, new Set([key.id]))
  if ('reason' in signer) {
    return refusal(
      'SIGNATURE_INVALID',
      'the signature does not verify with the key of its certificate',
    )
  }
  return {
    key,
    hash: signer.hash,
    trustedKey: null,
    certified,
    used: { keyId: key.id, keyName: null, identity: certified.identity, hash: signer.hash },
  }
}

/** Keys that hint and log entries name: they say whose signature it is meant to be. */
function claimedKeys({ keyHint, entries }: Claim): ReadonlySet<string> {
  const claimed = new Set(keyHint === null ? [] : [keyHint])
  for (const { body } of entries) {
    for (const pem of verifiersOf(body)) {
      try {
        claimed.add(sha256Hex(fromPem(pem).der))
      } catch {
        // Not a key: names nobody. The entry itself is judged later.
      }
    }
  }
  return claimed
}

function verifiersOf(bytes: Uint8Array): readonly string[] {
  try {
    const body = parseEntryBody(bytes)
    if ('verifierPem' in body) return [body.verifierPem]
    return 'signatures' in body ? body.signatures.map(({ verifierPem }) => verifierPem) : []
  } catch {
    return []
  }
}
