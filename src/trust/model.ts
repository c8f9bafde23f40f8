import type { JsonObject, PublicKey } from '../core/index.ts'
import type { Envelope } from '../sigstore/index.ts'

/** Payload type of a signed trust bundle. */
export const TRUST_PAYLOAD_TYPE = 'application/vnd.airseal.trust+json;version=1'

/** A key that signs trust bundles. */
export interface RootKey {
  readonly name: string
  readonly key: PublicKey
}

/** Who must sign the next bundle. */
export interface TrustRoots {
  /** Starts at 1 and grows by one with each change of the keys or the threshold. */
  readonly version: number
  /** Distinct keys that must sign, from 1 to their number. */
  readonly threshold: number
  readonly keys: readonly RootKey[]
}

/**
 * `active` signs. `verify-only` has signed and still counts. `retired` counts in the ranges that are given, and in no consumer's file.
 * `compromised` counts in the ranges that are given, and nowhere when none is.
 */
export type KeyState = 'active' | 'verify-only' | 'retired' | 'compromised'

/** Part of one log, both ends inclusive; null: no end. */
export interface Range {
  /** SHA-256 of the log key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  readonly first: number | null
  readonly last: number | null
}

export interface SignerKey {
  readonly name: string
  readonly key: PublicKey
  readonly state: KeyState
  /** Milliseconds since 1970, both inclusive; `end` null: no end. Null: always. */
  readonly validFor: { readonly start: number; readonly end: number | null } | null
  /** Where in the logs it counts; null: anywhere. */
  readonly validIn: readonly Range[] | null
  readonly reason: string | null
}

/** Trust that came from elsewhere, and when it was fetched there. */
export type ForeignRoot = {
  readonly name: string
  /** Milliseconds since 1970. */
  readonly fetched: number
  /** Where it was fetched, for people. */
  readonly source: string
} & (
  | {
      readonly kind: 'sigstore'
      /** A Sigstore trusted root, as it was fetched. */
      readonly trustedRoot: JsonObject
    }
  | { readonly kind: 'key'; readonly key: PublicKey }
  | {
      /** Another enclave: its keys count here as well, in its own logs. */
      readonly kind: 'enclave'
      readonly bundle: SignedTrustBundle
    }
)

export interface TrustRevocations {
  /** Signatures by the key count only before entry `from` of the log; null: none does. */
  readonly keys: readonly {
    /** SHA-256 of the key's SPKI, hex. */
    readonly keyId: string
    readonly from: { readonly logId: string; readonly index: number } | null
    readonly reason: string
  }[]
  /** `repository`: HOST[:PORT]/PATH where it is known to lie, for consumers that can't refuse a digest wherever it lies; null: unknown. */
  readonly images: readonly {
    readonly digest: string
    readonly repository: string | null
    readonly reason: string
  }[]
  /** `leafHash`: RFC 6962 leaf hash, hex, which is the end of a Rekor UUID. */
  readonly entries: readonly { readonly leafHash: string; readonly reason: string }[]
}

/**
 * What images below a scope need. Every policy whose scope covers an image must be met.
 */
export interface ScopePolicy {
  readonly name: string
  /** `*`: every image. Else HOST[:PORT][/PATH]: that repository and everything below it. */
  readonly scope: string
  /** Names of keys (`NAME`, `ENCLAVE/NAME`, or of a foreign key) of which one must have signed; null: any of ours and of carried enclaves. */
  readonly keys: readonly string[] | null
}

/** Everything that is signed. Times in milliseconds since 1970. */
export interface TrustDocument {
  /** Name of the enclave: the name of its first log. */
  readonly enclave: string
  /** From 1; never goes down. */
  readonly version: number
  readonly created: number
  /** Advisory: afterwards the bundle counts as stale; see the configuration's `trust` section. */
  readonly expires: number
  /** A new version is promised every so many days. */
  readonly updateDays: number
  /** Digest of the payload of the version before; null: there was none. */
  readonly previous: string | null
  /** URL under which clients reach the enclave's log, without slash at the end. */
  readonly url: string
  readonly roots: TrustRoots
  readonly keys: readonly SignerKey[]
  /** Logs and shards, certificate and time-stamp authorities, certificate-transparency logs: a Sigstore trusted root. */
  readonly trustedRoot: JsonObject
  readonly foreign: readonly ForeignRoot[]
  readonly revocations: TrustRevocations
  readonly policies: readonly ScopePolicy[]
  /** Where TUF clients go, and the root they start from (JSON in UTF-8); null: there is no mirror. */
  readonly tuf: { readonly mirror: string; readonly root: Uint8Array } | null
}

/** A bundle that a threshold of its own roots has signed. */
export interface SignedTrustBundle {
  readonly document: TrustDocument
  readonly envelope: Envelope
  /** Digest of the payload: names the very content, whoever signed it. */
  readonly digest: string
  /** Older bundles that changed the roots, oldest first; what leads from roots known elsewhere to these. */
  readonly chain: readonly SignedTrustBundle[]
}
