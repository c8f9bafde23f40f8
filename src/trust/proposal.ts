import {
  fromBase64,
  fromUtf8,
  isObject,
  parseJson,
  toBase64,
  utf8,
  type Json,
} from '../core/index.ts'
import type { Envelope } from '../sigstore/index.ts'
import {
  bundleJson,
  parseTrustBundle,
  readUnsigned,
  sealBundle,
  signersOf,
  type UnsignedTrustBundle,
} from './bundle.ts'
import { invalid, Members } from './members.ts'
import { TRUST_PAYLOAD_TYPE, type RootKey, type SignedTrustBundle } from './model.ts'
import { chainAfter } from './update.ts'

const PROPOSAL_TYPE = 'application/vnd.airseal.trust-proposal+json;version=1'
const MAX_SIGNATURES = 32
const MAX_PROPOSAL = 96 * 1024 * 1024

/** A version that waits for signatures, and the one that it is to follow. */
export interface TrustProposal {
  readonly current: SignedTrustBundle
  readonly next: UnsignedTrustBundle
  readonly signatures: Envelope['signatures']
}

/**
 * Reads a proposal. The version that it follows must be signed by its own roots; that it is the one in force, only the service can tell.
 * @throws AirsealError TRUST_BUNDLE_INVALID, TRUST_THRESHOLD, TRUST_INVALID
 */
export function parseTrustProposal(bytes: Uint8Array): TrustProposal {
  if (bytes.length > MAX_PROPOSAL) invalid('proposal', `is larger than ${MAX_PROPOSAL} bytes`)
  const value = parseJson(fromUtf8(bytes, 'trust proposal', 'TRUST_BUNDLE_INVALID'), {
    maxDepth: 16,
    code: 'TRUST_BUNDLE_INVALID',
    what: 'trust proposal',
  })
  const members = new Members(value, 'proposal', ['mediaType', 'current', 'payload', 'signatures'])
  if (members.text('mediaType') !== PROPOSAL_TYPE)
    invalid(members.at('mediaType'), `is not ${PROPOSAL_TYPE}`)
  return {
    current: parseTrustBundle(utf8(JSON.stringify(members.value('current')))),
    next: readUnsigned(members.bytes('payload')),
    signatures: members.list('signatures', MAX_SIGNATURES, readSignature),
  }
}

function readSignature(value: Json, path: string): Envelope['signatures'][number] {
  const members = new Members(value, path, ['keyid', 'sig'])
  return {
    keyid: members.hex32('keyid'),
    sig: fromBase64(members.text('sig'), `trust proposal: ${path}`, 'TRUST_BUNDLE_INVALID'),
  }
}

/** The file of a proposal, UTF-8. */
export function proposalFile({ current, next, signatures }: TrustProposal): Uint8Array {
  const json = {
    mediaType: PROPOSAL_TYPE,
    current: { ...bundleJson(current), chain: current.chain.map(bundleJson) },
    payload: toBase64(next.payload),
    signatures: signatures.map(({ keyid, sig }) => ({ keyid, sig: toBase64(sig) })),
  }
  return utf8(`${JSON.stringify(json)}\n`)
}

/** The proposal with one more signature; a key that signs again replaces its own. */
export function withSignature(
  proposal: TrustProposal,
  signature: Envelope['signatures'][number],
): TrustProposal {
  const others = proposal.signatures.filter(({ keyid }) => keyid !== signature.keyid)
  return { ...proposal, signatures: [...others, signature] }
}

/** Who signed and how many are missing, for the roots in force and for the new ones where these differ. */
export function proposalState({ current, next, signatures }: TrustProposal): {
  readonly signed: readonly RootKey[]
  /** Signatures that are missing of the roots in force. */
  readonly missing: number
  /** The same of the new roots. */
  readonly missingNew: number
} {
  const envelope = { payloadType: TRUST_PAYLOAD_TYPE, payload: next.payload, signatures }
  const [old, now] = [current.document.roots, next.document.roots]
  const [byOld, byNew] = [signersOf(envelope, old), signersOf(envelope, now)]
  const known = new Set(byOld.map(({ key }) => key.id))
  return {
    signed: [...byOld, ...byNew.filter(({ key }) => !known.has(key.id))],
    missing: Math.max(0, old.threshold - byOld.length),
    missingNew: Math.max(0, now.threshold - byNew.length),
  }
}

/** The bundle of a proposal that enough have signed. @throws AirsealError TRUST_THRESHOLD */
export function sealProposal({ current, next, signatures }: TrustProposal): SignedTrustBundle {
  return sealBundle(next, signatures, chainAfter(current))
}

/** True when a file is a proposal, and not a bundle. */
export function isProposal(value: Json): boolean {
  return isObject(value) && value['mediaType'] === PROPOSAL_TYPE
}
