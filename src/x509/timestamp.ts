import { createHash } from 'node:crypto'
import {
  Certificate as PkiCertificate,
  IssuerAndSerialNumber,
  SignedData,
  type SignerInfo,
  TimeStampResp,
  TSTInfo,
} from 'pkijs'
import { AirsealError, bytesEqual, sha256, toHex, verifyMessage } from '../core/index.ts'
import type { HashName, PublicKey } from '../core/index.ts'
import { parseCertificate } from './certificate.ts'
import { checkDer, childrenOf, readDer, TAG, withTag } from './der.ts'
import type { Link } from './path.ts'
import { readProfile } from './profile.ts'

const SIGNED_DATA = '1.2.840.113549.1.7.2'
const TST_INFO = '1.2.840.113549.1.9.16.1.4'
const CONTENT_TYPE = '1.2.840.113549.1.9.3'
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4'
const SIGNING_CERTIFICATE_V1 = '1.2.840.113549.1.9.16.2.12'
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47'
const HASHES: ReadonlyMap<string, HashName> = new Map([
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
])

/** Signature algorithms: kind of key, and hash; null: that of the digest algorithm. */
const SIGNATURES: ReadonlyMap<string, readonly [PublicKey['algorithm']['kind'], HashName | null]> =
  new Map([
    ['1.2.840.10045.4.3.2', ['ec', 'sha256']],
    ['1.2.840.10045.4.3.3', ['ec', 'sha384']],
    ['1.2.840.10045.4.3.4', ['ec', 'sha512']],
    ['1.2.840.113549.1.1.1', ['rsa', null]],
    ['1.2.840.113549.1.1.11', ['rsa', 'sha256']],
    ['1.2.840.113549.1.1.12', ['rsa', 'sha384']],
    ['1.2.840.113549.1.1.13', ['rsa', 'sha512']],
  ])

const MAX_TOKEN = 64 * 1024
const MAX_CERTIFICATES = 8

/** A time-stamp token taken apart (RFC 3161 §2.4.2); nothing about it is verified. */
export interface TimestampToken {
  /** Name (DER) and serial number (hex) of the certificate that is said to have signed. */
  readonly signer: { readonly issuer: Uint8Array; readonly serial: string }
  /** The certificate of that name in the token; null when it carries none. */
  readonly embedded: Link | null
  /** Milliseconds since 1970. */
  readonly time: number
  readonly information: SignerInfo
  readonly info: TSTInfo
  /** The encapsulated TSTInfo. */
  readonly content: Uint8Array
}

/**
 * Reads an attacker-controlled TimeStampResp: granted, DER, one signer named by issuer and serial number, SHA-2 throughout.
 * @throws AirsealError KEY_INVALID
 */
export function readTimestamp(der: Uint8Array): TimestampToken {
  if (der.length > MAX_TOKEN) throw invalid(`is larger than ${MAX_TOKEN} bytes`)
  checkDer(der)
  checkForm(der)
  try {
    return readResponse(der)
  } catch (cause) {
    if (cause instanceof AirsealError) throw cause
    throw invalid('is malformed', cause)
  }
}

/** SignedData holds version, hashes, content, perhaps certificates, and signers (RFC 5652 §5.1); revocation lists have no place in a token. */
function checkForm(der: Uint8Array): void {
  const [, token] = childrenOf(readDer(der), TAG.sequence)
  const [, explicit] = childrenOf(token, TAG.sequence)
  const tags = childrenOf(childrenOf(explicit, 0xa0)[0], TAG.sequence).map(({ tag }) => tag)
  const wanted = [TAG.integer, TAG.set, TAG.sequence, ...(tags.length === 5 ? [0xa0] : []), TAG.set]
  if (tags.join() !== wanted.join()) throw invalid('is signed data of another form')
}

