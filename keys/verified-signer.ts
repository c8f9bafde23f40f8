import { createHash } from 'node:crypto'
import {
  AirsealError,
  verifyDigest,
  verifyMessage,
  type HashName,
  type PublicKey,
} from '../src/core/index.ts'
import type { SignInput } from './backend.ts'
import type { DigestSigner } from './signer.ts'

export interface UnverifiedSigner {
  readonly name: string
  readonly publicKey: PublicKey
  /** Hash that signatures are made with; null for Ed25519. */
  readonly hash: HashName | null
  sign(input: SignInput): Promise<Uint8Array>
  close(): Promise<void>
}

const DIGEST_SIZES: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48, sha512: 64 }

/**
 * The one place where a signature is released: only after it verifies with the pinned key over exactly the bytes that were asked
 * for. A wrong one is discarded and not asked for again: a back-end that signs wrongly needs a person, not patience.
 */
export function verifiedSigner(key: UnverifiedSigner): DigestSigner {
  const { name, publicKey, hash } = key
  let isClosed = false

  async function released(
    input: SignInput,
    verify: (signature: Uint8Array) => Promise<boolean>,
  ): Promise<Uint8Array> {
    if (isClosed) throw new AirsealError('KEY_UNAVAILABLE', `key "${name}" is closed`)
    const signature = await key.sign(input)
    if (await verify(signature)) return signature
    throw new AirsealError(
      'SIGNATURE_FAULT',
      `key "${name}" returned a signature that does not verify`,
    )
  }

  return {
    name,
    publicKey,
    hash,
    async sign(message) {
      // A copy: the caller's buffer may change while a distant key signs.
      const copy = Uint8Array.from(message)
      const input = {
        message: copy,
        hash,
        // When it is asked for: a key file hashes by itself.
        get digest() {
          return hash === null ? new Uint8Array() : createHash(hash).update(copy).digest()
        },
      }
      return released(input, (signature) =>
        verifyMessage(publicKey, hash ?? 'sha512', copy, signature),
      )
    },
    async signDigest(digest) {
      if (hash === null) {
        throw new AirsealError('KEY_UNSUPPORTED', `key "${name}" is Ed25519 and signs no digests`)
      }
      if (digest.length !== DIGEST_SIZES[hash]) {
        throw new AirsealError(
          'REQUEST_INVALID',
          `key "${name}" signs ${hash} digests of ${DIGEST_SIZES[hash]} bytes, this has ${digest.length}`,
        )
      }
      const copy = Uint8Array.from(digest)
      return released({ message: null, digest: copy, hash }, (signature) =>
        verifyDigest(publicKey, hash, copy, signature),
      )
    },
    close() {
      isClosed = true
      return key.close()
    },
  }
}
