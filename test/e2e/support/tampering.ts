import { parseDigest } from '../../../src/core/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  DEFAULT_REGISTRY_SETTINGS,
  openRepository,
  parseReference,
  readBundles,
  readLegacyLayers,
  type LegacyKind,
  type Repository,
} from '../../../src/oci/index.ts'
import type { PushedImage } from './place.ts'

type JsonMap = Record<string, unknown>

/** A stored legacy signature, as the one who may write to the registry can change it. */
export interface StoredSignature {
  blob: Uint8Array
  annotations: Record<string, string>
}

const SIGNATURE = 'dev.cosignproject.cosign/signature'
const LOG_ENTRY = 'dev.sigstore.cosign/bundle'

/** One byte of a stored legacy signature changed, each in another part. */
export const LEGACY_FLIPS: Readonly<Record<string, (stored: StoredSignature) => void>> = {
  payload: (stored) => {
    stored.blob = flipByte(stored.blob)
  },
  signature: ({ annotations }) => {
    annotations[SIGNATURE] = flipBase64(annotations[SIGNATURE])
  },
  'log entry body': ({ annotations }) => {
    edit(annotations, (entry) => change(entry, ['Payload', 'body'], flipBase64))
  },
  'log entry time': ({ annotations }) => {
    edit(annotations, (entry) =>
      change(entry, ['Payload', 'integratedTime'], (time) => Number(time) ^ 1),
    )
  },
  'signed entry timestamp': ({ annotations }) => {
    edit(annotations, (entry) => change(entry, ['SignedEntryTimestamp'], flipBase64))
  },
}

/** One byte of a bundle changed, each in another part. */
export const BUNDLE_FLIPS: Readonly<Record<string, (bundle: JsonMap) => void>> = {
  payload: (bundle) => change(bundle, ['dsseEnvelope', 'payload'], flipBase64),
  signature: (bundle) => change(bundle, ['dsseEnvelope', 'signatures', '0', 'sig'], flipBase64),
  'log entry body': (bundle) => change(bundle, [...ENTRY, 'canonicalizedBody'], flipBase64),
  'log entry time': (bundle) =>
    change(bundle, [...ENTRY, 'integratedTime'], (time) => String(Number(time) ^ 1)),
  'signed entry timestamp': (bundle) =>
    change(bundle, [...ENTRY, 'inclusionPromise', 'signedEntryTimestamp'], flipBase64),
  'root hash of the inclusion proof': (bundle) =>
    change(bundle, [...ENTRY, 'inclusionProof', 'rootHash'], flipBase64),
  'signature of the checkpoint': (bundle) =>
    change(bundle, [...ENTRY, 'inclusionProof', 'checkpoint', 'envelope'], flipNote),
}

const ENTRY = ['verificationMaterial', 'tlogEntries', '0']

/** Copies the legacy signatures of one repository to the same image in another, changed by `change`. */
export async function copyLegacy(
  from: PushedImage,
  to: PushedImage,
  change: (stored: StoredSignature) => void,
  kind: LegacyKind = 'sig',
): Promise<number> {
  const digest = parseDigest(from.index)
  const target = await open(to)
  const layers = await readLegacyLayers(await open(from), digest, kind)
  for (const { blob, annotations, descriptor } of layers) {
    const stored = { blob, annotations: { ...annotations } }
    change(stored)
    const layer = { mediaType: descriptor.mediaType, ...stored }
    await appendLegacyLayer(target, digest, kind, layer, () => false)
  }
  return layers.length
}

/** Copies the bundles of one repository to the same image in another, changed by `change`. */
export async function copyBundles(
  from: PushedImage,
  to: PushedImage,
  change: (bundle: JsonMap) => void,
): Promise<number> {
  const digest = parseDigest(from.index)
  const target = await open(to)
  const { descriptor: subject } = await target.readManifest(digest)
  const bundles = await readBundles(await open(from), digest)
  for (const { blob } of bundles) {
    const bundle = JSON.parse(Buffer.from(blob).toString()) as JsonMap
    change(bundle)
    await target.addReferrer(
      buildBundleReferrer({
        bundle: Buffer.from(JSON.stringify(bundle)),
        subject,
        predicateType: 'https://sigstore.dev/cosign/sign/v1',
        created: new Date(0),
      }),
    )
  }
  return bundles.length
}

/** The bundles beside an image, as they are stored. @param reference - as airseal takes it */
export async function bundlesOf(reference: string): Promise<string[]> {
  const parsed = parseReference(reference)
  const repository = await openRepository(parsed, DEFAULT_REGISTRY_SETTINGS)
  const digest = parseDigest(reference.slice(reference.indexOf('@') + 1))
  return (await readBundles(repository, digest)).map(({ blob }) => Buffer.from(blob).toString())
}

function open({ reference }: PushedImage): Promise<Repository> {
  return openRepository(parseReference(reference), DEFAULT_REGISTRY_SETTINGS)
}

function edit(annotations: Record<string, string>, work: (entry: JsonMap) => void): void {
  const entry = JSON.parse(annotations[LOG_ENTRY] ?? '') as JsonMap
  work(entry)
  annotations[LOG_ENTRY] = JSON.stringify(entry)
}

function change(value: unknown, path: readonly string[], work: (old: unknown) => unknown): void {
  const [name = '', ...rest] = path
  const holder = value as JsonMap
  // A missing member would make a test that changes nothing.
  if (!(name in holder)) throw new Error(`there is no ${name}`)
  if (rest.length === 0) holder[name] = work(holder[name])
  else change(holder[name], rest, work)
}

/** Changes one bit in the middle. */
function flipByte(bytes: Uint8Array): Uint8Array {
  const copy = Buffer.from(bytes)
  const at = copy.length >> 1
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

function flipBase64(text: unknown): string {
  return Buffer.from(flipByte(Buffer.from(String(text), 'base64'))).toString('base64')
}

/** Changes the signature line of a signed note: its key hint (4 bytes) stays. */
function flipNote(text: unknown): string {
  return String(text).replace(/(— \S+ )(\S+)\n$/, (_line, start: string, signature: string) => {
    return `${start}${flipBase64(signature)}\n`
  })
}
