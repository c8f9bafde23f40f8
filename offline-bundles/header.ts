import {
  AirsealError,
  bytesEqual,
  canonicalJson,
  digestOf,
  fromUtf8,
  sha256Hex,
  utf8,
  verifyMessage,
  type Digest,
  type JsonObject,
} from '../src/core/index.ts'
import { envelopeText, pae, parseEnvelope, type Envelope } from '../src/sigstore/index.ts'
import type { TrustedKey } from '../src/verify/index.ts'
import { LIMITS } from './limits.ts'
import { isEnclaveName } from './names.ts'
import { Reader } from './reading.ts'

/** Type of the signed header (DSSE payloadType). */
const HEADER_TYPE = 'application/vnd.airseal.bundle.header.v1+json'

export const KINDS = ['full', 'delta', 'trust-only', 'rebase'] as const
export type Kind = (typeof KINDS)[number]

/** A log at one moment. `root`: 64 lower-case hex digits. */
export interface LogPoint {
  readonly size: number
  readonly root: string
}

/** A header of the same stream by number and digest. */
export interface HeaderPoint {
  readonly sequence: number
  readonly header: Digest
}

export interface Volume {
  /** Digest of the volume's SHA256SUMS. */
  readonly sums: Digest
  readonly files: number
  /** Of those files together. */
  readonly bytes: number
}

/** What the sender signs; FORMAT.md §3. */
export interface Header {
  readonly id: string
  readonly source: string
  /** Name of an enclave, or `any`. */
  readonly target: string
  /** From 1, without gaps, for each pair of source and target. */
  readonly sequence: number
  /** Digest of the header before; null for the first. */
  readonly previous: Digest | null
  readonly kind: Kind
  /** What a delta leaves out is what came with this bundle and those before it. */
  readonly base: HeaderPoint | null
  /** RFC 3339, UTC, seconds. For people; order comes from `sequence`. */
  readonly created: string
  readonly tool: string
  /** Content root: digest of contents.json. */
  readonly contents: Digest
  readonly log: LogPoint & { readonly origin: string }
  /** Version of the trust bundle in force. */
  readonly trust: { readonly version: number; readonly digest: Digest }
  readonly volumes: readonly Volume[]
  readonly images: number
  /** Earlier headers of the stream, newest first; only a rebase has them. */
  readonly history: readonly HeaderPoint[]
  /** The receiver's log as its last receipt stated it; the root is its first 24 hex digits. */
  readonly witness: {
    readonly enclave: string
    readonly size: number
    readonly root: string
  } | null
  /** Words of the sender for people, for example a classification. */
  readonly label: string | null
}

/** A header as it lies on the medium, parsed and not yet verified. */
export interface SignedHeader {
  readonly header: Header
  /** Digest of the signed payload: the header's name in the chain. */
  readonly digest: Digest
  readonly envelope: Envelope
  readonly bytes: Uint8Array
}

const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/
const ID = /^[0-9a-f]{32}$/
const ROOT = /^[0-9a-f]{64}$/

/** The bytes that are signed: canonical JSON (RFC 8785) with the id derived from all the rest. */
export function headerPayload(header: Omit<Header, 'id'>): { header: Header; payload: Uint8Array } {
  const members = headerJson(header)
  const id = sha256Hex(canonicalJson(members)).slice(0, 32)
  const payload = utf8(canonicalJson({ ...members, id }))
  return { header: parsePayload(payload), payload }
}

function headerJson(header: Omit<Header, 'id'>): JsonObject {
  return {
    format: 1,
    source: header.source,
    target: header.target,
    sequence: header.sequence,
    previous: header.previous,
    kind: header.kind,
    base: header.base === null ? null : { ...header.base },
    created: header.created,
    tool: header.tool,
    contents: header.contents,
    log: { ...header.log },
    trust: { ...header.trust },
    volumes: header.volumes.map((volume) => ({ ...volume })),
    images: header.images,
    history: header.history.map((point) => ({ ...point })),
    witness: header.witness === null ? null : { ...header.witness },
    label: header.label,
  }
}