function readResponse(der: Uint8Array): TimestampToken {
  const response = TimeStampResp.fromBER(copy(der))
  const status: number = response.status.status
  const token = response.timeStampToken
  if ((status !== 0 && status !== 1) || token === undefined) throw invalid('was not granted')
  if (token.contentType !== SIGNED_DATA) throw invalid('is not signed data')
  const signed = new SignedData({ schema: token.content as unknown })
  const [signer] = signed.signerInfos
  if (signer === undefined || signed.signerInfos.length !== 1)
    throw invalid('has not exactly one signer')
  checkAlgorithms(signed, signer)
  const sid: unknown = signer.sid
  if (!(sid instanceof IssuerAndSerialNumber))
    throw invalid('does not name its signer by issuer and serial number')
  if (signed.encapContentInfo.eContentType !== TST_INFO) throw invalid('holds no time')
  const content = signed.encapContentInfo.eContent?.getValue()
  if (content === undefined) throw invalid('holds no time')
  checkDer(new Uint8Array(content))
  const info = TSTInfo.fromBER(content)
  if (info.version !== 1) throw invalid('is of an unknown version')
  if ((info.extensions ?? []).some(({ critical }) => critical))
    throw invalid('has a critical extension')
  const time = info.genTime.getTime()
  if (!Number.isSafeInteger(time)) throw invalid('has no readable time')
  const name = {
    issuer: new Uint8Array(sid.issuer.toSchema().toBER()),
    serial: toHex(new Uint8Array(sid.serialNumber.valueBlock.valueHexView)),
  }
  return {
    signer: name,
    embedded: embeddedSigner(signed, name),
    time,
    information: signer,
    info,
    content: new Uint8Array(content),
  }
}

/** What no signature covers must still be what it should: one spelling of a token, whatever else would be accepted. */
function checkAlgorithms(
  { version, digestAlgorithms, crls }: SignedData,
  { digestAlgorithm }: SignerInfo,
): void {
  const [only] = digestAlgorithms
  if (version !== 3 || only === undefined || digestAlgorithms.length !== 1 || crls !== undefined) {
    throw invalid('is signed data of another form')
  }
  if (only.algorithmId !== digestAlgorithm.algorithmId) throw invalid('names two hashes')
  for (const { algorithmParams } of [only, digestAlgorithm]) {
    const params = algorithmParams as { toBER(): ArrayBuffer } | undefined
    // Absent or NULL (RFC 5754 §2).
    if (params !== undefined && toHex(new Uint8Array(params.toBER())) !== '0500') {
      throw invalid('has parameters with its hash')
    }
  }
}

function embeddedSigner(
  signed: SignedData,
  { issuer, serial }: TimestampToken['signer'],
): Link | null {
  const certificates = signed.certificates ?? []
  if (certificates.length > MAX_CERTIFICATES)
    throw invalid(`has more than ${MAX_CERTIFICATES} certificates`)
  for (const candidate of certificates) {
    if (!(candidate instanceof PkiCertificate)) continue
    const certificate = parseCertificate(new Uint8Array(candidate.toSchema().toBER()))
    const link = { certificate, profile: readProfile(certificate) }
    if (link.profile.serial === serial && bytesEqual(link.profile.issuer, issuer)) return link
  }
  return null
}

/**
 * Whether `signer`, chosen and trusted by the caller, signed this token over exactly `stamped`. Certificates in the token play no part.
 * @returns what is wrong, null when nothing is
 * @throws AirsealError KEY_INVALID
 */
