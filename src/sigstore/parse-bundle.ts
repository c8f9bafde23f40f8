import { parseJson, toHex } from '../core/index.ts'
import type { Json, JsonObject } from '../core/index.ts'
import { MESSAGE_HASHES } from './bundle-names.ts'
import { BUNDLE_TYPE } from './bundle.ts'
import type {
  Bundle,
  BundleContent,
  BundleMaterial,
  BundleVersion,
  MessageSignature,
} from './bundle.ts'
import { envelopeFrom } from './dsse.ts'
import type { LogEntryEvidence } from './log-entry.ts'
import {
  arrayAt,
  bad,
  bytesAt,
  indexAt,
  objectAt,
  optionalObjectAt,
  type Source,
  stringAt,
} from './protojson.ts'

/** Longest bundle text that is read, in UTF-16 units: an SBOM attestation may be large. */
const MAX_TEXT = 64 * 1024 * 1024
/** Bounds of sigstore-go. */
const MAX_ENTRIES = 32
const MAX_TIMESTAMPS = 32
const MAX_CHAIN = 16
const MAX_PROOF = 64

const VERSIONS: ReadonlyMap<string, BundleVersion> = new Map([
  ['application/vnd.dev.sigstore.bundle+json;version=0.1', '0.1'],
  ['application/vnd.dev.sigstore.bundle+json;version=0.2', '0.2'],
  ['application/vnd.dev.sigstore.bundle+json;version=0.3', '0.3'],
  [BUNDLE_TYPE, '0.3'],
])

