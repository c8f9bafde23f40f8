import { createHash } from 'node:crypto'
import { AirsealError, verifyMessage, type PublicKey } from '../src/core/index.ts'
import type { SignInput } from './backend.ts'
import type { Signer } from './signer.ts'

export interface UnverifiedSigner {
  readonly name: string
  readonly publicKey: PublicKey
  sign(input: SignInput): Promise<Uint8Array>
  close(): Promise<void>
}

/**
 * The one place where a signature is released: only after it verifies with the pinned key over exactly the bytes that were asked
 * for. A wrong one is discarded and not asked for again: a back-end that signs wrongly needs a person, not patience.
 */
export function verifiedSigner(key: UnverifiedSigner): Signer {
  const { name, publicKey } = key
  const { hash } = publicKey.algorithm
  let isClosed = false
  return {
    name,
    publicKey,
    async sign(message) {
      if (isClosed) throw new AirsealError('KEY_UNAVAILABLE', `key "${name}" is closed`)
      // A copy: the caller's buffer may change while a distant key signs.
      const copy = Uint8Array.from(message)
      const input = {
        message: copy,
        // When it is asked for: a key file hashes by itself.
        get digest() {
          return hash === null ? new Uint8Array() : createHash(hash).update(copy).digest()
        },
      }
      const signature = await key.sign(input)
      if (!(await verifyMessage(publicKey, hash ?? 'sha512', copy, signature))) {
        throw new AirsealError(
          'SIGNATURE_FAULT',
          `key "${name}" returned a signature that does not verify`,
        )
      }
      return signature
    },
    close() {
      isClosed = true
      return key.close()
    },
  }
}
