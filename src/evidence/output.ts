import { fromUtf8, parseJson, toBase64 } from '../core/index.ts'
import type { Digest, Json, JsonObject } from '../core/index.ts'
import {
  envelopeText,
  parseBundle,
  parseEnvelope,
  parseSimpleSigning,
  parseStatement,
  type LogEntryEvidence,
} from '../sigstore/index.ts'
import type { CertifiedIdentity, Demand, Evidence } from '../verify/index.ts'
import type { ImageResult } from './image.ts'

const TIMESTAMP = 'dev.sigstore.cosign/rfc3161timestamp'

/**
 * The verified signatures as `cosign verify --output json` shows them: the payload, with the log entry under `optional.Bundle` for legacy
 * signatures. For bundles the payload is made up as cosign does: the type is the predicate type, the annotations are the subject's.
 * @param name - the image as it was asked for: with its digest, else with its tag
 */
export function cosignSignatures(result: ImageResult, name: string, digest: Digest): JsonObject[] {
  return verifiedOf(result, 'signature').map(({ evidence, entry, identity }) => {
    if (evidence.format === 'bundle') return bundleSignature(evidence.text, name, digest)
    const payload = parseSimpleSigning(evidence.payload)
    const optional = {
      ...payload.optional,
      ...certificateMembers(identity),
      ...bundleMember(entry),
      ...timestampMember(evidence.annotations[TIMESTAMP]),
    }
    return {
      critical: {
        identity: { 'docker-reference': payload.reference },
        image: { 'docker-manifest-digest': payload.digest },
        type: 'cosign container image signature',
      },
      optional: orNull(optional),
    }
  })
}

function bundleSignature(text: string, name: string, digest: Digest): JsonObject {
  const { content } = parseBundle(text)
  const statement = content.kind === 'dsse' ? parseStatement(content.envelope.payload) : null
  const subject = statement?.subjects.find((one) => `sha256:${one.digest.get('sha256')}` === digest)
  return {
    critical: {
      identity: { 'docker-reference': name },
      image: { 'docker-manifest-digest': digest },
      type: statement?.predicateType ?? '',
    },
    optional: orNull(subject?.annotations ?? {}),
  }
}

/** What a certificate says, under cosign's names and the object identifiers of the extensions. */
function certificateMembers(identity: CertifiedIdentity | null): JsonObject {
  if (identity === null) return {}
  const { trigger, sha, name, repository, ref } = identity.workflow
  const claims: readonly (readonly [string, string, string | null])[] = [
    ['Issuer', '1', identity.issuer],
    ['githubWorkflowTrigger', '2', trigger],
    ['githubWorkflowSha', '3', sha],
    ['githubWorkflowName', '4', name],
    ['githubWorkflowRepository', '5', repository],
    ['githubWorkflowRef', '6', ref],
  ]
  const said = claims.filter(([, , value]) => value !== null)
  return {
    Subject: identity.subjects[0] ?? '',
    ...Object.fromEntries(
      said.flatMap(([member, number, value]) => [
        [member, value],
        [`1.3.6.1.4.1.57264.1.${number}`, value],
      ]),
    ),
  }
}

/** The annotation was judged; here it is only shown. */
function timestampMember(annotation: string | undefined): JsonObject {
  return annotation === undefined || annotation === ''
    ? {}
    : { RFC3161Timestamp: parseJson(annotation) }
}

function bundleMember(entry: LogEntryEvidence | null): JsonObject {
  const set = entry?.set ?? null
  if (entry === null || set === null) return {}
  return {
    Bundle: {
      SignedEntryTimestamp: toBase64(set),
      Payload: {
        body: toBase64(entry.body),
        integratedTime: entry.integratedTime,
        logIndex: entry.logIndex,
        logID: entry.logId,
      },
    },
  }
}

/** The verified attestations as `cosign verify-attestation` prints them: DSSE envelopes, each once although stored in two formats. */
export function cosignAttestations(result: ImageResult): Json[] {
  const texts = verifiedOf(result, 'attestation').map(({ evidence }) => {
    if (evidence.format === 'legacy') {
      return envelopeText(parseEnvelope(fromUtf8(evidence.payload, 'the envelope')))
    }
    const { content } = parseBundle(evidence.text)
    return content.kind === 'dsse' ? envelopeText(content.envelope) : ''
  })
  return [...new Set(texts)].filter((text) => text !== '').map((text) => parseJson(text))
}

interface Verified {
  readonly evidence: Evidence
  readonly entry: LogEntryEvidence | null
  readonly identity: CertifiedIdentity | null
}

function verifiedOf(result: ImageResult, kind: Demand['kind']): Verified[] {
  if (result.outcome !== 'verified') return []
  return result.judged
    .filter(({ verdict }) => verdict.outcome === 'verified' && verdict.evidence.kind === kind)
    .map(({ evidence, verdict }) => ({
      evidence,
      entry: verdict.evidence.entry,
      identity: verdict.evidence.identity,
    }))
}

function orNull(members: JsonObject): JsonObject | null {
  return Object.keys(members).length === 0 ? null : members
}
