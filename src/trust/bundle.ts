import { verify } from 'node:crypto'
import {
  AirsealError,
  asAirsealError,
  fromUtf8,
  isObject,
  parseJson,
  sha256Hex,
  utf8,
  type Json,
  type JsonObject,
  type PublicKey,
} from '../core/index.ts'
import { envelopeJson, pae, parseEnvelope, type Envelope } from '../sigstore/index.ts'
import { readDocument, writeDocument } from './document.ts'
import { invalid } from './members.ts'
import {
  TRUST_PAYLOAD_TYPE,
  type RootKey,
  type SignedTrustBundle,
  type TrustDocument,
  type TrustRoots,
} from './model.ts'

/** Largest file, bytes: payload in base64, and what led to it. */
const MAX_FILE = 64 * 1024 * 1024
const MAX_CHAIN = 64
/** How deep bundles of other enclaves are read inside each other. */
const MAX_NESTED = 3

/** A document on its way to its signatures. */
export interface UnsignedTrustBundle {
  readonly document: TrustDocument
  readonly payload: Uint8Array
}

/**
 * Reads a signed trust bundle: a DSSE envelope whose unsigned member `chain` may hold older bundles. A threshold of its *own* roots must have
 * signed it; whether these roots are to be believed is for {@link verifyTrustUpdate} or a pinned fingerprint to say.
 * @throws AirsealError TRUST_BUNDLE_INVALID, TRUST_THRESHOLD, TRUST_INVALID for a trusted root inside
 */
export function parseTrustBundle(bytes: Uint8Array): SignedTrustBundle {
  return parseBundleAt(bytes, 0)
}

/** @param depth - bundles around this one */
function parseBundleAt(bytes: Uint8Array, depth: number): SignedTrustBundle {
  if (bytes.length > MAX_FILE) invalid('file', `is larger than ${MAX_FILE} bytes`)
  const value = parseJson(fromUtf8(bytes, 'trust bundle', 'TRUST_BUNDLE_INVALID'), {
    maxDepth: 16,
    code: 'TRUST_BUNDLE_INVALID',
    what: 'trust bundle',
  })
  if (!isObject(value)) invalid('file', 'is not a DSSE envelope')
  const { chain, ...rest } = value
  if (chain !== undefined && !Array.isArray(chain)) invalid('chain', 'is not a list')
  if ((chain?.length ?? 0) > MAX_CHAIN) invalid('chain', `has more than ${MAX_CHAIN} bundles`)
  return {
    ...fromEnvelope(rest, depth),
    chain: (chain ?? []).map((link) => fromEnvelope(link, depth)),
  }
}

/** An envelope that a threshold of the roots in its payload has signed. */
function fromEnvelope(value: Json, depth: number): SignedTrustBundle {
  const envelope = readEnvelope(value)
  if (depth > MAX_NESTED) invalid('foreign', `holds bundles nested deeper than ${MAX_NESTED}`)
  const document = readDocument(envelope.payload, (carried) => fromEnvelope(carried, depth + 1))
  requireThreshold(envelope, document.roots, `its own roots (version ${document.roots.version})`)
  return { document, envelope, digest: `sha256:${sha256Hex(envelope.payload)}`, chain: [] }
}

/** @throws AirsealError TRUST_BUNDLE_INVALID */
function readEnvelope(value: Json): Envelope {
  let envelope: Envelope
  try {
    envelope = parseEnvelope(JSON.stringify(value))
  } catch (cause) {
    throw new AirsealError('TRUST_BUNDLE_INVALID', asAirsealError(cause).message, { cause })
  }
  if (envelope.payloadType !== TRUST_PAYLOAD_TYPE)
    invalid('payloadType', `is not ${TRUST_PAYLOAD_TYPE}`)
  return envelope
}

/**
 * Distinct roots whose signature over the envelope verifies. A key counts once, whatever it signs and however often it is named; the
 * envelope's key ids only say which key to try.
 */
export function signersOf(
  { payloadType, payload, signatures }: Envelope,
  roots: TrustRoots,
): readonly RootKey[] {
  const signed = pae(payloadType, payload)
  return roots.keys.filter(({ key }) =>
    signatures.some(({ keyid, sig }) => keyid === key.id && verifies(key, signed, sig)),
  )
}

/** @throws AirsealError TRUST_THRESHOLD naming who signed */
export function requireThreshold(envelope: Envelope, roots: TrustRoots, whose: string): void {
  const signers = signersOf(envelope, roots)
  if (signers.length >= roots.threshold) return
  const who = signers.map(({ name }) => name).join(', ') || 'none of them'
  throw new AirsealError(
    'TRUST_THRESHOLD',
    `the trust bundle is signed by ${who}, and ${roots.threshold} of ${whose} must sign: ${roots.keys.map(({ name }) => name).join(', ')}`,
  )
}

function verifies(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    const hash = key.algorithm.kind === 'rsa' ? 'sha256' : key.algorithm.hash
    return verify(hash, message, key.handle, signature)
  } catch {
    return false
  }
}

/** The bytes that a root key signs (DSSE 1.0 PAE). */
export function signedBytes(payload: Uint8Array): Uint8Array {
  return pae(TRUST_PAYLOAD_TYPE, payload)
}

/** A payload that nobody has signed yet, or not enough. @throws AirsealError TRUST_BUNDLE_INVALID, TRUST_INVALID */
export function readUnsigned(payload: Uint8Array): UnsignedTrustBundle {
  return { document: readDocument(payload, (carried) => fromEnvelope(carried, 1)), payload }
}

/** A document, ready to be signed. The payload is read again, so that nothing is signed that nobody could read. */
export function unsignedBundle(document: TrustDocument): UnsignedTrustBundle {
  return readUnsigned(writeDocument(document))
}

/** @throws AirsealError TRUST_THRESHOLD */
export function sealBundle(
  { payload }: Pick<UnsignedTrustBundle, 'payload'>,
  signatures: Envelope['signatures'],
  chain: readonly SignedTrustBundle[],
): SignedTrustBundle {
  const envelope = { payloadType: TRUST_PAYLOAD_TYPE, payload, signatures }
  return { ...fromEnvelope(envelopeJson(envelope), 0), chain }
}

/** JSON of a bundle without its chain. */
export function bundleJson({ envelope }: SignedTrustBundle): JsonObject {
  return envelopeJson(envelope)
}

/** The file of a bundle, UTF-8: an envelope that any DSSE reader takes, with the chain beside its members. */
export function bundleFile(bundle: SignedTrustBundle): Uint8Array {
  return utf8(`${JSON.stringify({ ...bundleJson(bundle), chain: bundle.chain.map(bundleJson) })}\n`)
}
