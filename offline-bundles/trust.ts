import type { Digest } from '../src/core/index.ts'
import type { Revocations, Trust, TrustedKey } from '../src/verify/index.ts'

/** What a trust bundle says, as far as transfers need it. */
export interface CarriedTrust {
  readonly enclave: string
  readonly version: number
  readonly digest: Digest
  readonly keys: readonly TrustedKey[]
  readonly believed: Required<Omit<Trust, 'keys' | 'revoked'>>
  readonly revoked: Revocations
  /** Roots of vendors by name, for rules that ask for them. */
  readonly foreign: ReadonlyMap<
    string,
    {
      readonly keys: readonly TrustedKey[]
      readonly believed: Required<Omit<Trust, 'keys' | 'revoked'>>
    }
  >
}

/** Reads trust bundles; given by the composition root, so that this folder does not know their format. */
export interface TrustReader {
  /** Checks that a threshold of its own roots signed it. @throws AirsealError */
  read(bytes: Uint8Array): CarriedTrust
  /**
   * Whether `next` may take the place of `current`: roots in force signed it, versions do not go down.
   * @returns false: it is the same one
   * @throws AirsealError
   */
  update(current: Uint8Array, next: Uint8Array): boolean
}
