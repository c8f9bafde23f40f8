import {
  AirsealError,
  fromUtf8,
  isObject,
  parseJson,
  utf8,
  type Digest,
  type JsonObject,
} from '../core/index.ts'
import {
  descriptorJson,
  MAX_ENTRIES,
  MAX_MANIFEST,
  parseManifest,
  type Descriptor,
} from './manifest.ts'
import { MEDIA_TYPES } from './media-types.ts'

/** Annotation by which an entry of index.json has a tag (OCI image specification, "Pre-Defined Annotation Keys"). */
const REF_NAME = 'org.opencontainers.image.ref.name'
/** Annotation by which cosign finds an image and its signatures in a layout. */
const KIND = 'kind'
const KINDS = {
  image: 'dev.cosignproject.cosign/image',
  index: 'dev.cosignproject.cosign/imageIndex',
  sig: 'dev.cosignproject.cosign/sigs',
  att: 'dev.cosignproject.cosign/atts',
} as const
const LEGACY_TAG = /^(sha256)-([0-9a-f]{64})\.(sig|att)$/

/** index.json of a layout: the entries, and the document they come from. */
export interface LayoutIndex {
  readonly entries: readonly Descriptor[]
  readonly json: JsonObject
}

/** @throws AirsealError LAYOUT_INVALID, TOO_LARGE */
export function parseLayoutIndex(bytes: Uint8Array, path: string): LayoutIndex {
  try {
    const manifest = parseManifest(bytes, MEDIA_TYPES.ociIndex)
    if (manifest.kind === 'index') return { entries: manifest.manifests, json: manifest.json }
  } catch (cause) {
    if (!(cause instanceof AirsealError) || cause.code === 'TOO_LARGE') throw cause
    throw new AirsealError('LAYOUT_INVALID', `${path}: ${cause.message}`, { cause })
  }
  throw new AirsealError('LAYOUT_INVALID', `${path} is not an image index`)
}

/** @throws AirsealError LAYOUT_INVALID unless `bytes` are the file `oci-layout` of version 1.x */
export function checkLayoutFile(bytes: Uint8Array, path: string): void {
  const json = parseJson(fromUtf8(bytes, path, 'LAYOUT_INVALID'), {
    code: 'LAYOUT_INVALID',
    what: path,
  })
  const version = isObject(json) ? json['imageLayoutVersion'] : undefined
  if (typeof version !== 'string' || !/^1\.[0-9]{1,3}\.[0-9]{1,3}$/.test(version)) {
    throw new AirsealError('LAYOUT_INVALID', `${path} names no layout version 1.x`)
  }
}

/** Entry with the tag `tag`; null when there is none. @throws AirsealError LAYOUT_INVALID when two manifests have it */
export function findTag(index: LayoutIndex, tag: string): Descriptor | null {
  const found = index.entries.filter((entry) => entry.annotations[REF_NAME] === tag)
  if (new Set(found.map(({ digest }) => digest)).size > 1) {
    throw new AirsealError('LAYOUT_INVALID', `index.json gives the tag ${tag} to several manifests`)
  }
  return found[0] ?? savedBesides(index, tag)
}

/**
 * The signatures or attestations that cosign's `save` put beside the only image of a layout. It gives them no tag, so they count for `tag`
 * only where it is the tag of that image.
 */
function savedBesides({ entries }: LayoutIndex, tag: string): Descriptor | null {
  const wanted = LEGACY_TAG.exec(tag)
  const [image, ...others] = [...new Set(entries.filter(isSavedImage).map(({ digest }) => digest))]
  if (wanted === null || others.length > 0 || image !== `sha256:${wanted[2]}`) return null
  const kind = wanted[3] === 'sig' ? KINDS.sig : KINDS.att
  const [found, more] = entries.filter(
    ({ annotations }) => annotations[KIND] === kind && annotations[REF_NAME] === undefined,
  )
  return more === undefined ? (found ?? null) : null
}

