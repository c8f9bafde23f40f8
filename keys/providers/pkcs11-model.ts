import type { ObjectSelector, TokenSelector } from '../pkcs11-uri.ts'

/** What the worker is asked. The PIN travels to the worker of this process only. */
export type Pkcs11Request =
  | ({ readonly kind: 'open' } & Target)
  | {
      readonly kind: 'sign'
      /** From {@link OpenedKey}; of no use after the module was loaded anew. */
      readonly handle: string
      /** What the mechanism signs: a digest, a DigestInfo, or the message itself for Ed25519. */
      readonly input: Uint8Array
    }
  | ({ readonly kind: 'create'; readonly algorithm: string } & Target)

export interface Target {
  readonly token: TokenSelector
  readonly object: ObjectSelector
  /** UTF-8, in a buffer of its own: it goes over to the worker, which overwrites it. */
  readonly pin: Uint8Array<ArrayBuffer> | null
}

export type Pkcs11Answer =
  | { readonly kind: 'opened'; readonly key: OpenedKey }
  | { readonly kind: 'signed'; readonly signature: Uint8Array }
  | {
      readonly kind: 'failed'
      readonly reason: string
      /** `MODULE`, `ADDON`, or the code of a {@link Refusal}. */
      readonly code: string
      readonly isUnexpected: boolean
    }

export interface OpenedKey {
  readonly handle: string
  /** Public key as JSON Web Key. */
  readonly jwk: Readonly<Record<string, string>>
  readonly serial: string
  readonly tokenLabel: string
  /** CKA_ID, hex. */
  readonly id: string
  readonly sensitive: boolean
  readonly extractable: boolean
  readonly neverExtractable: boolean
  readonly local: boolean
}

/** Codes: PIN (refused: never again), LOCKED (the PIN was not tried), NO_PIN, ABSENT (no such token now), MISSING (no such key), AMBIGUOUS, UNSUPPORTED, EXISTS, STALE. */
export class Refusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.name = 'Refusal'
    this.code = code
  }
}