export async function verifyTimestamp(
  { information, info, content, signer: named }: TimestampToken,
  signer: Link,
  stamped: Uint8Array,
): Promise<string | null> {
  const { profile, certificate } = signer
  if (named.serial !== profile.serial || !bytesEqual(named.issuer, profile.issuer))
    return 'names another signer'
  const { hashAlgorithm, hashedMessage } = info.messageImprint
  const hash = HASHES.get(hashAlgorithm.algorithmId)
  if (hash === undefined) return 'uses a hash that is not SHA-2'
  const imprint = createHash(hash).update(stamped).digest()
  if (!bytesEqual(imprint, hashedMessage.valueBlock.valueHexView)) return 'is for another signature'
  const problem = attributesProblem(information, content, certificate.der)
  if (problem !== null) return problem
  const [kind, signatureHash] = SIGNATURES.get(information.signatureAlgorithm.algorithmId) ?? [
    null,
    null,
  ]
  const key = certificate.publicKey
  const own = signatureHash ?? HASHES.get(information.digestAlgorithm.algorithmId)
  if (kind !== key.algorithm.kind || own === undefined)
    return 'is signed with an algorithm that is not accepted'
  // RFC 5652 §5.4: signed is the SET OF, not the context tag that stands in the message.
  const attributes = new Uint8Array(information.signedAttrs?.encodedValue ?? new ArrayBuffer(0))
  if (attributes[0] !== TAG.set) return 'lacks signed attributes'
  const good = await verifyMessage(
    key,
    own,
    attributes,
    information.signature.valueBlock.valueHexView,
  )
  return good ? null : 'has a signature that does not verify'
}

/** Signed attributes (RFC 5652 §5.3, RFC 5035): content type, digest, and the certificate that signed, so that no other can be put in its place. */
function attributesProblem(
  { signedAttrs, digestAlgorithm, version }: SignerInfo,
  content: Uint8Array,
  certificate: Uint8Array,
): string | null {
  if (version !== 1) return 'is of an unknown version'
  const hash = HASHES.get(digestAlgorithm.algorithmId)
  if (hash === undefined) return 'uses a hash that is not SHA-2'
  const attributes = signedAttrs?.attributes ?? []
  const types = attributes.map(({ type }) => type)
  if (new Set(types).size !== types.length) return 'has an attribute twice'
  const single = (id: string): Uint8Array | null => {
    const values = attributes.find(({ type }) => type === id)?.values ?? []
    const [value] = values as { toBER(): ArrayBuffer }[]
    return value === undefined || values.length !== 1 ? null : new Uint8Array(value.toBER())
  }
  const type = single(CONTENT_TYPE)
  const digest = single(MESSAGE_DIGEST)
  if (type === null || digest === null) return 'lacks a signed attribute'
  const said = withTag(readDer(digest), TAG.octetString).content
  if (!bytesEqual(said, createHash(hash).update(content).digest()))
    return 'has another content than was signed'
  // The object identifier of TSTInfo in DER.
  if (toHex(type) !== '060b2a864886f70d0109100104') return 'is signed as something else'
  const v2 = single(SIGNING_CERTIFICATE_V2)
  const v1 = single(SIGNING_CERTIFICATE_V1)
  if (v2 !== null) {
    return bytesEqual(firstHash(v2), hashFor(v2, certificate))
      ? null
      : 'was signed with another certificate'
  }
  if (v1 === null) return 'does not name the certificate that signed'
  const sha1 = createHash('sha1').update(certificate).digest()
  return bytesEqual(firstHash(v1), sha1) ? null : 'was signed with another certificate'
}

/** Parts of the first ESSCertID or ESSCertIDv2. */
function firstCertificateId(attribute: Uint8Array) {
  const [ids] = childrenOf(readDer(attribute), TAG.sequence)
  return childrenOf(childrenOf(ids, TAG.sequence)[0], TAG.sequence)
}

function firstHash(attribute: Uint8Array): Uint8Array {
  const hash = firstCertificateId(attribute).find(({ tag }) => tag === TAG.octetString)
  return withTag(hash, TAG.octetString).content
}

/** The hash of the certificate that ESSCertIDv2 demands: SHA-256 unless it says otherwise. */
function hashFor(attribute: Uint8Array, certificate: Uint8Array): Uint8Array {
  const length = firstHash(attribute).length
  const name = length === 48 ? 'sha384' : length === 64 ? 'sha512' : null
  return name === null ? sha256(certificate) : createHash(name).update(certificate).digest()
}

function copy(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer
}

function invalid(problem: string, cause?: unknown): AirsealError {
  return new AirsealError('KEY_INVALID', `the time stamp ${problem}`, { cause })
}