/** Text of header.json. */
export function signedHeader(payload: Uint8Array, signature: Uint8Array, keyId: string): string {
  const signatures = [{ sig: signature, keyid: keyId }]
  return `${envelopeText({ payloadType: HEADER_TYPE, payload, signatures })}\n`
}

/** Bytes to be signed for a payload (DSSE PAE). */
export function headerMessage(payload: Uint8Array): Uint8Array {
  return pae(HEADER_TYPE, payload)
}

/** Reads header.json; nothing in it is verified. @throws AirsealError MEDIUM_INVALID */
export function parseHeader(bytes: Uint8Array): SignedHeader {
  if (bytes.length > LIMITS.header)
    throw invalid(`has ${bytes.length} bytes, at most ${LIMITS.header} are read`)
  let envelope
  try {
    envelope = parseEnvelope(fromUtf8(bytes, 'header.json'))
  } catch (cause) {
    throw invalid(`is no DSSE envelope: ${(cause as Error).message}`)
  }
  if (envelope.payloadType !== HEADER_TYPE)
    throw invalid(`is of type "${envelope.payloadType.slice(0, 80)}", want ${HEADER_TYPE}`)
  const header = parsePayload(envelope.payload)
  return { header, digest: digestOf(envelope.payload), envelope, bytes }
}

function parsePayload(payload: Uint8Array): Header {
  const reader = Reader.parse(payload, 'header.json')
  if (reader.raw('format') !== 1) {
    throw new AirsealError(
      'MEDIUM_INVALID',
      `header.json has format ${JSON.stringify(reader.raw('format') ?? null).slice(0, 20)}, this airseal reads 1`,
    )
  }
  reader.only(
    ...[
      'format',
      'id',
      'source',
      'target',
      'sequence',
      'previous',
      'kind',
      'base',
      'created',
      'tool',
    ],
    ...['contents', 'log', 'trust', 'volumes', 'images', 'history', 'witness', 'label'],
  )
  const kind = KINDS.find((one) => one === reader.raw('kind'))
  if (kind === undefined) throw invalid('has an unknown kind')
  const log = reader.object('log').only('size', 'root', 'origin')
  const trust = reader.object('trust').only('version', 'digest')
  const header: Header = {
    id: reader.text('id', ID),
    source: enclave(reader, 'source'),
    target: enclave(reader, 'target'),
    sequence: reader.whole('sequence'),
    previous: reader.has('previous') ? reader.digest('previous') : null,
    kind,
    base: reader.has('base') ? headerPoint(reader.object('base')) : null,
    created: reader.text('created', TIME),
    tool: reader.text('tool', undefined, 100),
    contents: reader.digest('contents'),
    log: {
      size: log.whole('size'),
      root: log.text('root', ROOT),
      origin: log.text('origin', undefined, 300),
    },
    trust: { version: trust.whole('version'), digest: trust.digest('digest') },
    volumes: reader.objects('volumes', LIMITS.volumes).map((volume) => ({
      sums: volume.only('sums', 'files', 'bytes').digest('sums'),
      files: volume.whole('files'),
      bytes: volume.whole('bytes'),
    })),
    images: reader.whole('images'),
    history: reader.objects('history', LIMITS.history).map(headerPoint),
    witness: reader.has('witness') ? witness(reader.object('witness')) : null,
    label: reader.has('label') ? reader.text('label', undefined, 1_000) : null,
  }
  checkHeader(header)
  const { id, ...rest } = header
  if (canonicalJson({ ...headerJson(rest), id }) !== Buffer.from(payload).toString())
    throw invalid('is not canonical JSON')
  if (sha256Hex(canonicalJson(headerJson(rest))).slice(0, 32) !== id)
    throw invalid('has an id that is not derived from its content')
  return header
}

