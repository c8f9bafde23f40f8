import type { HashName, Json, PublicKey } from '../core/index.ts'
import type { LogEntryEvidence, Validity } from '../sigstore/index.ts'
import type { CertifiedIdentity, GithubWorkflow, Link } from '../x509/index.ts'
import type { TextPattern } from './pattern.ts'
import type { Reason } from './reasons.ts'

/** A key whose signatures count. */
export interface TrustedKey {
  /** Name for people and policies. */
  readonly name: string
  readonly key: PublicKey
  /** When signatures by it count; null: always. */
  readonly validFor: Validity | null
  /**
   * Where in the logs its signatures count: with ranges given, a signature without a log entry inside one of them is refused. Absent or
   * null: anywhere, and without entry too where none is demanded.
   */
  readonly validIn?: readonly IndexRange[] | null | undefined
}

/** Part of one log, both ends inclusive; null: without end. */
export interface IndexRange {
  /** SHA-256 of the log key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  readonly first: number | null
  readonly last: number | null
}

/** What is refused whatever else vouches for it; the values say why, for people. */
export interface Revocations {
  /** Images and files, by digest. */
  readonly digests: ReadonlyMap<string, string>
  /** Log entries, by leaf hash, 64 lower-case hex digits. */
  readonly entries: ReadonlyMap<string, string>
}

/** A log (Rekor v1 or v2) whose word counts. */
export interface TrustedLog {
  readonly key: PublicKey
  /** 64 lower-case hex digits: the SHA-256 of the key's SPKI, for Rekor v2 the note key id in full. */
  readonly logId: string
  /** Entries outside, by their signed time, are refused; both ends inclusive. */
  readonly validFor: Validity
  /** Name that its checkpoints must bear in origin and signature line; compared literally. */
  readonly host: string
  /** The same with its port, for logs that name themselves so; absent: not accepted. */
  readonly hostAndPort?: string | undefined
}

/** An authority whose certificates count, or whose time stamps do. */
export interface TrustedAuthority {
  /** For people. */
  readonly name: string
  /** Certificates, the anchor last, at least one. A time-stamping authority's own certificate may be the first. */
  readonly chain: readonly Link[]
  /** Certificates and stamps count inside only; both ends inclusive. */
  readonly validFor: Validity
  /**
   * True for an own PKI whose anchor was given by itself: signatures may bring intermediate certificates, and certificates need not name an
   * OpenID Connect issuer.
   */
  readonly pinned: boolean
}

/** A certificate-transparency log whose timestamps count. */
export interface TrustedCtLog {
  /** SHA-256 of the key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  readonly key: PublicKey
  readonly validFor: Validity
}

/** Everything that is believed; nothing in the evidence adds to it. */
export interface Trust {
  readonly keys: readonly TrustedKey[]
  readonly logs: readonly TrustedLog[]
  /** Absent: no certificate counts. */
  readonly authorities?: readonly TrustedAuthority[] | undefined
  readonly ctLogs?: readonly TrustedCtLog[] | undefined
  /** Absent: time stamps are not looked at. */
  readonly timestampAuthorities?: readonly TrustedAuthority[] | undefined
  /** Absent: nothing is revoked. */
  readonly revoked?: Revocations | undefined
}

/** What a text of a certificate must be: this very text, or all of it matched by the pattern. */
export type TextDemand = { readonly exact: string } | { readonly pattern: TextPattern }

/** Whose certificate counts. */
export interface SignerPolicy {
  /** One of the subject alternative names: URI, email, DNS or Fulcio's user name. */
  readonly subject: TextDemand
  /** OpenID Connect issuer; null only for certificates of a pinned authority, which name none. */
  readonly issuer: TextDemand | null
  /** Claims of a GitHub workflow that the certificate must have, with exactly these values. */
  readonly workflow?: { readonly [claim in keyof GithubWorkflow]?: string | undefined } | undefined
}

/** What is asked of the predicate of an attestation whose signature and log entry hold. */
export interface Condition {
  /** For people. */
  readonly source: string
  /** True when the answer may change with time alone; it then holds for the minute that it was asked in. */
  readonly usesTime: boolean
  /** @throws AirsealError when there is no answer, which counts as no */
  test(input: ConditionInput): boolean
}

export interface ConditionInput {
  readonly predicate: Json
  readonly predicateType: string
  /** Name of the subject that has the digest; empty when it has none. */
  readonly subjectName: string
  /** The digest that is asked about. */
  readonly digest: string
  /** Start of the current minute, milliseconds since 1970: so an answer that rests on time can be kept until the next one. */
  readonly now: number
}

/** What is demanded. Absent members demand nothing, apart from `requireLog`. */
export interface Policy {
  /** Names of the trusted keys that count; absent: all of them. */
  readonly keys?: readonly string[] | undefined
  /** Set: signatures with a certificate of this signer count, and no key does. Absent: keys count, and no certificate does. */
  readonly signer?: SignerPolicy | undefined
  /** Whether a certificate must carry the timestamp of a trusted certificate-transparency log. Default true. */
  readonly requireSct?: boolean | undefined
  /** Distinct trusted logs that must hold the signature, from 1; default 1. Not with `requireLog` false. */
  readonly logThreshold?: number | undefined
  /** Distinct trusted authorities that must have stamped the signature, from 1; absent: none need have. */
  readonly timestampThreshold?: number | undefined
  /** Annotations that must be signed, with exactly these values. */
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /**
   * Whether a valid log entry is demanded. Default true. Danger when false: a signature by a stolen key that was never logged counts.
   * An entry of a trusted log that is there is verified even then.
   */
  readonly requireLog?: boolean | undefined
  /** Predicate type (URI) that an attestation must have; compared literally. */
  readonly predicateType?: string | undefined
  /** What must hold of the predicate of an attestation, each of them; signatures have none, so they never meet one. */
  readonly conditions?: readonly Condition[] | undefined
  /**
   * Names of which a legacy payload must bear one as `docker-reference`. Bundles carry no name, so they never satisfy it.
   * Absent: not compared, as with cosign, so that mirrors keep verifying.
   */
  readonly identity?: readonly string[] | undefined
}

/** One piece of evidence as it was found; everything in it is attacker-controlled. */
export type Evidence =
  | {
      readonly format: 'legacy'
      readonly kind: 'signature' | 'attestation'
      /** Blob of the layer: simple-signing payload, or DSSE envelope. */
      readonly payload: Uint8Array
      /** Annotations of the layer's descriptor. */
      readonly annotations: Readonly<Record<string, string>>
    }
  | { readonly format: 'bundle'; readonly text: string }

/** What a verdict rests on, as far as verification came. */
export interface EvidenceUsed {
  readonly format: 'legacy' | 'bundle'
  readonly kind: 'signature' | 'attestation' | 'blob'
  /** SHA-256 of the SPKI of the key that verified, hex; null before that. */
  readonly keyId: string | null
  readonly keyName: string | null
  /** Who the certificate names; null for keys and before its signature verified. */
  readonly identity: CertifiedIdentity | null
  /** Proven times of signing, milliseconds since 1970; empty when none was proven. */
  readonly times: readonly number[]
  /** Hash that the signature was made with; null for Ed25519 and before verification. */
  readonly hash: HashName | null
  /** SHA-256 of the signed payload, hex; null before it was read. */
  readonly payloadSha256: string | null
  /** Predicate type of a statement; null for simple signing and messages. */
  readonly predicateType: string | null
  /** The log entry, set only when it was verified. */
  readonly entry: LogEntryEvidence | null
  /**
   * Moment, milliseconds since 1970, from which the verdict must be found anew though trust, question and evidence are the same; null: it
   * holds as long as they are.
   */
  readonly holdsUntil: number | null
}

/** The judgement of one piece of evidence. Everything that is not a complete success is a rejection. */
export interface Verdict {
  readonly outcome: 'verified' | 'rejected'
  /** Null when verified. */
  readonly reason: Reason | null
  /** One sentence for people. */
  readonly message: string
  readonly evidence: EvidenceUsed
  /** What was not checked, in words; empty when nothing was left out. */
  readonly unchecked: readonly string[]
}
