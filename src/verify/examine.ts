import { AirsealError, isObject, toHex } from '../core/index.ts'
import type { Digest, JsonObject } from '../core/index.ts'
import type { LogEntryEvidence, Statement } from '../sigstore/index.ts'
import { leafHash } from '../tlog/index.ts'
import type { Bound } from './binding.ts'
import { checkCertificate } from './certified.ts'
import { checkConditions } from './conditions.ts'
import { holdsUntil } from './holds.ts'
import { checkEntry, provenTime, within } from './log-entry.ts'
import type { EvidenceUsed, Policy, Trust, TrustedKey, Verdict } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'
import type { Signed } from './signature.ts'
import { findClaimedSigner, type ClaimSigner } from './signer.ts'
import { checkTimestamps, type Stamp } from './timestamp.ts'

/** What every verification needs. */
export interface Question {
  /** Digest of the image (or file) that is asked about. */
  readonly digest: Digest
  readonly trust: Trust
  readonly policy: Policy
  /** Milliseconds since 1970. */
  readonly now: number
}

/** Question about attestations: the predicate type is part of it, or any attestation would do (CVE-2022-35929). */
export interface AttestationQuestion extends Question {
  readonly policy: Policy & { readonly predicateType: string }
}

/** Evidence taken apart, whatever its format; the claims in it are already compared with the question. */
export interface Claim {
  readonly signed: Signed
  readonly signature: Uint8Array
  readonly signedHash: Bound['signedHash']
  readonly envelope: Bound['envelope']
  readonly entries: readonly LogEntryEvidence[]
  readonly proofRequired: boolean
  /** SPKI hash (hex) that the evidence gives as a hint; null when none. */
  readonly keyHint: string | null
  /** DER, leaf first; null when the signature was made with a bare key. */
  readonly certificates: readonly Uint8Array[] | null
  /** RFC 3161 TimeStampResp, DER. */
  readonly timestamps: readonly Uint8Array[]
  /** What the time stamps cover: the signature, for legacy attestations the text of the envelope. */
  readonly stamped: Uint8Array
  /** Signed annotations. */
  readonly annotations: JsonObject
  /** Signed name of the image; null when the format has none. */
  readonly reference: string | null
  /** The in-toto statement that was signed, with the subject that has the digest; null for simple signing and messages. */
  readonly statement: { readonly statement: Statement; readonly subjectName: string } | null
  readonly unchecked: readonly string[]
}

/** Collects what is known, so that a rejection shows how far verification came. */
export class Examination {
  readonly #question: Question
  #used: EvidenceUsed

