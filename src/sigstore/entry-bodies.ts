import {
  AirsealError,
  fromBase64,
  fromHex,
  fromUtf8,
  isObject,
  parseJson,
  toHex,
  toPem,
} from '../core/index.ts'
import type { HashName, Json, JsonObject } from '../core/index.ts'
import { MESSAGE_HASHES } from './bundle-names.ts'

/** Hash in an entry body: name and lower-case hex. */
export interface BodyHash {
  readonly algorithm: HashName
  readonly value: string
}

/** A signature with the key or certificate that made it, as PEM text. */
export interface BodySignature {
  readonly signature: Uint8Array
  readonly verifierPem: string
}

/** What a log entry says. Kinds that airseal does not bind to signatures keep only their names. */
export type EntryBody =
  | ({
      readonly kind: 'hashedrekord'
      /** 0.0.2 is Rekor v2's, for messages and for the PAE of envelopes. */
      readonly version: '0.0.1' | '0.0.2'
      readonly hash: BodyHash
    } & BodySignature)
  | {
      readonly kind: 'dsse'
      readonly version: '0.0.1'
      readonly envelopeHash: BodyHash
      readonly payloadHash: BodyHash
      readonly signatures: readonly BodySignature[]
    }
  | {
      readonly kind: 'intoto'
      readonly version: '0.0.2'
      readonly payloadType: string
      readonly payloadHash: BodyHash
      readonly signatures: readonly BodySignature[]
    }
  | {
      readonly kind: 'intoto'
      readonly version: '0.0.1'
      /** Hash of the exact envelope text, the only tie to its signature. */
      readonly envelopeHash: BodyHash
      readonly payloadHash: BodyHash
      readonly verifierPem: string
    }
  | { readonly kind: 'other'; readonly name: string; readonly version: string }

const HEX_LENGTH: Readonly<Record<HashName, number>> = { sha256: 64, sha384: 96, sha512: 128 }
const WHAT = 'the log entry body'
const MAX_SIGNATURES = 32

/** Reads attacker-controlled entry bytes. @throws AirsealError ENTRY_INVALID */
export function parseEntryBody(bytes: Uint8Array): EntryBody {
  const text = fromUtf8(bytes, WHAT, 'ENTRY_INVALID')
  const root = object(parseJson(text, { maxDepth: 32, code: 'ENTRY_INVALID', what: WHAT }), 'entry')
  const kind = string(root, 'kind')
  const version = string(root, 'apiVersion')
  const spec = object(root['spec'], 'spec')
  switch (`${kind} ${version}`) {
    case 'hashedrekord 0.0.1':
      return hashedrekord(spec)
    case 'hashedrekord 0.0.2':
      return hashedrekord002(object(spec['hashedRekordV002'], 'hashedRekordV002'))
    case 'dsse 0.0.1':
      return dsse(spec)
    case 'intoto 0.0.2':
      return intoto002(object(spec['content'], 'content'))
    case 'intoto 0.0.1':
      return intoto001(spec)
    default:
      return { kind: 'other', name: kind, version }
  }
}

function hashedrekord(spec: JsonObject): EntryBody {
  const signature = object(spec['signature'], 'signature')
  return {
    kind: 'hashedrekord',
    version: '0.0.1',
    hash: hash(object(spec['data'], 'data')['hash']),
    signature: base64(signature, 'content'),
    verifierPem: pem(object(signature['publicKey'], 'publicKey'), 'content'),
  }
}

/** Protobuf JSON, canonical: standard base64, one verifier. */
function hashedrekord002(spec: JsonObject): EntryBody {
  const data = object(spec['data'], 'data')
  const algorithm = MESSAGE_HASHES.get(string(data, 'algorithm'))
  if (algorithm === undefined) throw invalid('hash algorithm is not SHA-2')
  const digest = toHex(base64(data, 'digest'))
  if (digest.length !== HEX_LENGTH[algorithm]) throw invalid('hash value has the wrong length')
  const signature = object(spec['signature'], 'signature')
  const verifier = object(signature['verifier'], 'verifier')
  const kinds = ['publicKey', 'x509Certificate'].filter((name) => Object.hasOwn(verifier, name))
  const [kind] = kinds
  if (kind === undefined || kinds.length !== 1)
    throw invalid('verifier is not one key or certificate')
  const der = base64(object(verifier[kind], kind), 'rawBytes')
  return {
    kind: 'hashedrekord',
    version: '0.0.2',
    hash: { algorithm, value: digest },
    signature: base64(signature, 'content'),
    verifierPem: toPem(kind === 'publicKey' ? 'PUBLIC KEY' : 'CERTIFICATE', der),
  }
}

function dsse(spec: JsonObject): EntryBody {
  return {
    kind: 'dsse',
    version: '0.0.1',
    envelopeHash: hash(spec['envelopeHash']),
    payloadHash: hash(spec['payloadHash']),
    signatures: list(spec['signatures']).map((signature) => ({
      signature: base64(signature, 'signature'),
      verifierPem: pem(signature, 'verifier'),
    })),
  }
}

function intoto002(content: JsonObject): EntryBody {
  const envelope = object(content['envelope'], 'envelope')
  return {
    kind: 'intoto',
    version: '0.0.2',
    payloadType: string(envelope, 'payloadType'),
    payloadHash: hash(content['payloadHash']),
    signatures: list(envelope['signatures']).map((signature) => ({
      // The schema's bytes hold text that is base64 itself.
      signature: fromBase64(
        fromUtf8(base64(signature, 'sig'), 'sig', 'ENTRY_INVALID'),
        'sig',
        'ENTRY_INVALID',
      ),
      verifierPem: pem(signature, 'publicKey'),
    })),
  }
}

function intoto001(spec: JsonObject): EntryBody {
  const content = object(spec['content'], 'content')
  return {
    kind: 'intoto',
    version: '0.0.1',
    envelopeHash: hash(content['hash']),
    payloadHash: hash(content['payloadHash']),
    verifierPem: pem(spec, 'publicKey'),
  }
}

function hash(value: Json | undefined): BodyHash {
  const members = object(value, 'hash')
  const algorithm = string(members, 'algorithm')
  if (algorithm !== 'sha256' && algorithm !== 'sha384' && algorithm !== 'sha512') {
    throw invalid(`hash algorithm "${algorithm.slice(0, 20)}" is not SHA-2`)
  }
  // Rekor keeps the case that the client sent.
  const hex = string(members, 'value').toLowerCase()
  fromHex(hex, 'hash value', 'ENTRY_INVALID')
  if (hex.length !== HEX_LENGTH[algorithm]) throw invalid('hash value has the wrong length')
  return { algorithm, value: hex }
}

function list(value: Json | undefined): JsonObject[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_SIGNATURES) {
    throw invalid(`signatures is not an array of 1 to ${MAX_SIGNATURES}`)
  }
  return value.map((element) => object(element, 'signature'))
}

function object(value: Json | undefined, name: string): JsonObject {
  if (!isObject(value)) throw invalid(`"${name}" is not an object`)
  return value
}

function string(holder: JsonObject, name: string): string {
  const value = holder[name]
  if (typeof value !== 'string' || value === '') throw invalid(`"${name}" is not a string`)
  return value
}

function base64(holder: JsonObject, name: string): Uint8Array {
  return fromBase64(string(holder, name), name, 'ENTRY_INVALID')
}

function pem(holder: JsonObject, name: string): string {
  return fromUtf8(base64(holder, name), name, 'ENTRY_INVALID')
}

function invalid(problem: string): AirsealError {
  return new AirsealError('ENTRY_INVALID', `${WHAT}: ${problem}`)
}
