import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import type { Json, JsonObject } from '../../src/core/index.ts'
import { pae } from '../../src/sigstore/index.ts'

/** A key pair with the texts that proposed entries hold. */
export interface EntryKey {
  readonly privateKey: KeyObject
  readonly pem: string
  /** base64 of `pem`. */
  readonly content: string
}

export function entryKey(
  kind: 'ed25519' | 'P-256' | 'P-384' | 'P-521' | 'rsa' | 'rsa-1024' = 'P-256',
): EntryKey {
  const pair =
    kind === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : kind === 'rsa' || kind === 'rsa-1024'
        ? generateKeyPairSync('rsa', { modulusLength: kind === 'rsa' ? 2048 : 1024 })
        : generateKeyPairSync('ec', { namedCurve: kind })
  const pem = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString()
  return { privateKey: pair.privateKey, pem, content: base64(pem) }
}

export function base64(value: string | Uint8Array): string {
  return Buffer.from(value).toString('base64')
}

/** Proposed hashedrekord over `text`. */
export function hashedrekordOf(key: EntryKey, text: string, algorithm = 'sha256'): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm, value: createHash(algorithm).update(text).digest('hex') } },
      signature: {
        content: base64(sign(algorithm, Buffer.from(text), key.privateKey)),
        publicKey: { content: key.content },
      },
    },
  }
}

export const STATEMENT = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'image', digest: { sha256: 'AB'.repeat(32) } }],
  predicateType: 'https://slsa.dev/provenance/v0.2',
  predicate: { materials: [{ uri: 'git', digest: { sha1: 'cd'.repeat(20) } }] },
}
const IN_TOTO = 'application/vnd.in-toto+json'

/** base64 of a signature over an envelope's PAE. */
export function envelopeSignature(
  key: EntryKey,
  payload: string,
  hash: string | null = 'sha256',
): string {
  return base64(sign(hash, pae(IN_TOTO, Buffer.from(payload)), key.privateKey))
}

/** Text of a DSSE envelope with one signature a key. */
export function envelopeOf(keys: readonly EntryKey[], payload = JSON.stringify(STATEMENT)): string {
  const signatures = keys.map((key) => ({
    sig: envelopeSignature(
      key,
      payload,
      key.privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256',
    ),
  }))
  return JSON.stringify({ payload: base64(payload), payloadType: IN_TOTO, signatures })
}

/** Proposed dsse entry. */
export function dsseOf(envelope: string, verifiers: readonly EntryKey[]): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: { proposedContent: { envelope, verifiers: verifiers.map(({ content }) => content) } },
  }
}

/** Proposed intoto 0.0.2 entry. */
export function intoto002Of(key: EntryKey, payload = JSON.stringify(STATEMENT)): JsonObject {
  return {
    apiVersion: '0.0.2',
    kind: 'intoto',
    spec: {
      content: {
        envelope: {
          payloadType: IN_TOTO,
          payload: base64(base64(payload)),
          signatures: [{ sig: base64(envelopeSignature(key, payload)), publicKey: key.content }],
        },
        hash: { algorithm: 'sha256', value: '11'.repeat(32) },
      },
    },
  }
}

/** Proposed intoto 0.0.1 entry. */
export function intoto001Of(key: EntryKey, envelope: string): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'intoto',
    spec: { content: { envelope }, publicKey: key.content },
  }
}

/** A copy of `entry` in which the member at `path` is `value`. */
export function changed(entry: JsonObject, path: readonly string[], value: Json): JsonObject {
  const copy = structuredClone(entry)
  let at: JsonObject = copy
  for (const name of path.slice(0, -1)) at = at[name] as JsonObject
  at[path.at(-1) ?? ''] = value
  return copy
}
