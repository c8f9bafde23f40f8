import { AirsealError, fromHex, toBase64 } from '../core/index.ts'
import type { HashName, JsonObject } from '../core/index.ts'
import { MESSAGE_HASHES } from './bundle-names.ts'
import { type Envelope, envelopeJson } from './dsse.ts'
import { parseEntryBody } from './entry-bodies.ts'
import type { LogEntryEvidence } from './log-entry.ts'

/** Media type of the bundles that airseal writes. */
export const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json'

export type BundleVersion = '0.1' | '0.2' | '0.3'

/** Signature over a digest. */
export interface MessageSignature {
  /** Digest that the document claims; null when it says none. Never trusted. */
  readonly messageDigest: { readonly algorithm: HashName; readonly digest: Uint8Array } | null
  readonly signature: Uint8Array
}

export type BundleMaterial =
  | { readonly kind: 'publicKey'; /** Unauthenticated name of the key. */ readonly hint: string }
  | { readonly kind: 'certificate'; /** DER, leaf first. */ readonly chain: readonly Uint8Array[] }

export type BundleContent =
  | { readonly kind: 'dsse'; readonly envelope: Envelope }
  | { readonly kind: 'message'; readonly message: MessageSignature }

export interface Bundle {
  readonly version: BundleVersion
  readonly material: BundleMaterial
  readonly entries: readonly LogEntryEvidence[]
  /** RFC 3161 TimeStampResp, DER. */
  readonly timestamps: readonly Uint8Array[]
  readonly content: BundleContent
}

export interface BundleInput {
  readonly content: BundleContent
  /** Base64 of the SHA-256 of the key's SPKI, as cosign writes it. */
  readonly publicKeyHint: string
  /** The log entry with SET and proof; null for a bundle without log evidence. */
  readonly entry: LogEntryEvidence | null
}

/** JSON text of a v0.3 bundle made with a plain key; bytes in standard base64, 64-bit integers as strings. */
export function bundleText(input: BundleInput): string {
  const content =
    input.content.kind === 'dsse'
      ? { dsseEnvelope: envelopeJson(input.content.envelope) }
      : { messageSignature: messageJson(input.content.message) }
  return JSON.stringify({
    mediaType: BUNDLE_TYPE,
    verificationMaterial: {
      publicKey: { hint: input.publicKeyHint },
      tlogEntries: input.entry === null ? [] : [entryJson(input.entry)],
    },
    ...content,
  })
}

function messageJson({ messageDigest, signature }: MessageSignature): JsonObject {
  if (messageDigest === null) return { signature: toBase64(signature) }
  const name = [...MESSAGE_HASHES].find(([, hash]) => hash === messageDigest.algorithm)?.[0] ?? ''
  return {
    messageDigest: { algorithm: name, digest: toBase64(messageDigest.digest) },
    signature: toBase64(signature),
  }
}

function entryJson(entry: LogEntryEvidence): JsonObject {
  const { set, inclusionProof: proof } = entry
  if (set === null || proof === null) {
    throw new AirsealError(
      'INTERNAL',
      'a bundle needs the signed entry timestamp and the inclusion proof',
    )
  }
  return {
    logIndex: String(entry.logIndex),
    logId: { keyId: toBase64(fromHex(entry.logId, 'logId')) },
    kindVersion: { ...(entry.kindVersion ?? kindVersionOf(entry.body)) },
    integratedTime: String(entry.integratedTime),
    inclusionPromise: { signedEntryTimestamp: toBase64(set) },
    inclusionProof: {
      logIndex: String(proof.index),
      rootHash: toBase64(proof.rootHash),
      treeSize: String(proof.treeSize),
      hashes: proof.hashes.map(toBase64),
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: toBase64(entry.body),
  }
}

function kindVersionOf(body: Uint8Array): { kind: string; version: string } {
  const parsed = parseEntryBody(body)
  return { kind: parsed.kind === 'other' ? parsed.name : parsed.kind, version: parsed.version }
}
