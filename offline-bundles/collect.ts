import { AirsealError, digestHex, type Digest } from '../src/core/index.ts'
import {
  type Descriptor,
  type Manifest,
  type Platform,
  type StoredManifest,
  type StreamingRepository,
} from '../src/oci/index.ts'
import type { Attached, AttachedKind, ContentImage } from './contents.ts'
import { LIMITS } from './limits.ts'

/** An image to be carried, its digest fixed. */
export interface ExportImage {
  /** Path in the receiving registry. */
  readonly repository: string
  readonly tag: string | null
  readonly from: string
  readonly digest: Digest
  readonly source: StreamingRepository
}

/** A manifest or blob, and the repositories (paths in the receiving registry) that need it. */
interface Piece {
  readonly size: number
  readonly repositories: Set<string>
}

/** Everything that belongs to the images, each piece once. */
export interface Collected {
  readonly images: ContentImage[]
  readonly attached: Attached[]
  readonly manifests: Map<Digest, Piece>
  readonly blobs: Map<Digest, Piece & { readonly source: StreamingRepository }>
  readonly absent: Set<Digest>
}

export interface CollectOptions {
  /** Empty: all. `os/architecture[/variant]`. */
  readonly platforms: readonly string[]
  /** Keeps a manifest until it is written. */
  readonly keep: (stored: StoredManifest) => Promise<void>
  readonly onImage: (done: number, of: number) => void
}

const TAGS: readonly Exclude<AttachedKind, 'referrer'>[] = ['sig', 'att', 'sbom']
/** Indexes in indexes, and things said about things said. */
const MAX_DEPTH = 4

/**
 * Follows each image to all its manifests and blobs, and finds what is said about each manifest: under cosign's tags and as referrers, from
 * the registry's own list or the fallback tag. Signatures of SBOMs are followed too.
 * @throws AirsealError as the source gives it; TOO_LARGE beyond the limits of the format
 */
export async function collectImages(
  images: readonly ExportImage[],
  options: CollectOptions,
): Promise<Collected> {
  const found: Collected = {
    images: [],
    attached: [],
    manifests: new Map(),
    blobs: new Map(),
    absent: new Set(),
  }
  for (const [at, image] of images.entries()) {
    const root = await chosen(image, options.platforms)
    const { mediaType, size } = root.descriptor
    const { repository, tag, from } = image
    const digest = root.descriptor.digest
    if (
      tag === null ||
      !found.images.some((one) => one.repository === repository && one.tag === tag)
    )
      found.images.push({ repository, tag, from, digest, mediaType, size })
    else throw new AirsealError('USAGE', `two images would be ${repository}:${tag}`)
    await follow(image, root, found, options, new Set(), 0)
    options.onImage(at + 1, images.length)
  }
  const files = found.manifests.size + found.blobs.size
  if (files > LIMITS.files - 1_000 || found.images.length > LIMITS.images)
    throw new AirsealError(
      'TOO_LARGE',
      `${files} files are more than one bundle holds: export in several`,
    )
  return found
}

/** One platform of an index stands for the image: registries refuse an index whose other children are missing. */
async function chosen(image: ExportImage, platforms: readonly string[]): Promise<StoredManifest> {
  const root = await image.source.readManifest(image.digest)
  if (platforms.length !== 1 || root.manifest.kind !== 'index') return root
  const children = root.manifest.manifests.filter(({ platform }) => isWanted(platform, platforms))
  const [only, ...others] = children
  if (only === undefined)
    throw new AirsealError(
      'IMAGE_NOT_FOUND',
      `${image.from} has no platform ${platforms.join(', ')}`,
    )
  return others.length === 0 ? image.source.readManifest(only.digest) : root
}

async function follow(
  image: ExportImage,
  stored: StoredManifest,
  found: Collected,
  options: CollectOptions,
  seen: Set<Digest>,
  depth: number,
): Promise<void> {
  const { digest, size } = stored.descriptor
  if (seen.has(digest)) return
  seen.add(digest)
  if (depth > MAX_DEPTH) throw new AirsealError('TOO_LARGE', `${image.from} is nested too deeply`)
  const known = found.manifests.get(digest)
  if (known === undefined) {
    await options.keep(stored)
    found.manifests.set(digest, { size, repositories: new Set([image.repository]) })
  } else known.repositories.add(image.repository)
  for (const child of await partsOf(image, stored.manifest, found, options.platforms))
    await follow(image, await image.source.readManifest(child), found, options, seen, depth + 1)
  for (const { kind, about } of await saidAbout(image, digest)) {
    const one = about.descriptor
    const entry = { digest: one.digest, mediaType: one.mediaType, size: one.size }
    found.attached.push({ ...entry, repository: image.repository, kind, subject: digest })
    await follow(image, about, found, options, seen, depth + 1)
  }
}

/** Notes the blobs of an image; returns the children of an index that are wanted. */
async function partsOf(
  image: ExportImage,
  manifest: Manifest,
  found: Collected,
  platforms: readonly string[],
): Promise<Digest[]> {
  const { repository, source } = image
  if (manifest.kind === 'index') {
    const wanted: Digest[] = []
    for (const { digest, platform } of manifest.manifests) {
      if (isWanted(platform, platforms)) wanted.push(digest)
      else found.absent.add(digest)
    }
    return wanted
  }
  for (const blob of [manifest.config, ...manifest.layers]) {
    const known = found.blobs.get(blob.digest)
    if (known !== undefined && known.size !== blob.size)
      throw new AirsealError(
        'DIGEST_MISMATCH',
        `${blob.digest} is stated with two sizes in ${image.from}`,
      )
    // Layers that must be fetched elsewhere are not the registry's to hand out.
    if (known !== undefined) known.repositories.add(repository)
    else if (await isHere(source, blob))
      found.blobs.set(blob.digest, { size: blob.size, repositories: new Set([repository]), source })
  }
  return []
}

function isHere(source: StreamingRepository, { mediaType, digest }: Descriptor): Promise<boolean> {
  const foreign = mediaType.includes('.foreign.') || mediaType.includes('.nondistributable.')
  return foreign ? source.hasBlob(digest) : Promise.resolve(true)
}

async function saidAbout(
  { source, from }: ExportImage,
  digest: Digest,
): Promise<{ kind: AttachedKind; about: StoredManifest }[]> {
  const about: { kind: AttachedKind; about: StoredManifest }[] = []
  for (const kind of TAGS) {
    const stored = await source.readManifestByTag(`sha256-${digestHex(digest)}.${kind}`)
    if (stored !== null) about.push({ kind, about: stored })
  }
  const { descriptors } = await source.referrers(digest)
  for (const referrer of new Set(descriptors.map((one) => one.digest))) {
    const stored = await source.readManifest(referrer).catch((error: unknown) => {
      // A list may name what was deleted since.
      if (error instanceof AirsealError && error.code === 'IMAGE_NOT_FOUND') return null
      throw error
    })
    if (stored?.manifest.subject?.digest === digest) about.push({ kind: 'referrer', about: stored })
  }
  if (about.length > LIMITS.layoutEntries)
    throw new AirsealError('TOO_LARGE', `${from} has ${about.length} things attached`)
  return about
}

function isWanted(platform: Platform | undefined, platforms: readonly string[]): boolean {
  if (platforms.length === 0 || platform === undefined || platform.os === 'unknown') return true
  const { os, architecture, variant } = platform
  const names = [`${os}/${architecture}`, `${os}/${architecture}/${variant ?? ''}`]
  return platforms.some((wanted) => names.includes(wanted))
}
