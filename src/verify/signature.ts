import { messageVerifier, verifyDigest } from '../core/index.ts'
import type { HashName } from '../core/index.ts'
import type { Policy, Trust, TrustedKey } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

/** What a signature signs: bytes, or only their digest. */
export type Signed =
  { readonly message: Uint8Array } | { readonly hash: HashName; readonly digest: Uint8Array }

/** The key that made a signature, and how. */
export interface Signer {
  readonly key: TrustedKey
  /** Null for Ed25519, which hashes by itself. */
  readonly hash: HashName | null
}

/** Keys tried on one signature at most; more is a configuration that wants splitting by policy. */
const MAX_KEYS = 100

/** The keys that count under `policy`, in the order of `trust`. */
export function selectKeys(trust: Trust, policy: Policy): readonly TrustedKey[] | Refusal {
  const wanted = policy.keys
  const keys =
    wanted === undefined ? trust.keys : trust.keys.filter(({ name }) => wanted.includes(name))
  if (keys.length === 0) return refusal('NO_TRUSTED_KEYS', 'no trusted key is selected')
  if (keys.length > MAX_KEYS) {
    return refusal('NO_TRUSTED_KEYS', `more than ${MAX_KEYS} trusted keys are selected`)
  }
  return keys
}

/**
 * The trusted key that made `signature`. Each key is tried with its own hash, then with SHA-256, which cosign uses for every curve.
 * @param claimedKeyIds - SPKI hashes (hex) that the evidence names. They change the order and the reason, never the result.
 */
export async function findSigner(
  keys: readonly TrustedKey[],
  signed: Signed,
  signature: Uint8Array,
  claimedKeyIds: ReadonlySet<string>,
): Promise<Signer | Refusal> {
  const claimed = keys.filter(({ key }) => claimedKeyIds.has(key.id))
  const verify = 'message' in signed ? messageVerifier(signed.message) : null
  for (const key of [...claimed, ...keys.filter((one) => !claimed.includes(one))]) {
    for (const hash of hashesOf(key)) {
      const good =
        'message' in signed
          ? await verify?.(key.key, hash ?? 'sha256', signature)
          : hash === signed.hash && (await verifyDigest(key.key, hash, signed.digest, signature))
      if (good === true) return { key, hash }
    }
  }
  const [first] = claimed
  return first === undefined
    ? refusal('KEY_MISMATCH', `the signature verifies with none of the ${keys.length} trusted keys`)
    : refusal(
        'SIGNATURE_INVALID',
        `the signature names the key "${first.name}" but does not verify with it`,
      )
}

function hashesOf({ key }: TrustedKey): readonly (HashName | null)[] {
  const own = key.algorithm.hash
  return own === null ? [null] : own === 'sha256' ? ['sha256'] : [own, 'sha256']
}
