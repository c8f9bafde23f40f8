import type { Digest, JsonObject } from '../../core/index.ts'
import type { Policy, Revocations, Trust, TrustedKey } from '../../verify/index.ts'
import type { ImageName } from '../image/name.ts'
import type { Labels } from '../policy/selector.ts'

/** What one attestor asks of a signature, ready to be judged. */
export interface Demand {
  /** Equal for equal demands under one trust version: part of the key under which findings are kept. */
  readonly key: string
  readonly trust: Trust
  readonly policy: Policy
  /** Which layout counts; `any` unless Kyverno is to be followed to the letter. */
  readonly format: 'any' | 'legacy' | 'bundle'
}

export interface Inquiry {
  readonly image: ImageName
  readonly digest: Digest
  /** Predicate type; null: signatures are asked for. */
  readonly predicateType: string | null
  /** Where signatures lie, when not beside the image: a repository with its registry. */
  readonly repository: string | null
  readonly demand: Demand
}

/** What was found out. `error`: it could not be, which is never a yes. */
export interface Finding {
  readonly outcome: 'verified' | 'rejected' | 'error'
  /** Stable code; null when verified. */
  readonly code: string | null
  /** One sentence for people. */
  readonly message: string
  /** What to do, for people; null when verified. */
  readonly remedy: string | null
  /** Distinct signers that verified: ids of keys, or names in certificates. */
  readonly signers: readonly string[]
  /** Statements (in-toto) of the attestations that verified. */
  readonly statements: readonly JsonObject[]
}

/** Reaches registries. Both are bounded by the deadline of the request, and answer the same question once for each request. */
export interface EvidenceSource {
  /** @throws AirsealError IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE, … */
  resolve(image: ImageName): Promise<Digest>
  /** Never rejects. */
  judge(inquiry: Inquiry): Promise<Finding>
}

/** What is known beside the object. */
export interface Facts {
  readonly trust: {
    readonly version: string
    readonly keys: readonly TrustedKey[]
    readonly believed: Required<Omit<Trust, 'keys' | 'revoked'>>
    readonly revoked: Revocations
  }
  /** Trusted keys that are registered under a KMS URI. */
  keysByUri(uri: string): readonly TrustedKey[]
  /** Public keys of a Secret (`cosign.pub`), PEM; null: not known. */
  secret(namespace: string, name: string): string | null
  configMap(namespace: string, name: string): JsonObject | null
  /** Null: not known. */
  namespaceLabels(namespace: string): Labels | null
  /** Milliseconds since 1970. */
  readonly now: number
  /** True: Kyverno 1.19 is followed also where airseal would be stricter. */
  readonly parity: boolean
}