/**
 * Reads an attacker-controlled bundle of version 0.1 to 0.3: unknown and double members are refused, exactly one content and one kind of
 * key material, and what the version demands of log entries (0.1: promise, from 0.2: proof with checkpoint), chains and signatures.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseBundle(text: string): Bundle {
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the bundle' }
  if (text.length > MAX_TEXT) throw bad(source, 'it is too large')
  const root = objectAt(source, parseJson(text, { maxDepth: 32, ...source }), 'bundle', [
    'mediaType',
    'verificationMaterial',
    'messageSignature',
    'dsseEnvelope',
  ])
  const version = VERSIONS.get(stringAt(source, root['mediaType'], 'mediaType'))
  if (version === undefined)
    throw bad(source, 'mediaType is not a bundle of version 0.1, 0.2 or 0.3')
  const material = objectAt(source, root['verificationMaterial'], 'verificationMaterial', [
    'publicKey',
    'certificate',
    'x509CertificateChain',
    'tlogEntries',
    'timestampVerificationData',
  ])
  return {
    version,
    material: parseMaterial(source, material, version),
    entries: arrayAt(source, material['tlogEntries'], 'tlogEntries', MAX_ENTRIES).map(
      (entry, index) => parseEntry(source, entry, `tlogEntries[${index}]`, version),
    ),
    timestamps: parseTimestamps(source, material['timestampVerificationData']),
    content: parseContent(source, root, version),
  }
}

function parseMaterial(source: Source, holder: JsonObject, version: BundleVersion): BundleMaterial {
  const publicKey = optionalObjectAt(source, holder['publicKey'], 'publicKey', ['hint'])
  const leaf = optionalObjectAt(source, holder['certificate'], 'certificate', ['rawBytes'])
  const chain = optionalObjectAt(source, holder['x509CertificateChain'], 'x509CertificateChain', [
    'certificates',
  ])
  if ([publicKey, leaf, chain].filter((one) => one !== null).length !== 1) {
    throw bad(source, 'it has not exactly one of publicKey, certificate and x509CertificateChain')
  }
  if (publicKey !== null)
    return { kind: 'publicKey', hint: stringAt(source, publicKey['hint'], 'hint') }
  if (chain !== null && version === '0.3') {
    throw bad(source, 'x509CertificateChain is not allowed in version 0.3')
  }
  const certificates =
    leaf === null ? arrayAt(source, chain?.['certificates'], 'certificates', MAX_CHAIN) : [leaf]
  const ders = certificates.map((certificate) =>
    bytesAt(
      source,
      objectAt(source, certificate, 'certificate', ['rawBytes'])['rawBytes'],
      'rawBytes',
    ),
  )
  if (ders.length === 0 || ders.some((der) => der.length === 0))
    throw bad(source, 'a certificate is missing')
  return { kind: 'certificate', chain: ders }
}

function parseContent(source: Source, root: JsonObject, version: BundleVersion): BundleContent {
  const dsse = optionalObjectAt(source, root['dsseEnvelope'], 'dsseEnvelope', [
    'payload',
    'payloadType',
    'signatures',
  ])
  const message = optionalObjectAt(source, root['messageSignature'], 'messageSignature', [
    'messageDigest',
    'signature',
  ])
  if ((dsse === null) === (message === null)) {
    throw bad(source, 'it has not exactly one of dsseEnvelope and messageSignature')
  }
  if (dsse !== null) {
    for (const signature of arrayAt(source, dsse['signatures'], 'signatures', MAX_ENTRIES)) {
      objectAt(source, signature, 'signature', ['sig', 'keyid'])
    }
    const envelope = envelopeFrom(source, dsse, 'dsseEnvelope')
    if (version === '0.3' && envelope.signatures.length !== 1) {
      throw bad(source, 'version 0.3 allows exactly one signature')
    }
    return { kind: 'dsse', envelope }
  }
  const signature = bytesAt(source, message?.['signature'], 'signature')
  if (signature.length === 0) throw bad(source, 'the signature is missing')
  return {
    kind: 'message',
    message: { messageDigest: parseMessageDigest(source, message?.['messageDigest']), signature },
  }
}

function parseMessageDigest(
  source: Source,
  value: Json | undefined,
): MessageSignature['messageDigest'] {
  const found = objectAt(source, value, 'messageDigest', ['algorithm', 'digest'])
  const algorithm = MESSAGE_HASHES.get(stringAt(source, found['algorithm'], 'algorithm'))
  if (algorithm === undefined)
    throw bad(source, 'messageDigest.algorithm is not SHA2_256, SHA2_384 or SHA2_512')
  return { algorithm, digest: bytesAt(source, found['digest'], 'messageDigest.digest') }
}

function parseTimestamps(source: Source, value: Json | undefined): Uint8Array[] {
  const data = optionalObjectAt(source, value, 'timestampVerificationData', ['rfc3161Timestamps'])
  return arrayAt(source, data?.['rfc3161Timestamps'], 'rfc3161Timestamps', MAX_TIMESTAMPS).map(
    (timestamp) =>
      bytesAt(
        source,
        objectAt(source, timestamp, 'rfc3161Timestamp', ['signedTimestamp'])['signedTimestamp'],
        'signedTimestamp',
      ),
  )
}

function parseEntry(
  source: Source,
  value: Json,
  path: string,
  version: BundleVersion,
): LogEntryEvidence {
  const entry = objectAt(source, value, path, [
    'logIndex',
    'logId',
    'kindVersion',
    'integratedTime',
    'inclusionPromise',
    'inclusionProof',
    'canonicalizedBody',
  ])
  const keyId = bytesAt(
    source,
    objectAt(source, entry['logId'], `${path}.logId`, ['keyId'])['keyId'],
    `${path}.logId.keyId`,
  )
  if (keyId.length !== 32) throw bad(source, `${path}.logId.keyId is not 32 bytes`)
  const kind = objectAt(source, entry['kindVersion'], `${path}.kindVersion`, ['kind', 'version'])
  const promise = optionalObjectAt(source, entry['inclusionPromise'], `${path}.inclusionPromise`, [
    'signedEntryTimestamp',
  ])
  const set =
    promise === null
      ? null
      : bytesAt(source, promise['signedEntryTimestamp'], `${path}.signedEntryTimestamp`)
  if (set?.length === 0) throw bad(source, `${path}.signedEntryTimestamp is empty`)
  if (version === '0.1' && set === null)
    throw bad(source, `${path}.inclusionPromise is missing, version 0.1 demands it`)
  const inclusionProof = parseProof(source, entry['inclusionProof'], `${path}.inclusionProof`)
  if (version !== '0.1' && inclusionProof === null) {
    throw bad(
      source,
      `${path}.inclusionProof with checkpoint is missing, version ${version} demands it`,
    )
  }
  const body = bytesAt(source, entry['canonicalizedBody'], `${path}.canonicalizedBody`)
  if (body.length === 0) throw bad(source, `${path}.canonicalizedBody is missing`)
  return {
    body,
    integratedTime: indexAt(source, entry['integratedTime'], `${path}.integratedTime`),
    logId: toHex(keyId),
    logIndex: indexAt(source, entry['logIndex'], `${path}.logIndex`),
    set,
    inclusionProof,
    kindVersion: {
      kind: stringAt(source, kind['kind'], 'kind'),
      version: stringAt(source, kind['version'], 'version'),
    },
  }
}

function parseProof(
  source: Source,
  value: Json | undefined,
  path: string,
): LogEntryEvidence['inclusionProof'] {
  const proof = optionalObjectAt(source, value, path, [
    'logIndex',
    'rootHash',
    'treeSize',
    'hashes',
    'checkpoint',
  ])
  if (proof === null) return null
  const checkpoint = optionalObjectAt(source, proof['checkpoint'], `${path}.checkpoint`, [
    'envelope',
  ])
  const hashes = arrayAt(source, proof['hashes'], `${path}.hashes`, MAX_PROOF).map((hash) =>
    bytesAt(source, hash, `${path}.hashes`),
  )
  const rootHash = bytesAt(source, proof['rootHash'], `${path}.rootHash`)
  if ([rootHash, ...hashes].some((hash) => hash.length !== 32))
    throw bad(source, `${path} has a hash that is not 32 bytes`)
  return {
    index: indexAt(source, proof['logIndex'], `${path}.logIndex`),
    treeSize: indexAt(source, proof['treeSize'], `${path}.treeSize`),
    rootHash,
    hashes,
    checkpoint: stringAt(source, checkpoint?.['envelope'], `${path}.checkpoint.envelope`),
  }
}
