import { isObject, parseJson, sha256Hex } from '../core/index.ts'
import type { JsonObject } from '../core/index.ts'
import { pae } from '../sigstore/index.ts'
import type { EntryKind } from './kind.ts'
import {
  base64Member,
  dsseBase64,
  listMember,
  member,
  objectMember,
  sha256Member,
  stringMember,
} from './members.ts'
import { entryError } from './problems.ts'
import { envelopeVerifier } from './signatures.ts'
import { statementKeys } from './statement-keys.ts'
import type { Verifier, VerifierCache } from './verifier.ts'

/** Every key may be tried on every signature: this bounds the work of one request. */
const MAX_SIGNATURES = 16

export interface EnvelopeText {
  readonly payloadType: string
  readonly payload: Uint8Array
  /** Text as it stands in the envelope, and the bytes it means. */
  readonly signatures: readonly { readonly text: string; readonly bytes: Uint8Array }[]
}

/** dsse 0.0.1: an envelope of which the log keeps the hashes and the signatures. */
export const dsse: EntryKind = async (spec, purpose, verifiers) => {
  const proposed = member(spec, 'proposedContent')
  const stored = ['envelopeHash', 'payloadHash', 'signatures'].filter(
    (name) => member(spec, name) !== undefined,
  )
  if (
    (proposed === undefined) !== (stored.length === 3) ||
    (proposed !== undefined && stored.length > 0)
  ) {
    throw entryError(
      'either proposedContent or envelopeHash, payloadHash, and signatures must be present but not both',
    )
  }
  if (proposed === undefined) {
    if (purpose === 'create')
      throw entryError('entry not insertable into log: missing proposed content')
    return storedForm(spec)
  }
  const content = objectMember(spec, 'proposedContent', 'spec')
  const text = stringMember(content, 'envelope', 'spec.proposedContent')
  const envelope = parseEnvelopeText(text)
  const keys = readVerifiers(content, verifiers)
  const covered = await coverSignatures(envelope, keys)
  const envelopeHash = sha256Hex(text)
  const payloadHash = sha256Hex(envelope.payload)
  const used = [...covered.values()]
  return {
    spec: specText(
      envelopeHash,
      payloadHash,
      [...covered].map(([signature, { content: verifier }]) => ({ signature, verifier })),
    ),
    searchKeys: [
      `sha256:${payloadHash}`,
      `sha256:${envelopeHash}`,
      ...used.map(({ searchKey }) => searchKey),
      ...statementKeys(envelope.payloadType, envelope.payload),
      ...used.flatMap(({ subjects }) => subjects),
    ],
  }
}

/**
 * Reads the text of an attacker-controlled envelope. Its exact bytes are what the log's hash covers.
 * @throws AirsealError ENTRY_INVALID
 */
export function parseEnvelopeText(text: string): EnvelopeText {
  const envelope = parseJson(text, {
    maxDepth: 16,
    code: 'ENTRY_INVALID',
    what: 'the DSSE envelope',
  })
  if (!isObject(envelope)) throw entryError('the DSSE envelope is not an object')
  if (!Array.isArray(envelope['signatures']) || envelope['signatures'].length === 0) {
    throw entryError('DSSE envelope must contain 1 or more signatures')
  }
  return {
    payloadType: stringMember(envelope, 'payloadType', 'envelope'),
    payload: dsseBase64(stringMember(envelope, 'payload', 'envelope'), 'envelope.payload'),
    signatures: listMember(envelope, 'signatures', 'envelope', MAX_SIGNATURES).map((signature) => {
      if (!isObject(signature)) throw entryError('envelope.signatures must hold objects')
      const sig = stringMember(signature, 'sig', 'envelope.signatures')
      if (sig === '') throw entryError('envelope.signatures.sig is empty')
      return { text: sig, bytes: dsseBase64(sig, 'envelope.signatures.sig') }
    }),
  }
}

function readVerifiers(content: JsonObject, cache: VerifierCache): readonly Verifier[] {
  const list = listMember(content, 'verifiers', 'spec.proposedContent', MAX_SIGNATURES)
  if (list.length === 0)
    throw entryError('spec.proposedContent.verifiers should have at least 1 items')
  return list.map((item) => {
    if (typeof item !== 'string')
      throw entryError('spec.proposedContent.verifiers must hold strings')
    return cache.read(
      item,
      () => base64Member({ item }, 'item', 'spec.proposedContent.verifiers').bytes,
    )
  })
}

/**
 * Finds the key of every signature, as Rekor does: keys in order until all signatures are covered; each key stands for the first signature
 * it verifies, and one that verifies none is an error. Key ids are unauthenticated hints and decide nothing.
 */
async function coverSignatures(
  envelope: EnvelopeText,
  keys: readonly Verifier[],
): Promise<ReadonlyMap<string, Verifier>> {
  const verify = envelopeVerifier(pae(envelope.payloadType, envelope.payload))
  const wanted = new Map(envelope.signatures.map(({ text, bytes }) => [text, bytes]))
  const covered = new Map<string, Verifier>()
  for (const verifier of keys) {
    if (covered.size === wanted.size) break
    const found = await firstVerified(verifier, verify, wanted)
    if (found === null) {
      throw entryError(
        'could not verify envelope: accepted signatures do not match threshold, Found: 0, Expected 1',
      )
    }
    covered.set(found, verifier)
  }
  if (covered.size < wanted.size)
    throw entryError('all signatures must have a key that verifies it')
  return covered
}

async function firstVerified(
  verifier: Verifier,
  verify: ReturnType<typeof envelopeVerifier>,
  signatures: ReadonlyMap<string, Uint8Array>,
): Promise<string | null> {
  for (const [text, bytes] of signatures) {
    if (await verify(verifier.key, bytes)) return text
  }
  return null
}

/** The form in which the log keeps it: nothing in it can be verified, it is only looked up. */
function storedForm(spec: JsonObject): { spec: string; searchKeys: readonly string[] } {
  const signatures = listMember(spec, 'signatures', 'spec', MAX_SIGNATURES).map((signature) => {
    if (!isObject(signature)) throw entryError('spec.signatures must hold objects')
    const text = stringMember(signature, 'signature', 'spec.signatures')
    dsseBase64(text, 'spec.signatures.signature')
    return {
      signature: text,
      verifier: base64Member(signature, 'verifier', 'spec.signatures').text,
    }
  })
  const envelopeHash = sha256Member(spec, 'envelopeHash', 'spec')
  return {
    spec: specText(envelopeHash, sha256Member(spec, 'payloadHash', 'spec'), signatures),
    searchKeys: [],
  }
}

/** Only hex and base64 go in: nothing needs escaping, and code units sort like bytes. */
function specText(
  envelopeHash: string,
  payloadHash: string,
  signatures: readonly { signature: string; verifier: string }[],
): string {
  const list = [...signatures]
    .sort((a, b) => (a.signature < b.signature ? -1 : a.signature > b.signature ? 1 : 0))
    .map(({ signature, verifier }) => `{"signature":"${signature}","verifier":"${verifier}"}`)
  return `{"envelopeHash":{"algorithm":"sha256","value":"${envelopeHash}"},"payloadHash":{"algorithm":"sha256","value":"${payloadHash}"},"signatures":[${list.join(',')}]}`
}
