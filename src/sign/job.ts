import { resolve } from 'node:path'
import {
  AirsealError,
  fromBase64,
  fromHex,
  isObject,
  parseDigest,
  parseJson,
  toBase64,
  toHex,
  type Digest,
  type Json,
} from '../core/index.ts'
import type { LoggedEntry } from '../log/index.ts'

/** Where artefacts go: all that is needed to open the repository again after a restart. */
export type Location =
  | { readonly kind: 'registry'; readonly registry: string; readonly repository: string }
  | { readonly kind: 'layout'; readonly directory: string }

/** What was signed. The signature is made once; everything after is repeated until it is done. */
export type SignedContent =
  | {
      readonly kind: 'simple-signing'
      readonly payload: Uint8Array
      readonly signature: Uint8Array
    }
  | { readonly kind: 'envelope'; readonly text: string; readonly predicateType: string }

/** What is pushed: `sig` and `att` are layers of the legacy tags, `bundle` is an OCI referrer. */
export type ArtifactKind = 'sig' | 'att' | 'bundle'

/** One signature on its way: signed, then logged, then pushed. Stored as JSON, so that a crash loses none of it. */
export interface JobDocument {
  readonly location: Location
  readonly subject: { readonly mediaType: string; readonly digest: Digest; readonly size: number }
  /** SHA-256 of the signing key's SPKI, hex. */
  readonly keyId: string
  readonly publicKeyPem: string
  readonly content: SignedContent
  readonly artifacts: readonly ArtifactKind[]
  /** Null until the entry is durable in the log. */
  readonly entry: LoggedEntry | null
}

const VERSION = 1

export function serialiseJob(job: JobDocument): string {
  const { content, entry } = job
  return JSON.stringify({
    version: VERSION,
    ...job,
    content:
      content.kind === 'envelope'
        ? content
        : {
            kind: content.kind,
            payload: toBase64(content.payload),
            signature: toBase64(content.signature),
          },
    entry: entry && {
      ...entry,
      body: toBase64(entry.body),
      signedEntryTimestamp: toBase64(entry.signedEntryTimestamp),
      proof: {
        ...entry.proof,
        rootHash: toHex(entry.proof.rootHash),
        hashes: entry.proof.hashes.map(toHex),
      },
    },
  })
}

/** Reads what {@link serialiseJob} wrote. @throws AirsealError STORAGE when it is something else */
export function parseJob(text: string): JobDocument {
  const job = parseJson(text, { code: 'STORAGE', what: 'a stored signing job' })
  if (!isObject(job) || job['version'] !== VERSION) {
    throw new AirsealError('STORAGE', 'a stored signing job is of an unknown version')
  }
  const stored = job as unknown as StoredJob
  return {
    location: stored.location,
    subject: { ...stored.subject, digest: parseDigest(stored.subject.digest) },
    keyId: stored.keyId,
    publicKeyPem: stored.publicKeyPem,
    content: parseContent(stored.content),
    artifacts: stored.artifacts,
    entry: stored.entry && parseEntry(stored.entry),
  }
}

/** The JSON form; written by this file alone, in a database that only this program writes. */
interface StoredJob {
  readonly location: Location
  readonly subject: JobDocument['subject']
  readonly keyId: string
  readonly publicKeyPem: string
  readonly content: StoredContent
  readonly artifacts: readonly ArtifactKind[]
  readonly entry: StoredEntry | null
}

type StoredContent =
  | { readonly kind: 'simple-signing'; readonly payload: string; readonly signature: string }
  | { readonly kind: 'envelope'; readonly text: string; readonly predicateType: string }

type StoredEntry = Omit<LoggedEntry, 'body' | 'signedEntryTimestamp' | 'proof'> & {
  readonly body: string
  readonly signedEntryTimestamp: string
  readonly proof: Omit<LoggedEntry['proof'], 'rootHash' | 'hashes'> & {
    readonly rootHash: string
    readonly hashes: readonly string[]
  }
}

function parseContent(content: StoredContent): SignedContent {
  if (content.kind === 'envelope') return content
  return {
    kind: content.kind,
    payload: fromBase64(content.payload, 'payload', 'STORAGE'),
    signature: fromBase64(content.signature, 'signature', 'STORAGE'),
  }
}

function parseEntry(entry: StoredEntry): LoggedEntry {
  return {
    ...entry,
    body: fromBase64(entry.body, 'body', 'STORAGE'),
    signedEntryTimestamp: fromBase64(entry.signedEntryTimestamp, 'SET', 'STORAGE'),
    proof: {
      ...entry.proof,
      rootHash: fromHex(entry.proof.rootHash, 'root hash', 'STORAGE'),
      hashes: entry.proof.hashes.map((hash) => fromHex(hash, 'proof hash', 'STORAGE')),
    },
  }
}

/** JSON of a location, for naming what is signed. */
export function locationJson(location: Location): Json {
  return location.kind === 'registry'
    ? { kind: location.kind, registry: location.registry, repository: location.repository }
    : { kind: location.kind, directory: location.directory }
}

/** Name of a location as policies of keys have it; paths without `..`, or one folder could pose as another. */
export function locationName(location: Location): string {
  return location.kind === 'registry'
    ? `${location.registry}/${location.repository}`
    : `oci:${resolve(location.directory)}`
}
