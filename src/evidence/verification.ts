import {
  AirsealError,
  asAirsealError,
  ERRORS,
  publicKeyFromPem,
  type Clock,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import {
  openRepository,
  parseReference,
  type Reference,
  type RegistrySettings,
  resolveReference,
} from '../oci/index.ts'
import {
  REASONS,
  type Trust,
  trustFromRoot,
  type TrustedKey,
  type Verdict,
} from '../verify/index.ts'
import type { EvidenceKind } from './collect.ts'
import { faultResult, type ImageResult, verifyReference } from './image.ts'
import { checkAgainst, type EntryCheck, type LocalLog } from './local-log.ts'
import { cosignAttestations, cosignSignatures } from './output.ts'
import { parseVerifyRequest, type VerifyRequest } from './request.ts'
import type { SiteTrust } from './site-trust.ts'

/** What verification needs from the rest of the appliance. */
export interface VerificationParts {
  /** What is trusted as of now; asked at every request, so that a change counts at once. */
  readonly trust: () => SiteTrust
  readonly registrySettings: RegistrySettings
  /** The log on this machine; null where there is none: then only what signatures carry proves that they are logged. */
  readonly log: LocalLog | null
  readonly clock: Clock
}

export interface Verification {
  /**
   * `POST /v1/verify`: body as {@link parseVerifyRequest} reads it. One result an image, in their order, whatever fails for one of them.
   * @throws AirsealError REQUEST_INVALID, PREDICATE_INVALID, KEY_UNKNOWN, KEY_INVALID, KEY_UNSUPPORTED, TRUST_INVALID: nothing was verified
   */
  verify(body: Json): Promise<Json>
}

/** Milliseconds for one image, however many requests its evidence takes. */
const IMAGE_TIMEOUT_MS = 60_000
/** Images judged at a time. */
const PARALLEL = 4

export function createVerification(parts: VerificationParts): Verification {
  const localEntryCheck = parts.log === null ? undefined : checkAgainst(parts.log)
  return {
    verify: async (body) => {
      const request = parseVerifyRequest(body)
      const own = parts.trust()
      const believed =
        request.trustedRoot === null ? own.believed : trustFromRoot(request.trustedRoot)
      const keys = selectKeys(own.keys, request.key)
      const trust = { ...believed, keys, revoked: own.revoked }
      const results: Json[] = []
      for (let at = 0; at < request.images.length; at += PARALLEL) {
        const batch = request.images.slice(at, at + PARALLEL)
        const judge = (image: string) => verifyImage(image, request, trust, parts, localEntryCheck)
        results.push(...(await Promise.all(batch.map(judge))))
      }
      return { trustVersion: own.version, results }
    },
  }
}

/** A PEM key given with the request is trusted for it; a name selects among the trusted keys. */
function selectKeys(keys: readonly TrustedKey[], wanted: string | null): readonly TrustedKey[] {
  if (wanted === null) return keys
  if (wanted.includes('-----BEGIN')) {
    return [{ name: 'given key', key: publicKeyFromPem(wanted), validFor: null }]
  }
  const named = keys.filter(({ name }) => name === wanted)
  if (named.length > 0) return named
  throw new AirsealError('KEY_UNKNOWN', `there is no trusted key named "${wanted.slice(0, 80)}"`)
}

async function verifyImage(
  image: string,
  request: VerifyRequest,
  trust: Trust,
  { registrySettings, clock }: VerificationParts,
  localEntryCheck: EntryCheck | undefined,
): Promise<JsonObject> {
  const kind = request.predicateType === null ? 'signature' : 'attestation'
  let digest: Digest | null = null
  let name = image
  try {
    const reference = parseReference(image)
    digest = reference.digest ?? null
    const signal = AbortSignal.timeout(IMAGE_TIMEOUT_MS)
    const repository = await openRepository(reference, registrySettings, { signal })
    name = nameAsAsked(repository.identity, reference)
    const ask = (fixed: Digest) =>
      verifyReference(repository, fixed, {
        kind,
        trust,
        localEntryCheck,
        now: clock(),
        policy: {
          annotations: request.annotations,
          requireLog: request.requireLog,
          predicateType: request.predicateType ?? undefined,
          identity: request.identity ?? undefined,
          signer: request.signer ?? undefined,
          requireSct: request.requireSct,
          timestampThreshold: request.timestampThreshold ?? undefined,
        },
      })
    // The digest is fixed once. Where it is given, image and evidence are fetched at the same time.
    const [{ digest: fixed }, early] = await Promise.all([
      resolveReference(repository, reference),
      digest === null ? null : ask(digest),
    ])
    digest = fixed
    return resultJson(image, name, digest, kind, early ?? (await ask(fixed)))
  } catch (thrown) {
    return resultJson(image, name, digest, kind, faultResult(asAirsealError(thrown)))
  }
}

/** As cosign writes names: the digest, where one is given, instead of the tag. Layouts have neither. */
function nameAsAsked(identity: string, reference: Reference): string {
  if (reference.kind === 'layout') return identity
  const { digest, tag } = reference
  return digest === undefined ? `${identity}:${tag ?? ''}` : `${identity}@${digest}`
}

/** One result as callers get it; codes, not sentences, are the contract. */
function resultJson(
  image: string,
  name: string,
  digest: Digest | null,
  kind: EvidenceKind,
  result: ImageResult,
): JsonObject {
  const { outcome, reason, message, judged } = result
  const verified = judged.find(({ verdict }) => verdict.outcome === 'verified')?.verdict
  const shown = outcome === 'verified' ? verified : undefined
  return {
    image,
    digest,
    outcome,
    reason,
    message,
    remedy: remedyOf(result),
    exitCode: exitCodeOf(result, kind),
    keyName: shown?.evidence.keyName ?? null,
    keyId: shown?.evidence.keyId ?? null,
    ...certificateJson(shown),
    logIndex: shown?.evidence.entry?.logIndex ?? null,
    integratedTime: shown?.evidence.entry?.integratedTime ?? null,
    unchecked: [...(shown?.unchecked ?? [])],
    evidence: judged.map(({ verdict }) => verdictJson(verdict)),
    signatures:
      kind === 'signature' && digest !== null ? cosignSignatures(result, name, digest) : [],
    attestations: kind === 'attestation' ? cosignAttestations(result) : [],
  }
}

function verdictJson({ outcome, reason, message, evidence, unchecked }: Verdict): JsonObject {
  const { entry, format, keyId, keyName, hash, payloadSha256, predicateType } = evidence
  return {
    outcome,
    reason,
    message,
    format,
    keyId,
    keyName,
    ...certificateJson({ evidence }),
    hash,
    payloadSha256,
    predicateType,
    logIndex: entry?.logIndex ?? null,
    logId: entry?.logId ?? null,
    integratedTime: entry?.integratedTime ?? null,
    unchecked: [...unchecked],
  }
}

/** Whom a certificate names and when it signed; the times are seconds since 1970. */
function certificateJson(verdict: Pick<Verdict, 'evidence'> | undefined): JsonObject {
  const { identity = null, times = [] } = verdict?.evidence ?? {}
  return {
    certificateIdentity: identity?.subjects[0] ?? null,
    certificateOidcIssuer: identity?.issuer ?? null,
    signedAt: times.map((time) => Math.floor(time / 1000)),
  }
}

function remedyOf({ outcome, reason }: ImageResult): string | null {
  if (reason === null) return null
  const table: Readonly<Record<string, { readonly remedy: string }>> =
    outcome === 'error' ? ERRORS : REASONS
  return table[reason]?.remedy ?? null
}

/**
 * Exit code of a command for one result, cosign's where cosign has one: 0 verified, 10 no signature, 12 none that holds; attestations
 * that do not hold are 1; faults have their own.
 */
function exitCodeOf({ outcome, reason }: ImageResult, kind: EvidenceKind): number {
  if (outcome === 'verified') return 0
  if (outcome === 'error') {
    const table: Readonly<Record<string, { readonly exit: number }>> = ERRORS
    return table[reason ?? 'INTERNAL']?.exit ?? 1
  }
  if (kind === 'attestation') return 1
  return reason === 'NO_SIGNATURES' ? 10 : 12
}