function checkHeader(header: Header): void {
  const { sequence, kind, base, previous, volumes, history } = header
  if (sequence < 1) throw invalid('has a sequence below 1')
  if ((previous === null) !== (sequence === 1)) throw invalid('has no proper previous header')
  if ((base !== null) !== (kind === 'delta'))
    throw invalid('has a base without being a delta, or none')
  if (base !== null && base.sequence >= sequence) throw invalid('has a base that is not before it')
  if (history.length > 0 && kind !== 'rebase') throw invalid('has a history without being a rebase')
  if (volumes.length === 0) throw invalid('has no volume')
  const files = volumes.reduce((sum, volume) => sum + volume.files, 0)
  if (files > LIMITS.files) throw invalid(`has ${files} files, at most ${LIMITS.files} are read`)
  if (!Number.isSafeInteger(volumes.reduce((sum, volume) => sum + volume.bytes, 0)))
    throw invalid('has volumes of impossible size')
}

function headerPoint(reader: Reader): HeaderPoint {
  return {
    sequence: reader.only('sequence', 'header').whole('sequence'),
    header: reader.digest('header'),
  }
}

function witness(reader: Reader): NonNullable<Header['witness']> {
  reader.only('enclave', 'size', 'root')
  const root = reader.text('root', /^[0-9a-f]{24}$/)
  return { enclave: enclave(reader, 'enclave'), size: reader.whole('size'), root }
}

function enclave(reader: Reader, name: string): string {
  const text = reader.text(name)
  if (!isEnclaveName(text)) throw reader.fail(`has no name of an enclave as ${name}`)
  return text
}

/**
 * Checks the signature: one by a key that counts now. A key with ranges of log index must have one that holds the size of the sender's
 * log, so that a key that was retired there cannot sign what came later.
 * @param logId - of the sender's log, 64 hex digits
 * @param now - Unix milliseconds
 * @returns the key
 * @throws AirsealError TRANSFER_UNTRUSTED, MEDIUM_INVALID
 */
export async function verifyHeader(
  { header, envelope, bytes }: SignedHeader,
  keys: readonly TrustedKey[],
  logId: string,
  now: number,
): Promise<TrustedKey> {
  const name = `the header of bundle ${header.sequence} of ${header.source}`
  const [signature, ...others] = envelope.signatures
  if (signature === undefined || others.length > 0)
    throw new AirsealError('MEDIUM_INVALID', `${name} does not have one signature`)
  const message = pae(envelope.payloadType, envelope.payload)
  let why = 'is not signed by a key of the trust file'
  for (const trusted of keys) {
    const { key } = trusted
    if (!(await verifyMessage(key, key.algorithm.hash ?? 'sha256', message, signature.sig)))
      continue
    if (!isInTime(trusted, now) || !isInRange(trusted, logId, header.log.size)) {
      why = `is signed by the key "${trusted.name}", which does not count any more (or not yet)`
      continue
    }
    // Around what is signed nothing may differ either: no two files are the same bundle.
    if (!bytesEqual(bytes, utf8(signedHeader(envelope.payload, signature.sig, key.id))))
      throw new AirsealError('MEDIUM_INVALID', `${name} is not written as the format has it`)
    return trusted
  }
  throw new AirsealError('TRANSFER_UNTRUSTED', `${name} ${why}`)
}

function isInTime({ validFor }: TrustedKey, now: number): boolean {
  return (
    validFor === null || (validFor.start <= now && (validFor.end === null || now <= validFor.end))
  )
}

function isInRange({ validIn }: TrustedKey, logId: string, size: number): boolean {
  if (validIn === undefined || validIn === null) return true
  return validIn.some(
    (range) =>
      range.logId === logId &&
      (range.first === null || range.first <= size) &&
      (range.last === null || size <= range.last + 1),
  )
}

/** The first 24 hex digits of a root, as receipts state it. */
export function shortRoot(root: Uint8Array): string {
  return Buffer.from(root).toString('hex').slice(0, 24)
}

function invalid(problem: string): AirsealError {
  return new AirsealError('MEDIUM_INVALID', `header.json ${problem}`)
}