  constructor(question: Question, format: EvidenceUsed['format'], kind: EvidenceUsed['kind']) {
    this.#question = question
    this.#used = {
      format,
      kind,
      keyId: null,
      keyName: null,
      identity: null,
      times: [],
      hash: null,
      payloadSha256: null,
      predicateType: null,
      entry: null,
      holdsUntil: null,
    }
  }

  note(known: Partial<EvidenceUsed>): void {
    this.#used = { ...this.#used, ...known }
  }

  /**
   * Runs one verification. Whatever goes wrong on the way, also a defect of ours, ends in a rejection.
   * @param read - takes the evidence apart; its errors are rejections for BUNDLE_INVALID, unless it returns a refusal of its own
   */
  async verdict(read: () => Claim | Refusal): Promise<Verdict> {
    try {
      const claim = read()
      if ('reason' in claim) return this.#rejected(claim)
      const checked = await this.#check(claim)
      return 'reason' in checked ? this.#rejected(checked) : this.#verified(claim, checked)
    } catch (thrown) {
      const message =
        thrown instanceof AirsealError ? thrown.message : 'the evidence could not be read'
      return this.#rejected(refusal('BUNDLE_INVALID', message))
    }
  }

  /** @returns what was left out */
  async #check(claim: Claim): Promise<readonly string[] | Refusal> {
    const { trust, policy, now } = this.#question
    const senseless = policyProblem(policy)
    if (senseless !== null) return senseless
    const why = trust.revoked?.digests.get(this.#question.digest)
    if (why !== undefined) return refusal('DIGEST_REVOKED', `it was revoked: ${why.slice(0, 200)}`)
    const signer = await findClaimedSigner(claim, trust, policy)
    if ('reason' in signer) return signer
    this.note(signer.used)
    const stamps = await checkTimestamps(
      claim.timestamps,
      claim.stamped,
      trust.timestampAuthorities ?? [],
      now,
    )
    if ('reason' in stamps) return stamps
    const entries = await this.#checkLog(claim, signer, stamps)
    if ('reason' in entries) return entries
    const times = [
      ...entries.flatMap((entry) => provenTime(entry) ?? []),
      ...stamps.map(({ time }) => time),
    ]
    const holds = holdsUntil({ signer, entries, stamps, trust, policy, now })
    this.note({ entry: entries[0] ?? null, times, holdsUntil: holds })
    return (
      this.#checkThresholds(entries, stamps) ??
      checkRevoked(entries, trust) ??
      checkPlace(signer.trustedKey, entries) ??
      (await this.#checkSigner(signer, times)) ??
      checkAnnotations(claim.annotations, policy) ??
      checkIdentity(claim.reference, policy) ??
      checkConditions(claim.statement, this.#question) ?? [
        ...(entries.length === 0 ? ['transparency log'] : []),
        ...(claim.timestamps.length > stamps.length ? ['RFC 3161 time stamps'] : []),
        ...(signer.certified !== null && times.length === 0 ? ['time of signing'] : []),
        ...(signer.certified !== null && policy.requireSct === false
          ? ['certificate transparency']
          : []),
      ]
    )
  }

  /** The entries that were verified; none when none was needed and none of a trusted log was there. */
  async #checkLog(
    { entries, signature, signedHash, envelope, proofRequired }: Claim,
    { key, hash, certified }: ClaimSigner,
    stamps: readonly Stamp[],
  ): Promise<readonly LogEntryEvidence[] | Refusal> {
    const { trust, policy, now } = this.#question
    const required = policy.requireLog !== false
    let missing = refusal('LOG_ENTRY_MISSING', 'the signature carries no log entry')
    const verified: LogEntryEvidence[] = []
    const certificate = certified?.leaf.certificate.der ?? null
    for (const entry of entries) {
      const refused = await checkEntry(
        entry,
        { signature, signedHash, envelope, key, certificate, hash },
        { trust, now, proofRequired, stampTimes: stamps.map(({ time }) => time) },
      )
      // Entries of logs that we don't know are passed over; everything of a known log must be right.
      if (refused === null) verified.push(entry)
      else if (refused.reason === 'LOG_UNKNOWN' || (!required && refused.reason === 'UNSUPPORTED'))
        missing = refused
      else return refused
    }
    return verified.length === 0 && required ? missing : verified
  }

  /** Thresholds count distinct keys, never items (CVE-2026-49834). */
  #checkThresholds(entries: readonly LogEntryEvidence[], stamps: readonly Stamp[]): Refusal | null {
    const { trust, policy } = this.#question
    const logs = new Set(
      entries.map(({ logId }) => trust.logs.find((log) => log.logId === logId)?.key.id),
    )
    const authorities = new Set(stamps.map(({ keyId }) => keyId))
    const { logThreshold, timestampThreshold } = policy
    if (logThreshold !== undefined && logs.size < logThreshold) {
      return refusal('THRESHOLD_NOT_MET', `${logs.size} logs hold it, want ${logThreshold}`)
    }
    return timestampThreshold !== undefined && authorities.size < timestampThreshold
      ? refusal(
          'THRESHOLD_NOT_MET',
          `${authorities.size} authorities stamped it, want ${timestampThreshold}`,
        )
      : null
  }

  /** Whether the signer counted at every proven time; at this moment where no time is proven and none need be. */
  async #checkSigner(
    { certified, trustedKey }: ClaimSigner,
    times: readonly number[],
  ): Promise<Refusal | null> {
    const { trust, policy, now } = this.#question
    const judged = times.length === 0 ? [now] : times
    if (certified !== null && policy.signer !== undefined) {
      if (times.length === 0 && policy.requireLog !== false) {
        return refusal('SIGNING_TIME_MISSING', 'nothing that is trusted proves the time of signing')
      }
      return checkCertificate(certified, judged, trust, { ...policy, signer: policy.signer })
    }
    const validFor = trustedKey?.validFor ?? null
    return validFor === null || judged.every((time) => within(validFor, time))
      ? null
      : refusal(
          'KEY_OUTSIDE_VALIDITY',
          `the key "${trustedKey?.name ?? ''}" was not valid when it signed`,
        )
  }

  #rejected({ reason, message }: Refusal): Verdict {
    return { outcome: 'rejected', reason, message, evidence: this.#used, unchecked: [] }
  }

  #verified(claim: Claim, unchecked: readonly string[]): Verdict {
    return {
      outcome: 'verified',
      reason: null,
      message: signedBy(this.#used),
      evidence: this.#used,
      unchecked: [...unchecked, ...claim.unchecked],
    }
  }
}