function isSavedImage({ annotations }: Descriptor): boolean {
  return annotations[KIND] === KINDS.image || annotations[KIND] === KINDS.index
}

/** True for a layout of the form that cosign's `save` writes: what refers to its image may lie in it unlisted. */
export function isSaved({ entries }: LayoutIndex): boolean {
  return entries.some(isSavedImage)
}

/** True for an entry that only says something about an image: signatures, attestations, the list of referrers. */
export function isAbout(entry: Descriptor): boolean {
  const kind = entry.annotations[KIND]
  const tag = entry.annotations[REF_NAME] ?? ''
  return kind === KINDS.sig || kind === KINDS.att || isAboutTag(tag)
}

function isAboutTag(tag: string): boolean {
  return /^sha256-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?$/.test(tag)
}

/**
 * index.json with `descriptor` under `tag`, or listed without one. What is there stays as it is, but for the tag, which moves.
 * Signatures and attestations of an image that is itself an entry, and that image, get the annotations by which cosign finds them.
 * @throws AirsealError TOO_LARGE beyond 1000 entries or 4 MiB
 */
export function withEntry(
  index: LayoutIndex,
  descriptor: Descriptor,
  tag: string | undefined,
): Uint8Array {
  const { json } = index
  let manifests = (json['manifests'] ?? []) as JsonObject[]
  if (tag === undefined) {
    if (manifests.some((entry) => entry['digest'] === descriptor.digest))
      return utf8(JSON.stringify(json))
    manifests = [...manifests, descriptorJson(descriptor)]
  } else {
    manifests = manifests.filter((entry) => annotationsOf(entry)[REF_NAME] !== tag)
    const found = LEGACY_TAG.exec(tag)
    const annotations: Record<string, string> = { [REF_NAME]: tag }
    if (found !== null) {
      const subject = `sha256:${found[2]}`
      const topLevel = manifests.some((entry) => entry['digest'] === subject)
      if (topLevel) annotations[KIND] = found[3] === 'sig' ? KINDS.sig : KINDS.att
      manifests = manifests.map((entry) => (entry['digest'] === subject ? asImage(entry) : entry))
    }
    manifests = [...manifests, descriptorJson({ ...descriptor, annotations })]
  }
  const bytes = utf8(JSON.stringify({ ...json, manifests }))
  if (manifests.length > MAX_ENTRIES || bytes.length > MAX_MANIFEST) {
    throw new AirsealError(
      'TOO_LARGE',
      `index.json would have too many entries: ${manifests.length}`,
    )
  }
  return bytes
}

/** index.json with `descriptor` listed as an image, as cosign's `load` looks for it. @throws AirsealError TOO_LARGE */
export function withImage(index: LayoutIndex, descriptor: Descriptor): Uint8Array {
  const listed = parseLayoutIndex(withEntry(index, descriptor, undefined), 'index.json')
  const manifests = (listed.json['manifests'] as JsonObject[]).map((entry) =>
    entry['digest'] === descriptor.digest ? asImage(entry) : entry,
  )
  return utf8(JSON.stringify({ ...listed.json, manifests }))
}

function asImage(entry: JsonObject): JsonObject {
  const annotations = annotationsOf(entry)
  if (annotations[KIND] !== undefined) return entry
  const isIndex =
    entry['mediaType'] === MEDIA_TYPES.ociIndex || entry['mediaType'] === MEDIA_TYPES.dockerList
  return { ...entry, annotations: { ...annotations, [KIND]: isIndex ? KINDS.index : KINDS.image } }
}

function annotationsOf(entry: JsonObject): JsonObject {
  const annotations = entry['annotations']
  return isObject(annotations) ? annotations : {}
}

/** An index.json without entries. */
export function emptyIndex(): Uint8Array {
  return utf8(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }))
}

/** Entries that may be referrers: each digest once. */
export function manifestDigests(index: LayoutIndex): Digest[] {
  return [...new Set(index.entries.map(({ digest }) => digest))]
}
