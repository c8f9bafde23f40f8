import { canonicalJson, fromBase64, fromHex, parseJson, toBase64, utf8 } from '../core/index.ts'
import type { Json } from '../core/index.ts'
import { bad, indexAt, objectAt, type Source, stringAt } from './protojson.ts'

/** What an artefact carries to prove that a log holds its entry. All of it is attacker-controlled until verified. */
export interface LogEntryEvidence {
  /** Canonical JSON of the entry, the bytes that the log hashes. */
  readonly body: Uint8Array
  /** Unix seconds; authenticated by `set` only. 0 when the document does not say (Rekor v2). */
  readonly integratedTime: number
  /** SHA-256 of the log key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  /** Index over all shards of the log. */
  readonly logIndex: number
  /** Signed entry timestamp, ASN.1 DER; null when the document has none. */
  readonly set: Uint8Array | null
  /** Null when the document has none: legacy annotations never do. */
  readonly inclusionProof: InclusionProofEvidence | null
  /** What the document says the body is; null where it does not say. The body itself decides. */
  readonly kindVersion: { readonly kind: string; readonly version: string } | null
}

/** RFC 6962 §2.1.1 audit path and the checkpoint it leads to. Hashes are raw, 32 bytes. */
export interface InclusionProofEvidence {
  readonly index: number
  readonly treeSize: number
  readonly rootHash: Uint8Array
  readonly hashes: readonly Uint8Array[]
  /** Signed note. */
  readonly checkpoint: string
}

/** The bytes that a signed entry timestamp signs: RFC 8785 JSON of body, integratedTime, logID and logIndex. */
export function signedEntryTimestampPayload(
  entry: Pick<LogEntryEvidence, 'body' | 'integratedTime' | 'logId' | 'logIndex'>,
): Uint8Array {
  return utf8(canonicalJson(setMembers(entry)))
}

function setMembers(
  entry: Pick<LogEntryEvidence, 'body' | 'integratedTime' | 'logId' | 'logIndex'>,
) {
  return {
    body: toBase64(entry.body),
    integratedTime: entry.integratedTime,
    logIndex: entry.logIndex,
    logID: entry.logId,
  }
}

/**
 * Value of the layer annotation `dev.sigstore.cosign/bundle`, in Go's member order.
 * @param entry - its `set` must not be null
 */
export function rekorBundleAnnotation(
  entry: Pick<LogEntryEvidence, 'body' | 'integratedTime' | 'logId' | 'logIndex'> & {
    readonly set: Uint8Array
  },
): string {
  return JSON.stringify({ SignedEntryTimestamp: toBase64(entry.set), Payload: setMembers(entry) })
}

/** Reads an attacker-controlled `dev.sigstore.cosign/bundle` annotation. @throws AirsealError BUNDLE_INVALID */
export function parseRekorBundleAnnotation(text: string): LogEntryEvidence {
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the log annotation' }
  const root = objectAt(source, parseJson(text, { maxDepth: 8, ...source }), 'annotation', [
    'SignedEntryTimestamp',
    'Payload',
  ])
  const payload = objectAt(source, root['Payload'], 'Payload', [
    'body',
    'integratedTime',
    'logIndex',
    'logID',
  ])
  // Strict base64: the signature covers the text of the body, so only its one spelling can be right.
  const decode = (member: 'body' | 'SignedEntryTimestamp', holder: typeof root) =>
    fromBase64(stringAt(source, holder[member], member), member, source.code)
  const set = decode('SignedEntryTimestamp', root)
  const body = decode('body', payload)
  const logId = logIdAt(source, payload['logID'])
  if (set.length === 0 || body.length === 0)
    throw bad(source, 'body or SignedEntryTimestamp is missing')
  return {
    body,
    integratedTime: indexAt(source, payload['integratedTime'], 'integratedTime'),
    logId,
    logIndex: indexAt(source, payload['logIndex'], 'logIndex'),
    set,
    inclusionProof: null,
    kindVersion: null,
  }
}

function logIdAt(source: Source, value: Json | undefined): string {
  const logId = stringAt(source, value, 'logID')
  if (fromHex(logId, 'logID', source.code).length !== 32)
    throw bad(source, 'logID is not 64 hex digits')
  return logId
}
