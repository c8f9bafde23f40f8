import { ERRORS, type Digest, type JsonObject } from '../core/index.ts'
import { REASONS, type Verdict } from '../verify/index.ts'
import type { ImageResult } from './image.ts'
import { cosignAttestations, cosignSignatures } from './output.ts'

/** What a result is about. */
export interface Answered {
  /** As it was asked for. */
  readonly image: string
  /** As cosign writes it. */
  readonly name: string
  /** Null when it did not come to be known. */
  readonly digest: Digest | null
  /** Where the evidence lay that decided: known here, in the registry, or in the layout; null when none was looked at. */
  readonly source: 'local' | 'registry' | 'layout' | null
  readonly trustVersion: string
  /** Name of the policy; null when none was asked for. */
  readonly policy: string | null
}

/** One result as callers get it; codes, not sentences, are the contract. */
export function resultJson(
  { image, name, digest, source, trustVersion, policy }: Answered,
  result: ImageResult,
): JsonObject {
  const { outcome, reason, message, judged, demands } = result
  const kinds = new Set(demands.map(({ demand }) => demand.kind))
  const verified = judged.find(({ verdict }) => verdict.outcome === 'verified')?.verdict
  const shown = outcome === 'verified' ? verified : undefined
  return {
    image,
    digest,
    outcome,
    reason,
    message,
    remedy: remedyOf(result),
    exitCode: exitCodeOf(result, kinds.has('attestation') && !kinds.has('signature')),
    trustVersion,
    source,
    ...(policy === null ? {} : { policy, demands: demands.map(demandJson) }),
    keyName: shown?.evidence.keyName ?? null,
    keyId: shown?.evidence.keyId ?? null,
    ...certificateJson(shown),
    logIndex: shown?.evidence.entry?.logIndex ?? null,
    integratedTime: shown?.evidence.entry?.integratedTime ?? null,
    unchecked: [
      ...(shown?.unchecked ?? []),
      ...(source === 'local'
        ? ['that the image is in its registry (known evidence sufficed)']
        : []),
    ],
    evidence: judged.map(({ verdict }) => verdictJson(verdict)),
    signatures: digest === null ? [] : cosignSignatures(result, name, digest),
    attestations: cosignAttestations(result),
  }
}

function demandJson({ demand, judgement }: ImageResult['demands'][number]): JsonObject {
  const { outcome, reason, message } = judgement
  const { name, kind, predicateType } = demand
  return { name, kind, predicateType, outcome, reason, message }
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
function exitCodeOf({ outcome, reason }: ImageResult, attestation: boolean): number {
  if (outcome === 'verified') return 0
  if (outcome === 'error') {
    const table: Readonly<Record<string, { readonly exit: number }>> = ERRORS
    return table[reason ?? 'INTERNAL']?.exit ?? 1
  }
  if (attestation) return 1
  return reason === 'NO_SIGNATURES' ? 10 : 12
}
