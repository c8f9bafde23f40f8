import { createPrivateKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import {
  canonicalJson,
  publicKeyFromSpki,
  sha256Hex,
  toBase64,
  utf8,
  type Digest,
  type JsonObject,
  type PublicKey,
} from '../../src/core/index.ts'
import {
  attestationStatement,
  bundleText,
  envelopeText,
  IN_TOTO_TYPE,
  pae,
  rekorBundleAnnotation,
  signedEntryTimestampPayload,
  signStatement,
  simpleSigningPayload,
  type Envelope,
  type LogEntryEvidence,
} from '../../src/sigstore/index.ts'
import { checkpointBody, leafHash, nodeHash, signedNote } from '../../src/tlog/index.ts'
import type { Trust } from '../../src/verify/index.ts'

/** 2026-11-24T12:00:00Z in milliseconds. */
export const NOW = Date.UTC(2026, 10, 24, 12)

/** A key pair that signs in a test. */
export interface TestKey {
  readonly publicKey: PublicKey
  sign(message: Uint8Array, hash?: string | null): Uint8Array
}

export function testKey(kind: 'P-256' | 'P-384' | 'ed25519' = 'P-256'): TestKey {
  const pair =
    kind === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: kind })
  const privateKey: KeyObject = createPrivateKey(
    pair.privateKey.export({ format: 'pem', type: 'pkcs8' }),
  )
  const usual = kind === 'ed25519' ? null : 'sha256'
  return {
    publicKey: publicKeyFromSpki(pair.publicKey.export({ format: 'der', type: 'spki' })),
    sign: (message, hash = usual) => sign(hash, message, privateKey),
  }
}

/** A log of the test: every entry stands in a tree of two leaves, beside a fixed other one. */
export class TestLog {
  readonly key = testKey()
  readonly host: string
  readonly treeId: bigint
  #next = 0

  constructor(host = 'log.test', treeId = 77n) {
    this.host = host
    this.treeId = treeId
  }

  /** Logs `body` at `time` (ms); `origin` and `signer` can make the checkpoint wrong. */
  append(
    body: JsonObject,
    options: { time?: number; origin?: string; signer?: TestKey } = {},
  ): Logged {
    const bytes = utf8(canonicalJson(body))
    const logIndex = this.#next++
    const unsigned = {
      body: bytes,
      integratedTime: Math.floor((options.time ?? NOW) / 1000),
      logId: this.key.publicKey.id,
      logIndex,
    }
    const other = leafHash(utf8(`other ${logIndex}`))
    const rootHash = nodeHash(other, leafHash(bytes))
    const text = checkpointBody(options.origin ?? `${this.host} - ${this.treeId}`, 2, rootHash)
    const signature = (options.signer ?? this.key).sign(utf8(text))
    return {
      ...unsigned,
      set: this.key.sign(signedEntryTimestampPayload(unsigned)),
      inclusionProof: {
        index: 1,
        treeSize: 2,
        rootHash,
        hashes: [other],
        checkpoint: signedNote(
          text,
          this.host,
          Buffer.from(this.key.publicKey.id.slice(0, 8), 'hex'),
          signature,
        ),
      },
      kindVersion: null,
    }
  }
}

/** An entry with everything that a log gives. */
export type Logged = LogEntryEvidence & {
  readonly set: Uint8Array
  readonly inclusionProof: NonNullable<LogEntryEvidence['inclusionProof']>
}

/** Trust in the keys (named `key0`, `key1` …) and the logs given, without end. */
export function trustIn(keys: readonly TestKey[], logs: readonly TestLog[]): Trust {
  return {
    keys: keys.map(({ publicKey }, at) => ({ name: `key${at}`, key: publicKey, validFor: null })),
    logs: logs.map(({ key, host }) => ({
      key: key.publicKey,
      logId: key.publicKey.id,
      validFor: { start: NOW - 86_400_000, end: null },
      host,
    })),
  }
}

const pem64 = (key: TestKey): string => toBase64(utf8(key.publicKey.pem))

/** Body of a hashedrekord entry. */
export function hashedrekordBody(
  payload: Uint8Array,
  signature: Uint8Array,
  key: TestKey,
): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value: sha256Hex(payload) } },
      signature: { content: toBase64(signature), publicKey: { content: pem64(key) } },
    },
  }
}

/** Body of a dsse entry. */
export function dsseBody(envelope: Envelope, key: TestKey): JsonObject {
  const hashOf = (bytes: Uint8Array | string) => ({ algorithm: 'sha256', value: sha256Hex(bytes) })
  return {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: {
      envelopeHash: hashOf(envelopeText(envelope)),
      payloadHash: hashOf(envelope.payload),
      signatures: envelope.signatures.map(({ sig }) => ({
        signature: toBase64(sig),
        verifier: pem64(key),
      })),
    },
  }
}

export interface LegacySignature {
  readonly payload: Uint8Array
  readonly signature: Uint8Array
  readonly entry: Logged
}

export function signLegacy(
  digest: Digest,
  key: TestKey,
  log: TestLog,
  options: { annotations?: Record<string, string>; time?: number; repository?: string } = {},
): LegacySignature {
  const payload = simpleSigningPayload({
    repository: options.repository ?? 'registry.test/team/app',
    digest,
    annotations: options.annotations,
  })
  const signature = key.sign(payload)
  const time = options.time === undefined ? {} : { time: options.time }
  return { payload, signature, entry: log.append(hashedrekordBody(payload, signature, key), time) }
}

/** The layer of a legacy signature. */
export function legacyLayer({ payload, signature, entry }: LegacySignature) {
  return {
    payload,
    annotations: {
      'dev.cosignproject.cosign/signature': toBase64(signature),
      'dev.sigstore.cosign/bundle': rekorBundleAnnotation(entry),
    } as Record<string, string>,
  }
}

export interface Enveloped {
  readonly envelope: Envelope
  readonly key: TestKey
  readonly entry: Logged
}

export function signEnvelope(
  payload: Uint8Array,
  key: TestKey,
  log: TestLog,
  payloadType = IN_TOTO_TYPE,
): Enveloped {
  const sig = key.sign(pae(payloadType, payload))
  const envelope = { payloadType, payload, signatures: [{ sig, keyid: '' }] }
  return { envelope, key, entry: log.append(dsseBody(envelope, key)) }
}

export function signBundle(
  digest: Digest,
  key: TestKey,
  log: TestLog,
  annotations: Record<string, string> = {},
): Enveloped {
  return signEnvelope(signStatement(digest, annotations), key, log)
}

export function attest(
  digest: Digest,
  predicateType: string,
  key: TestKey,
  log: TestLog,
): Enveloped {
  const statement = attestationStatement({
    subjectName: 'registry.test/team/app',
    digest,
    predicateType,
    predicate: { made: 'by a test' },
  })
  return signEnvelope(statement, key, log)
}

export function bundleOf({ envelope, key, entry }: Enveloped): string {
  return bundleText({
    content: { kind: 'dsse', envelope },
    publicKeyHint: Buffer.from(key.publicKey.id, 'hex').toString('base64'),
    entry,
  })
}

/** The `.att` layer of an attestation. */
export function attestationLayer({ envelope, entry }: Enveloped) {
  return {
    payload: utf8(envelopeText(envelope)),
    annotations: {
      'dev.cosignproject.cosign/signature': '',
      'dev.sigstore.cosign/bundle': rekorBundleAnnotation(entry),
    } as Record<string, string>,
  }
}