/** Every verified entry counts: one that is revoked is not saved by another beside it. */
function checkRevoked(entries: readonly LogEntryEvidence[], { revoked }: Trust): Refusal | null {
  if (revoked === undefined || revoked.entries.size === 0) return null
  for (const { body, logIndex } of entries) {
    const why = revoked.entries.get(toHex(leafHash(body)))
    if (why !== undefined)
      return refusal('ENTRY_REVOKED', `entry ${logIndex} was revoked: ${why.slice(0, 200)}`)
  }
  return null
}

/** Whether the key counted where the signature was logged. An entry elsewhere proves nothing about that, so it does not help. */
function checkPlace(
  trustedKey: TrustedKey | null,
  entries: readonly LogEntryEvidence[],
): Refusal | null {
  const ranges = trustedKey?.validIn ?? null
  if (trustedKey === null || ranges === null) return null
  const outside = entries.find(
    ({ logId, logIndex }) =>
      !ranges.some(
        (range) =>
          range.logId === logId &&
          logIndex >= (range.first ?? 0) &&
          logIndex <= (range.last ?? Number.MAX_SAFE_INTEGER),
      ),
  )
  if (outside === undefined && entries.length > 0) return null
  const where = outside === undefined ? 'without log entry' : `at log index ${outside.logIndex}`
  return refusal('KEY_NOT_VALID_AT_INDEX', `the key "${trustedKey.name}" does not count ${where}`)
}

function signedBy({ identity, keyName }: EvidenceUsed): string {
  return identity === null
    ? `signed by the key "${keyName ?? ''}"`
    : `signed by "${identity.subjects[0] ?? ''}", vouched for by ${identity.issuer ?? 'the own authority'}`
}

/** A threshold that is no count would be one that is always met (V3). */
function policyProblem({ requireLog, logThreshold, timestampThreshold }: Policy): Refusal | null {
  for (const threshold of [logThreshold, timestampThreshold]) {
    if (threshold !== undefined && (!Number.isSafeInteger(threshold) || threshold < 1)) {
      return refusal('POLICY_INVALID', 'a threshold is not a whole number from 1')
    }
  }
  return requireLog === false && logThreshold !== undefined
    ? refusal('POLICY_INVALID', 'a number of logs is demanded, and that none need be')
    : null
}

function checkAnnotations(signed: JsonObject, policy: Policy): Refusal | null {
  for (const [name, value] of Object.entries(policy.annotations ?? {})) {
    if (!isObject(signed) || !Object.hasOwn(signed, name) || signed[name] !== value) {
      return refusal('ANNOTATION_MISMATCH', `the signature does not say ${name}=${value}`)
    }
  }
  return null
}

function checkIdentity(reference: string | null, policy: Policy): Refusal | null {
  if (policy.identity === undefined) return null
  if (reference !== null && policy.identity.includes(reference)) return null
  return refusal(
    'IDENTITY_MISMATCH',
    reference === null
      ? 'the signature names no repository'
      : 'the signature names another repository',
  )
}
