import { AirsealError, digestOf, utf8, type Digest } from '../core/index.ts'
import { mapLimited } from './concurrency.ts'
import { checkTotal } from './legacy.ts'
import { descriptorJson, type Descriptor } from './manifest.ts'
import { BUNDLE_PREFIX, MANIFEST_KINDS, MEDIA_TYPES } from './media-types.ts'
import type { Referrer, Repository } from './repository.ts'

export interface BundleReferrer {
  /** Sigstore bundle v0.3, JSON. */
  readonly bundle: Uint8Array
  /** The signed manifest. */
  readonly subject: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>
  readonly predicateType: string
  /** Shown to people only; the second is kept. */
  readonly created: Date
}

export interface StoredBundle {
  /** The layer that is the bundle. */
  readonly descriptor: Descriptor
  /** The manifest that refers to the image. */
  readonly manifestDigest: Digest
  /** Not parsed yet. */
  readonly blob: Uint8Array
}

const MAX_BUNDLES = 128
/** Bytes of one bundle; of all of one image see checkTotal. */
const MAX_BUNDLE = 16 * 1024 * 1024
const PARALLEL = 6
const EMPTY = utf8('{}')

/**
 * Manifest that attaches a bundle to an image, as cosign 3 writes it. Members and their order are cosign's; so is artifactType inside
 * the config descriptor (its `clean` recognises bundles by that) and `dsse-envelope`, whatever the bundle holds.
 */
export function buildBundleReferrer({
  bundle,
  subject,
  predicateType,
  created,
}: BundleReferrer): Referrer {
  const artifactType = MEDIA_TYPES.bundle
  const annotations = {
    'dev.sigstore.bundle.content': 'dsse-envelope',
    'dev.sigstore.bundle.predicateType': predicateType,
    'org.opencontainers.image.created': created.toISOString().replace(/\.\d+Z$/, 'Z'),
  }
  const config = { mediaType: MEDIA_TYPES.ociEmpty, size: EMPTY.length, digest: digestOf(EMPTY) }
  const layer = { mediaType: artifactType, size: bundle.length, digest: digestOf(bundle) }
  const manifest = utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: descriptorJson({ ...config, artifactType }),
      layers: [descriptorJson(layer)],
      annotations,
      subject: descriptorJson({
        mediaType: subject.mediaType,
        size: subject.size,
        digest: subject.digest,
      }),
      artifactType,
    }),
  )
  return {
    descriptor: {
      mediaType: MEDIA_TYPES.ociManifest,
      digest: digestOf(manifest),
      size: manifest.length,
      annotations,
      artifactType,
    },
    manifest,
    blobs: [EMPTY, bundle],
    subject: subject.digest,
  }
}

/**
 * Every Sigstore bundle that refers to the manifest `digest`. Each referrer is opened and judged by what it holds, never by how it is
 * listed: fallback indexes written by go-containerregistry before April 2026 name a wrong artifactType. Referrers that are something
 * else, that name another subject or that no longer exist are passed over.
 * @throws AirsealError TOO_LARGE beyond 1000 referrers, 128 bundles, 16 MiB for one or 64 MiB for all
 */
export async function readBundles(repository: Repository, digest: Digest): Promise<StoredBundle[]> {
  const { descriptors } = await repository.referrers(digest)
  const images = new Set(
    descriptors
      .filter(({ mediaType }) => MANIFEST_KINDS.get(mediaType) === 'image')
      .map((each) => each.digest),
  )
  const opened = await mapLimited([...images], PARALLEL, (each) =>
    bundleLayer(repository, each, digest),
  )
  const found = opened.filter((each) => each !== null)
  if (found.length > MAX_BUNDLES) {
    throw new AirsealError(
      'TOO_LARGE',
      `${digest} has too many bundles: ${found.length}, at most ${MAX_BUNDLES} are read`,
    )
  }
  checkTotal(
    found.map(({ descriptor }) => descriptor),
    `bundles of ${digest}`,
  )
  return mapLimited(found, PARALLEL, async ({ descriptor, manifestDigest }) => ({
    descriptor,
    manifestDigest,
    blob: await repository.readBlob(descriptor, MAX_BUNDLE),
  }))
}

async function bundleLayer(
  repository: Repository,
  manifestDigest: Digest,
  subject: Digest,
): Promise<Omit<StoredBundle, 'blob'> | null> {
  try {
    const { manifest } = await repository.readManifest(manifestDigest)
    if (manifest.kind !== 'image' || manifest.subject?.digest !== subject) return null
    const [descriptor, ...others] = manifest.layers
    if (
      descriptor === undefined ||
      others.length > 0 ||
      !descriptor.mediaType.startsWith(BUNDLE_PREFIX)
    )
      return null
    return { descriptor, manifestDigest }
  } catch (error) {
    const code = error instanceof AirsealError ? error.code : undefined
    if (code === 'IMAGE_NOT_FOUND' || code === 'MANIFEST_INVALID') return null
    throw error
  }
}
