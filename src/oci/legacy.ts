import {
  AirsealError,
  canonicalJson,
  digestHex,
  digestOf,
  utf8,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { mapLimited } from './concurrency.ts'
import {
  descriptorJson,
  MAX_ENTRIES,
  parseDescriptor,
  type Descriptor,
  type ImageManifest,
} from './manifest.ts'
import { MEDIA_TYPES } from './media-types.ts'
import type { Repository, StoredManifest } from './repository.ts'
import { addToTag, type TagList } from './tag-merge.ts'

/** Signatures (`.sig`) or attestations (`.att`), as cosign keeps them under a tag beside the image. */
export type LegacyKind = 'sig' | 'att'

export interface LegacyLayer {
  readonly descriptor: Descriptor
  readonly annotations: Readonly<Record<string, string>>
  readonly blob: Uint8Array
}

export interface NewLayer {
  readonly mediaType: string
  readonly blob: Uint8Array
  readonly annotations: Readonly<Record<string, string>>
}

/** Bytes of one signature or attestation that is read, and of all of one image. */
const MAX_BLOB = 16 * 1024 * 1024
const MAX_TOTAL = 64 * 1024 * 1024
const PARALLEL = 6

/** Tag beside the image `digest` under which cosign keeps its signatures or attestations. */
export function legacyTag(digest: Digest, kind: LegacyKind): string {
  return `sha256-${digestHex(digest)}.${kind}`
}

/**
 * What is kept under the `.sig` or `.att` tag of the image `digest`, in its order; empty when the tag does not exist. Blobs are checked
 * against their digests; nothing else is. Layers that share a blob share the array.
 * @param account - told how many bytes are about to be read; what it throws stops the reading
 * @throws AirsealError TOO_LARGE beyond 1000 layers, 16 MiB for one or 64 MiB for all; MANIFEST_INVALID when the tag holds an index
 */
export async function readLegacyLayers(
  repository: Repository,
  digest: Digest,
  kind: LegacyKind,
  account: (bytes: number) => void = () => undefined,
): Promise<LegacyLayer[]> {
  const tag = legacyTag(digest, kind)
  const stored = await repository.readManifestByTag(tag)
  if (stored === null) return []
  const { layers } = imageUnder(tag, stored)
  // By digest, since signatures of one payload by several keys name the same blob.
  const unique = new Map(layers.map((layer) => [layer.digest, layer]))
  // Every layer counts, since every layer is judged: one large blob named by all would be minutes of work.
  account(checkTotal(layers, `tag ${tag}`))
  const blobs = new Map<Digest, Uint8Array>()
  await mapLimited([...unique.values()], PARALLEL, async (layer) => {
    blobs.set(layer.digest, await repository.readBlob(layer, MAX_BLOB))
  })
  return layers.map((descriptor) => {
    const blob = blobs.get(descriptor.digest)
    if (descriptor.size !== blob?.length) {
      throw new AirsealError(
        'DIGEST_MISMATCH',
        `${descriptor.digest} is stated with two sizes under tag ${tag}`,
      )
    }
    return { descriptor, annotations: descriptor.annotations, blob }
  })
}

/** @returns the bytes in all. @throws AirsealError TOO_LARGE when what is declared is more than is read of one image */
export function checkTotal(declared: readonly Pick<Descriptor, 'size'>[], what: string): number {
  const total = declared.reduce((sum, { size }) => sum + size, 0)
  if (total > MAX_TOTAL) {
    throw new AirsealError(
      'TOO_LARGE',
      `${what} holds ${total} bytes, at most ${MAX_TOTAL} are read`,
    )
  }
  return total
}

/**
 * Adds a layer under the `.sig` or `.att` tag of the image `digest`, and keeps every layer that is there as it is. Concurrent writers
 * lose nothing (see Repository.addReferrer for the limits of that).
 * @param isSame - true for a layer that makes the new one superfluous
 * @returns 'present' when `isSame` said so, and nothing was written
 * @throws AirsealError MANIFEST_INVALID when the tag holds something else, TOO_LARGE at 1000 layers, REGISTRY_CONTENTION
 */
export async function appendLegacyLayer(
  repository: Repository,
  digest: Digest,
  kind: LegacyKind,
  layer: NewLayer,
  isSame: (existing: Descriptor) => boolean | Promise<boolean>,
): Promise<'added' | 'present'> {
  const tag = legacyTag(digest, kind)
  const stored = await repository.writeBlob(layer.blob)
  const added = descriptorJson({
    ...stored,
    mediaType: layer.mediaType,
    annotations: layer.annotations,
  })
  return addToTag(repository, tag, legacyList(tag), added, (existing) =>
    isSame(parseDescriptor(existing, 'layers')),
  )
}

/** Adds a layer whose blob is there already, exactly as its descriptor has it; an equal one suffices. See {@link appendLegacyLayer}. */
export function appendStoredLayer(
  repository: Repository,
  tag: string,
  layer: JsonObject,
): Promise<'added' | 'present'> {
  const wanted = canonicalJson(layer)
  return addToTag(
    repository,
    tag,
    legacyList(tag),
    layer,
    (existing) => canonicalJson(existing) === wanted,
  )
}

function legacyList(tag: string): TagList<JsonObject> {
  return {
    items: (current) =>
      current === null ? [] : (imageUnder(tag, current).json['layers'] as JsonObject[]),
    key: (layer) => canonicalJson(layer),
    write: async (repository, layers, current) => {
      if (layers.length > MAX_ENTRIES) {
        throw new AirsealError(
          'TOO_LARGE',
          `tag ${tag} would have too many layers: ${layers.length}`,
        )
      }
      const before = current === null ? undefined : imageUnder(tag, current)
      const config = buildConfig(layers)
      await repository.writeBlob(config)
      const mediaType = before?.mediaType ?? MEDIA_TYPES.ociManifest
      const bytes = buildManifest(mediaType, before, config, layers)
      await repository.writeManifest(bytes, mediaType, tag)
    },
  }
}

/** Manifest with the members in cosign's order; what an earlier one had beside its layers stays. */
function buildManifest(
  mediaType: string,
  before: ImageManifest | undefined,
  config: Uint8Array,
  layers: readonly JsonObject[],
): Uint8Array {
  const rest: Record<string, Json> = {}
  for (const name of ['annotations', 'subject', 'artifactType']) {
    const value = before?.json[name]
    if (value !== undefined) rest[name] = value
  }
  return utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: before?.config.mediaType ?? MEDIA_TYPES.ociConfig,
        size: config.length,
        digest: digestOf(config),
      },
      layers,
      ...rest,
    }),
  )
}

/**
 * Config of cosign's manifests, byte for byte: an image configuration for no platform, with one history entry and one diff_id a layer
 * (the layers are not compressed, so their digests are their diff_ids). Podman reads it as an image configuration when it appends.
 */
function buildConfig(layers: readonly JsonObject[]): Uint8Array {
  const created = '0001-01-01T00:00:00Z'
  return utf8(
    JSON.stringify({
      architecture: '',
      created,
      history: layers.map(() => ({ created })),
      os: '',
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer['digest']) },
      config: {},
    }),
  )
}

function imageUnder(tag: string, stored: StoredManifest): ImageManifest {
  if (stored.manifest.kind !== 'image') {
    throw new AirsealError('MANIFEST_INVALID', `tag ${tag} holds an index, not signatures`)
  }
  return stored.manifest
}
