import { AirsealError, digestOf, utf8, type Digest } from '../core/index.ts'
import { mapLimited } from './concurrency.ts'
import { checkTotal, type LegacyLayer } from './legacy.ts'
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

/** What refers to an image and is evidence about it. */
export interface ReferredEvidence {
  readonly bundles: readonly StoredBundle[]
  /** Layers as they lie under `.sig` tags, in cosign's experimental OCI 1.1 layout: manifests of their own. */
  readonly signatures: readonly LegacyLayer[]
  /** Layers as they lie under `.att` tags, likewise. */
  readonly attestations: readonly LegacyLayer[]
}

/** Takes the bytes that are about to be read into account. @throws AirsealError when they are too many */
export type Account = (bytes: number) => void

/**
 * Every Sigstore bundle that refers to the manifest `digest`. See {@link readReferredEvidence}.
 * @throws AirsealError TOO_LARGE beyond 1000 referrers, 128 bundles, 16 MiB for one or 64 MiB for all
 */
export async function readBundles(repository: Repository, digest: Digest): Promise<StoredBundle[]> {
  return [...(await readReferredEvidence(repository, digest)).bundles]
}

/**
 * Everything that refers to the manifest `digest` and is evidence about it. Each referrer is opened and judged by what it holds, never by
 * how it is listed: fallback indexes written by go-containerregistry before April 2026 name a wrong artifactType. Referrers that are
 * something else, that name another subject or that no longer exist are passed over.
 * @throws AirsealError TOO_LARGE beyond 1000 referrers, 128 pieces of evidence, 16 MiB for one or 64 MiB for all
 */
export async function readReferredEvidence(
  repository: Repository,
  digest: Digest,
  account: Account = () => undefined,
): Promise<ReferredEvidence> {
  const { descriptors } = await repository.referrers(digest)
  const images = new Set(
    descriptors
      .filter(({ mediaType }) => MANIFEST_KINDS.get(mediaType) === 'image')
      .map((each) => each.digest),
  )
  const opened = await mapLimited([...images], PARALLEL, (each) =>
    evidenceLayers(repository, each, digest),
  )
  const found = opened.flat()
  if (found.length > MAX_BUNDLES) {
    throw new AirsealError(
      'TOO_LARGE',
      `${digest} has too many bundles: ${found.length}, at most ${MAX_BUNDLES} are read`,
    )
  }
  const layers = found.map(({ descriptor }) => descriptor)
  account(checkTotal(layers, `evidence that refers to ${digest}`))
  const read = await mapLimited(found, PARALLEL, async (layer) => ({
    ...layer,
    annotations: layer.descriptor.annotations,
    blob: await repository.readBlob(layer.descriptor, MAX_BUNDLE),
  }))
  return {
    bundles: read
      .filter(({ kind }) => kind === 'bundle')
      .map(({ descriptor, manifestDigest, blob }) => ({ descriptor, manifestDigest, blob })),
    signatures: read.filter(({ kind }) => kind === 'signature').map(legacyLayer),
    attestations: read.filter(({ kind }) => kind === 'attestation').map(legacyLayer),
  }
}

function legacyLayer({ descriptor, annotations, blob }: LegacyLayer): LegacyLayer {
  return { descriptor, annotations, blob }
}

interface EvidenceLayer {
  readonly kind: 'bundle' | 'signature' | 'attestation'
  readonly descriptor: Descriptor
  readonly manifestDigest: Digest
}

async function evidenceLayers(
  repository: Repository,
  manifestDigest: Digest,
  subject: Digest,
): Promise<EvidenceLayer[]> {
  try {
    const { manifest } = await repository.readManifest(manifestDigest)
    if (manifest.kind !== 'image' || manifest.subject?.digest !== subject) return []
    const layers = manifest.layers.flatMap((descriptor) => {
      const kind = kindOf(descriptor)
      return kind === null ? [] : [{ kind, descriptor, manifestDigest }]
    })
    const bundles = layers.filter(({ kind }) => kind === 'bundle')
    // A bundle is the only layer of its manifest, as cosign has it.
    return bundles.length > 0 && manifest.layers.length > 1 ? [] : layers
  } catch (error) {
    const code = error instanceof AirsealError ? error.code : undefined
    if (code === 'IMAGE_NOT_FOUND' || code === 'MANIFEST_INVALID') return []
    throw error
  }
}

function kindOf({ mediaType }: Descriptor): EvidenceLayer['kind'] | null {
  if (mediaType.startsWith(BUNDLE_PREFIX)) return 'bundle'
  if (mediaType === MEDIA_TYPES.simpleSigning) return 'signature'
  return mediaType === MEDIA_TYPES.dsseEnvelope ? 'attestation' : null
}
