import {
  AirsealError,
  fromUtf8,
  isDigest,
  isObject,
  parseJson,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { MANIFEST_KINDS, MEDIA_TYPES } from './media-types.ts'

/** Names content (OCI image specification, "Content Descriptors"). */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes, 0 to 2^53-1. */
  readonly size: number
  /** Empty when there are none. Has no prototype. */
  readonly annotations: Readonly<Record<string, string>>
  readonly artifactType?: string
  readonly platform?: Platform
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

interface ManifestCommon {
  readonly mediaType: string
  readonly annotations: Readonly<Record<string, string>>
  readonly artifactType?: string
  readonly subject?: Descriptor
  /** The whole document, for those who write it again with something added. */
  readonly json: JsonObject
}

export interface ImageManifest extends ManifestCommon {
  readonly kind: 'image'
  readonly config: Descriptor
  /** At most 1000. */
  readonly layers: readonly Descriptor[]
}

export interface ImageIndex extends ManifestCommon {
  readonly kind: 'index'
  /** At most 1000. */
  readonly manifests: readonly Descriptor[]
}

export type Manifest = ImageManifest | ImageIndex

/** Bytes; as containers/image and the distribution registry have it. */
export const MAX_MANIFEST = 4 * 1024 * 1024
/** Layers of a manifest, children of an index, referrers of a subject. */
export const MAX_ENTRIES = 1_000

/** Content types that say nothing about what a manifest is. */
const GENERIC = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'text/plain',
  'binary/octet-stream',
])

/**
 * Reads an image manifest or an index, OCI or Docker schema 2. Hostile: `bytes` and `declared`.
 * A document that could be read as either (GHSA-qq97-vm5h-rrhg), or that contradicts how it was declared, is refused.
 * @param declared - Content-Type, or mediaType of the descriptor that led here
 * @throws AirsealError MANIFEST_INVALID, or TOO_LARGE beyond 4 MiB or 1000 layers or children
 */
export function parseManifest(bytes: Uint8Array, declared = ''): Manifest {
  if (bytes.length > MAX_MANIFEST) {
    throw new AirsealError(
      'TOO_LARGE',
      `manifest has ${bytes.length} bytes, at most ${MAX_MANIFEST} are read`,
    )
  }
  const json = parseJson(fromUtf8(bytes, 'the manifest', 'MANIFEST_INVALID'), {
    maxDepth: 32,
    code: 'MANIFEST_INVALID',
    what: 'the manifest',
  })
  if (!isObject(json)) throw invalid('is not a JSON object')
  if (json['schemaVersion'] !== 2) throw invalid('has a schemaVersion other than 2')
  const mediaType = mediaTypeOf(json, declared)
  const common = {
    mediaType,
    annotations: parseAnnotations(json['annotations'], 'the manifest'),
    ...optionalText(json, 'artifactType', 'the manifest'),
    ...(json['subject'] === undefined
      ? {}
      : { subject: parseDescriptor(json['subject'], 'subject') }),
    json,
  }
  return MANIFEST_KINDS.get(mediaType) === 'index'
    ? { kind: 'index', ...common, manifests: parseList(json['manifests'] ?? [], 'manifests') } // null: an empty list as Go may write it
    : {
        kind: 'image',
        ...common,
        config: parseDescriptor(json['config'], 'config'),
        layers: parseList(json['layers'], 'layers'),
      }
}

function mediaTypeOf(json: JsonObject, declared: string): string {
  const stated = json['mediaType']
  if (stated !== undefined && typeof stated !== 'string')
    throw invalid('has a mediaType that is not text')
  const isIndex = json['manifests'] !== undefined
  if (isIndex && (json['layers'] !== undefined || json['config'] !== undefined)) {
    throw invalid('is an index and an image at once')
  }
  const content = declared.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  const claim = GENERIC.has(content) ? undefined : content
  const mediaType = stated ?? claim ?? (isIndex ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest)
  if (claim !== undefined && claim !== mediaType) {
    throw invalid(`says "${mediaType.slice(0, 100)}" but was declared as "${claim.slice(0, 100)}"`)
  }
  const kind = MANIFEST_KINDS.get(mediaType)
  if (kind === undefined)
    throw invalid(`is of type "${mediaType.slice(0, 100)}", which is not read`)
  if ((kind === 'index') !== isIndex) throw invalid(`does not hold what "${mediaType}" holds`)
  return mediaType
}

function parseList(value: Json | undefined, name: string): Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`has no list "${name}"`)
  if (value.length > MAX_ENTRIES) {
    throw new AirsealError(
      'TOO_LARGE',
      `manifest has too many ${name}: ${value.length}, at most ${MAX_ENTRIES} are read`,
    )
  }
  return value.map((item, index) => parseDescriptor(item, `${name}[${index}]`))
}

/** @throws AirsealError MANIFEST_INVALID with `where` in the message */
export function parseDescriptor(value: Json | undefined, where: string): Descriptor {
  if (!isObject(value)) throw invalid(`has no descriptor at ${where}`)
  const { mediaType, digest, size, platform } = value
  if (typeof mediaType !== 'string' || mediaType === '' || mediaType.length > 255) {
    throw invalid(`has no mediaType at ${where}`)
  }
  if (typeof digest !== 'string' || !isDigest(digest))
    throw invalid(`has no sha256 digest at ${where}`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`has no size at ${where}`)
  return {
    mediaType,
    digest,
    size,
    annotations: parseAnnotations(value['annotations'], where),
    ...optionalText(value, 'artifactType', where),
    ...(isObject(platform) ? parsePlatform(platform) : {}),
  }
}

/** Only shown to people, so a platform that makes no sense is dropped rather than refused. */
function parsePlatform(json: JsonObject): { platform: Platform } | Record<string, never> {
  const { os, architecture, variant } = json
  if (typeof os !== 'string' || typeof architecture !== 'string') return {}
  return { platform: { os, architecture, ...(typeof variant === 'string' ? { variant } : {}) } }
}

function parseAnnotations(
  value: Json | undefined,
  where: string,
): Readonly<Record<string, string>> {
  const annotations = Object.create(null) as Record<string, string>
  if (value === undefined || value === null) return annotations
  if (!isObject(value)) throw invalid(`has annotations that are no object at ${where}`)
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw invalid(`has an annotation that is not text at ${where}`)
    annotations[name] = text
  }
  return annotations
}

function optionalText(
  json: JsonObject,
  name: 'artifactType',
  where: string,
): { artifactType?: string } {
  const value = json[name]
  if (value === undefined || value === '') return {}
  if (typeof value !== 'string' || value.length > 255)
    throw invalid(`has an ${name} that is not text at ${where}`)
  return { [name]: value }
}

/**
 * JSON of a descriptor with its members in the order in which cosign writes them.
 * Annotations are sorted, as Go sorts them.
 */
export function descriptorJson(
  descriptor: Omit<Descriptor, 'annotations' | 'platform'> &
    Partial<Pick<Descriptor, 'annotations'>>,
): JsonObject {
  const { mediaType, size, digest, annotations = {}, artifactType } = descriptor
  const sorted = Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1))
  return {
    mediaType,
    size,
    digest,
    ...(sorted.length === 0 ? {} : { annotations: Object.fromEntries(sorted) }),
    ...(artifactType === undefined ? {} : { artifactType }),
  }
}

function invalid(why: string): AirsealError {
  return new AirsealError('MANIFEST_INVALID', `manifest ${why}`)
}
