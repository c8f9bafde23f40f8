import { hash as hashOnce, verify } from 'node:crypto'
import type { HashName } from './algorithms.ts'
import { loadNativeVerifier, type EcdsaVerifier } from './ecdsa-native.ts'
import { askPortable } from './ecdsa-portable.ts'
import type { EcdsaQuestion } from './ecdsa-signature.ts'
import { asAirsealError } from './errors.ts'
import type { PublicKey } from './public-key.ts'
import { verifyRsaDigest } from './rsa-digest.ts'

/** Bytes of a message that is hashed on the calling thread: less work than waking another one. */
const MAX_HASHED_HERE = 16_384

/**
 * Verifies `signature` over `message`, on the thread pool. ECDSA in ASN.1 DER, RSA PKCS#1 v1.5, Ed25519 pure (`hash` is then not used).
 * Never throws for a bad signature.
 */
export function verifyMessage(
  key: PublicKey,
  hash: HashName,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const isShort = key.algorithm.kind === 'ec' && message.length <= MAX_HASHED_HERE
  if (isShort && loadDigestVerifier().name === 'native') {
    // In batches with others: a hop to the thread pool for each costs as much again as verifying.
    return verifyDigest(key, hash, hashOnce(hash, message, 'buffer'), signature)
  }
  return new Promise((resolve) => {
    const algorithm = key.algorithm.kind === 'ed25519' ? null : hash
    verify(algorithm, message, key.handle, signature, (error, good) => {
      resolve(error === null && good)
    })
  })
}

/** Verifies one signature; see {@link verifyMessage}. */
export type MessageVerifier = (
  key: PublicKey,
  hash: HashName,
  signature: Uint8Array,
) => Promise<boolean>

/** Bytes that may be hashed again and again over one message, all attempts together: Ed25519 keys hash by themselves, each time. */
const MAX_REHASHED = 256 * 1024 * 1024

/**
 * Verifies any number of signatures over one message, which is hashed once for each hash function, however many keys are tried: a message of
 * megabytes and hundreds of attempts would be minutes of work. Attempts that hash by themselves are false beyond 256 MiB in all.
 */
export function messageVerifier(message: Uint8Array): MessageVerifier {
  const digests = new Map<HashName, Uint8Array>()
  let rehashed = 0
  return (key, hash, signature) => {
    const { kind } = key.algorithm
    if (kind === 'ed25519' || (kind === 'ec' && loadDigestVerifier().name === 'portable')) {
      rehashed += message.length
      return rehashed <= MAX_REHASHED || rehashed === message.length
        ? verifyMessage(key, hash, message, signature)
        : Promise.resolve(false)
    }
    const digest = digests.get(hash) ?? hashOnce(hash, message, 'buffer')
    digests.set(hash, digest)
    return verifyDigest(key, hash, digest, signature)
  }
}

/** How digests are verified in this process. */
export interface DigestVerifier {
  /** `native`: compiled, about 40 µs on the thread pool. `portable`: JavaScript, milliseconds in a worker thread. */
  readonly name: 'native' | 'portable'
  /** Why it is the portable one. */
  readonly reason?: string
}

const CURVE_NUMBERS: ReadonlyMap<string, EcdsaQuestion['curve']> = new Map([
  ['prime256v1', 0],
  ['secp384r1', 1],
  ['secp521r1', 2],
])
/** Bytes of a digest. */
export const DIGEST_SIZES: Readonly<Record<HashName, number>> = {
  sha256: 32,
  sha384: 48,
  sha512: 64,
}

let loaded: { about: DigestVerifier; ask: EcdsaVerifier } | undefined

function load(): { about: DigestVerifier; ask: EcdsaVerifier } {
  try {
    return { about: { name: 'native' }, ask: loadNativeVerifier() }
  } catch (error) {
    return { about: { name: 'portable', reason: asAirsealError(error).message }, ask: askPortable }
  }
}

/** Loads and tests the compiled verifier, once in a process; falls back to the portable one. Never throws. */
export function loadDigestVerifier(): DigestVerifier {
  loaded ??= load()
  return loaded.about
}

/**
 * Verifies `signature` over a digest that was computed elsewhere; `digest` has the length of `hash`. ECDSA in strict ASN.1 DER, RSA
 * PKCS#1 v1.5, Ed25519ph (RFC 8032, with sha512 only, empty context). The event loop is not blocked by it.
 * False for every bad signature.
 * @throws AirsealError OVERLOADED, INTERNAL when the verification could not be done
 */
export async function verifyDigest(
  key: PublicKey,
  hash: HashName,
  digest: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (digest.length !== DIGEST_SIZES[hash]) return false
  switch (key.algorithm.kind) {
    case 'rsa':
      return verifyRsaDigest(key, hash, digest, signature)
    case 'ed25519': {
      const point = key.spki.subarray(-32)
      return hash === 'sha512' && askPortable({ curve: 'ed25519ph', point, digest, signature })
    }
    case 'ec': {
      const curve = CURVE_NUMBERS.get(key.algorithm.curve ?? '')
      if (curve === undefined) return false
      loaded ??= load()
      return loaded.ask({ curve, point: key.point, digest, signature })
    }
  }
}
