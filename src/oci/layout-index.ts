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
  return found[0] ?? null
}

/** True for an entry that only says something about an image: signatures, attestations, the list of referrers. */
export function isAbout(entry: Descriptor): boolean {
  const kind = entry.annotations[KIND]
  const tag = entry.annotations[REF_NAME] ?? ''
  return (
    kind === KINDS.sig ||
    kind === KINDS.att ||
    /^sha256-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?$/.test(tag)
  )
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
