import { concat, isObject, parseJson, toBase64, utf8 } from '../core/index.ts'
import type { Json } from '../core/index.ts'
import { anyBase64, arrayAt, bad, type Source, stringAt } from './protojson.ts'

/** Media type of an envelope stored as a layer. */
export const DSSE_TYPE = 'application/vnd.dsse.envelope.v1+json'
/** Payload type of in-toto statements. */
export const IN_TOTO_TYPE = 'application/vnd.in-toto+json'

/** Signatures read from one envelope at most. */
const MAX_SIGNATURES = 32

/** DSSE envelope (secure-systems-lab/dsse 1.0). */
export interface Envelope {
  readonly payloadType: string
  readonly payload: Uint8Array
  readonly signatures: readonly EnvelopeSignature[]
}

export interface EnvelopeSignature {
  readonly sig: Uint8Array
  /** Unauthenticated hint; never decides anything. */
  readonly keyid: string
}

/** DSSE 1.0 PAE, the bytes that an envelope's signature signs: lengths are decimal byte counts. */
export function pae(payloadType: string, body: Uint8Array): Uint8Array {
  const type = utf8(payloadType)
  return concat(utf8(`DSSEv1 ${type.length} `), type, utf8(` ${body.length} `), body)
}

/** Compact JSON of `envelope`, in the member order of Sigstore's bundle: what is stored, logged and hashed. */
export function envelopeText(envelope: Envelope): string {
  return JSON.stringify(envelopeJson(envelope))
}

/** JSON members of `envelope`, standard base64. */
export function envelopeJson(envelope: Envelope): {
  payload: string
  payloadType: string
  signatures: { sig: string; keyid: string }[]
} {
  return {
    payload: toBase64(envelope.payload),
    payloadType: envelope.payloadType,
    signatures: envelope.signatures.map(({ sig, keyid }) => ({ sig: toBase64(sig), keyid })),
  }
}

/**
 * Reads an attacker-controlled envelope. Members beside the known ones are unsigned and unused, and older producers write some (`cert`),
 * so they are passed over; a member twice is refused.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseEnvelope(text: string): Envelope {
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the DSSE envelope' }
  return envelopeFrom(source, parseJson(text, { maxDepth: 16, ...source }), 'envelope')
}

/** Reads the members of an envelope that is part of a larger document. @throws AirsealError with the code of `source` */
export function envelopeFrom(source: Source, value: Json | undefined, path: string): Envelope {
  if (!isObject(value)) throw bad(source, `${path} is not an object`)
  const payloadType = stringAt(source, value['payloadType'], `${path}.payloadType`)
  if (payloadType === '') throw bad(source, `${path}.payloadType is missing`)
  if (typeof value['payload'] !== 'string') throw bad(source, `${path}.payload is missing`)
  const signatures = arrayAt(source, value['signatures'], `${path}.signatures`, MAX_SIGNATURES)
  if (signatures.length === 0) throw bad(source, `${path}.signatures is empty`)
  return {
    payloadType,
    payload: anyBase64(source, value['payload'], `${path}.payload`),
    signatures: signatures.map((signature, index) => {
      const at = `${path}.signatures[${index}]`
      if (!isObject(signature)) throw bad(source, `${at} is not an object`)
      const sig = anyBase64(source, stringAt(source, signature['sig'], `${at}.sig`), `${at}.sig`)
      if (sig.length === 0) throw bad(source, `${at}.sig is empty`)
      return { sig, keyid: stringAt(source, signature['keyid'], `${at}.keyid`) }
    }),
  }
}
