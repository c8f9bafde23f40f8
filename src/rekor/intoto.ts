import { canonicalJson, fromUtf8, isObject, sha256Hex } from '../core/index.ts'
import type { JsonObject } from '../core/index.ts'
import { pae } from '../sigstore/index.ts'
import { parseEnvelopeText } from './dsse.ts'
import type { CheckedSpec, EntryKind } from './kind.ts'
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

const MAX_SIGNATURES = 16
const MAX_KEYID = 1024
/** Characters; it is a media type. It is stored, so without a bound one short query would fetch many megabytes. */
const MAX_PAYLOAD_TYPE = 1024

/** intoto 0.0.1: one key, an envelope as text; the log keeps two hashes. Older clients write it, and cosign 2 asks for it when it verifies. */
export const intoto001: EntryKind = async (spec, purpose, verifiers) => {
  const content = objectMember(spec, 'content', 'spec')
  const sent = stringMember(spec, 'publicKey', 'spec')
  const verifier = verifiers.read(sent, () => base64Member(spec, 'publicKey', 'spec').bytes)
  if (member(content, 'envelope') === undefined) {
    if (purpose === 'create') throw entryError('entry not insertable into log: missing envelope')
    const payloadHash =
      member(content, 'payloadHash') === undefined
        ? null
        : sha256Member(content, 'payloadHash', 'spec.content')
    return {
      spec: spec001(sha256Member(content, 'hash', 'spec.content'), payloadHash, verifier),
      searchKeys: [],
    }
  }
  const text = stringMember(content, 'envelope', 'spec.content')
  const envelope = parseEnvelopeText(text)
  const verify = envelopeVerifier(pae(envelope.payloadType, envelope.payload))
  let verified = false
  for (const { bytes } of envelope.signatures) {
    verified ||= await verify(verifier.key, bytes)
  }
  if (!verified)
    throw entryError(
      'verifying signature: no signature of the envelope verifies with the public key',
    )
  const hash = sha256Hex(text)
  const payloadHash = sha256Hex(envelope.payload)
  return {
    spec: spec001(hash, payloadHash, verifier),
    searchKeys: [
      `sha256:${payloadHash}`,
      `sha256:${hash}`,
      verifier.searchKey,
      ...statementKeys(envelope.payloadType, envelope.payload),
      ...verifier.subjects,
    ],
  }
}

function spec001(hash: string, payloadHash: string | null, verifier: Verifier): string {
  const payload =
    payloadHash === null ? '' : `,"payloadHash":{"algorithm":"sha256","value":"${payloadHash}"}`
  return `{"content":{"hash":{"algorithm":"sha256","value":"${hash}"}${payload}},"publicKey":"${verifier.content}"}`
}

/**
 * intoto 0.0.2: an envelope as members whose texts are base64 once more. Keys and signatures are kept as sent, and `hash` is the client's
 * own statement, neither recomputed nor checked: that is Rekor's contract.
 */
export const intoto002: EntryKind = async (spec, purpose, verifiers) => {
  const content = objectMember(spec, 'content', 'spec')
  const envelope = objectMember(content, 'envelope', 'spec.content')
  const payloadType = stringMember(envelope, 'payloadType', 'envelope')
  if (payloadType.length > MAX_PAYLOAD_TYPE)
    throw entryError(`envelope.payloadType has more than ${MAX_PAYLOAD_TYPE} characters`)
  const hash = sha256Member(content, 'hash', 'spec.content')
  const signatures = readSignatures(envelope, verifiers)
  if (member(envelope, 'payload') === undefined) {
    if (purpose === 'create')
      throw entryError('entry not insertable into log: missing envelope payload')
    return checked002(
      payloadType,
      signatures,
      hash,
      sha256Member(content, 'payloadHash', 'spec.content'),
      [],
    )
  }
  const payload = dsseBase64(innerText(envelope, 'payload'), 'envelope.payload')
  const verify = envelopeVerifier(pae(payloadType, payload))
  for (const { verifier, bytes } of signatures) {
    if (!(await verify(verifier.key, bytes))) {
      throw entryError(
        'verifying signature: a signature of the envelope does not verify with its public key',
      )
    }
  }
  const payloadHash = sha256Hex(payload)
  return checked002(payloadType, signatures, hash, payloadHash, [
    `sha256:${payloadHash}`,
    ...signatures.map(({ verifier }) => verifier.searchKey),
    ...statementKeys(payloadType, payload),
    ...signatures.flatMap(({ verifier }) => verifier.subjects),
  ])
}

interface SignatureText {
  readonly stored: JsonObject
  readonly bytes: Uint8Array
  readonly verifier: Verifier
}

function readSignatures(envelope: JsonObject, verifiers: VerifierCache): readonly SignatureText[] {
  const list = listMember(envelope, 'signatures', 'envelope', MAX_SIGNATURES)
  if (list.length === 0) throw entryError('DSSE envelope must contain 1 or more signatures')
  return list.map((signature) => {
    if (!isObject(signature)) throw entryError('envelope.signatures must hold objects')
    const publicKey = stringMember(signature, 'publicKey', 'envelope.signatures')
    const keyid =
      member(signature, 'keyid') === undefined
        ? ''
        : stringMember(signature, 'keyid', 'envelope.signatures')
    if (keyid.length > MAX_KEYID)
      throw entryError(`envelope.signatures.keyid has more than ${MAX_KEYID} characters`)
    return {
      stored: {
        ...(keyid === '' ? {} : { keyid }),
        publicKey,
        sig: stringMember(signature, 'sig', 'envelope.signatures'),
      },
      bytes: dsseBase64(innerText(signature, 'sig'), 'envelope.signatures.sig'),
      verifier: verifiers.read(
        publicKey,
        () => base64Member(signature, 'publicKey', 'envelope.signatures').bytes,
      ),
    }
  })
}

/** Takes off the outer base64; what is inside is base64 again. */
function innerText(object: JsonObject, name: string): string {
  return fromUtf8(base64Member(object, name, 'envelope').bytes, `envelope.${name}`, 'ENTRY_INVALID')
}

function checked002(
  payloadType: string,
  signatures: readonly SignatureText[],
  hash: string,
  payloadHash: string,
  searchKeys: readonly string[],
): CheckedSpec {
  const spec = {
    content: {
      envelope: { payloadType, signatures: signatures.map(({ stored }) => stored) },
      hash: { algorithm: 'sha256', value: hash },
      payloadHash: { algorithm: 'sha256', value: payloadHash },
    },
  }
  return { spec: canonicalJson(spec), searchKeys }
}
