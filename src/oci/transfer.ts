import { AirsealError, digestHex, type Digest } from '../core/index.ts'
import { mapLimited } from './concurrency.ts'
import { appendLegacyLayer, type LegacyKind } from './legacy.ts'
import type { Descriptor, ImageManifest, Manifest } from './manifest.ts'
import { MANIFEST_KINDS } from './media-types.ts'
import type { StoredManifest, StreamingRepository } from './repository.ts'

/** What goes along with an image, beside its manifests and layers. */
export type Attached = 'sig' | 'att' | 'sbom' | 'referrers'

export interface CopyOptions {
  /** Tag that the image gets in the target; absent: by digest only. */
  readonly tag?: string | undefined
  /** Default: everything that is attached. */
  readonly attached?: ReadonlySet<Attached>
  /** False: only what is attached goes, to an image that is there. Default true. */
  readonly image?: boolean
  /** Called with what is stored next. */
  readonly onProgress?: (what: string) => void
}

/** Bounds of one copy: a registry can list manifests without end. */
const MAX_MANIFESTS = 5_000
const MAX_DEPTH = 4
const PARALLEL = 3
/** Bytes of a signature that is added to others. */
const MAX_LAYER = 16 * 1024 * 1024
const ALL: ReadonlySet<Attached> = new Set(['sig', 'att', 'sbom', 'referrers'])
/** Layers that registries don't keep (OCI image specification 1.0, "non-distributable"). */
const FOREIGN = /nondistributable|foreign/

/**
 * Copies the manifest `digest` with everything below it, and what is attached to it and to each manifest below: the tags `.sig`, `.att` and
 * `.sbom` and all referrers, bundles among them, and what refers to those. Bytes stay as they are, so digests and signatures hold. Attached
 * goes last: nobody sees a signature of an image that is not there. What the target has already is kept; idempotent.
 * @throws AirsealError IMAGE_NOT_FOUND, DIGEST_MISMATCH, TOO_LARGE beyond 5000 manifests, and what {@link Repository} says
 */
export async function copyImage(
  from: StreamingRepository,
  to: StreamingRepository,
  digest: Digest,
  options: CopyOptions = {},
): Promise<Descriptor> {
  const copy = new Copy(from, to, options)
  const { descriptor } = await copy.tree(digest, 0)
  if (options.image !== false) {
    const stored = await from.readManifest(digest)
    if (options.tag !== undefined)
      await to.writeManifest(stored.bytes, stored.descriptor.mediaType, options.tag)
    await to.listImage?.(descriptor)
  }
  await copy.attached()
  return descriptor
}

class Copy {
  readonly #from: StreamingRepository
  readonly #to: StreamingRepository
  readonly #options: CopyOptions
  readonly #wanted: ReadonlySet<Attached>
  /** Manifests seen, with how far from the image they are. */
  readonly #seen = new Map<Digest, number>()

  constructor(from: StreamingRepository, to: StreamingRepository, options: CopyOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
    this.#wanted = options.attached ?? ALL
  }

  /** Stores a manifest after all that it names. */
  async tree(digest: Digest, depth: number): Promise<StoredManifest> {
    const stored = await this.#from.readManifest(digest)
    if (this.#seen.has(digest)) return stored
    if (this.#seen.size >= MAX_MANIFESTS || depth > MAX_DEPTH)
      throw new AirsealError('TOO_LARGE', `${digest} leads to too many manifests`)
    this.#seen.set(digest, depth)
    await this.#content(stored.manifest, depth)
    if (this.#options.image !== false || depth > 0) {
      this.#options.onProgress?.(`manifest ${digest}`)
      await this.#to.writeManifest(stored.bytes, stored.descriptor.mediaType, digest)
    }
    return stored
  }

  async #content(manifest: Manifest, depth: number): Promise<void> {
    if (manifest.kind === 'image') {
      if (this.#options.image !== false || depth > 0) await this.#blobs(manifest)
      return
    }
    for (const child of manifest.manifests) {
      if (!MANIFEST_KINDS.has(child.mediaType))
        throw new AirsealError(
          'MANIFEST_INVALID',
          `${child.digest} is of type "${child.mediaType.slice(0, 100)}", which is not copied`,
        )
      await this.tree(child.digest, depth)
    }
  }

  async #blobs({ config, layers }: ImageManifest): Promise<void> {
    const blobs = [config, ...layers].filter(({ mediaType }) => !FOREIGN.test(mediaType))
    const unique = new Map(blobs.map((blob) => [blob.digest, blob]))
    await mapLimited([...unique.values()], PARALLEL, (blob) => this.#blob(blob))
  }

  async #blob(blob: Descriptor): Promise<void> {
    this.#options.onProgress?.(`blob ${blob.digest}, ${blob.size} bytes`)
    const { digest, size } = blob
    await this.#to.writeBlobFrom({ digest, size, open: () => this.#from.streamBlob(blob) })
  }

  /** Copies what is attached to the manifests seen so far, and to what is found on the way. */
  async attached(): Promise<void> {
    for (const [digest, depth] of this.#seen) {
      for (const kind of ['sig', 'att', 'sbom'] as const)
        if (this.#wanted.has(kind)) await this.#tagged(digest, kind, depth)
      if (this.#wanted.has('referrers')) await this.#referrers(digest, depth)
    }
  }

  async #tagged(digest: Digest, kind: LegacyKind | 'sbom', depth: number): Promise<void> {
    const tag = `sha256-${digestHex(digest)}.${kind}`
    const stored = await this.#from.readManifestByTag(tag)
    if (stored === null) return
    await this.tree(stored.descriptor.digest, depth + 1)
    const there = await this.#to.readManifestByTag(tag)
    if (there?.descriptor.digest === stored.descriptor.digest) return
    if (there === null || kind === 'sbom' || stored.manifest.kind === 'index') {
      await this.#to.writeManifest(stored.bytes, stored.descriptor.mediaType, tag)
      return
    }
    // Signatures that the target has, and the source has not, stay.
    for (const layer of stored.manifest.layers) {
      const blob = await this.#from.readBlob(layer, MAX_LAYER)
      const { mediaType, annotations } = layer
      await appendLegacyLayer(
        this.#to,
        digest,
        kind,
        { mediaType, blob, annotations },
        (existing) =>
          existing.digest === layer.digest &&
          JSON.stringify(sorted(existing.annotations)) === JSON.stringify(sorted(annotations)),
      )
    }
  }

  async #referrers(digest: Digest, depth: number): Promise<void> {
    const { descriptors } = await this.#from.referrers(digest)
    for (const { digest: each } of descriptors) {
      if (this.#seen.has(each)) continue
      const { descriptor, bytes, manifest } = await this.#from.readManifest(each)
      // Listed by mistake or in malice: it refers to something else.
      if (manifest.subject?.digest !== digest) continue
      await this.tree(each, depth + 1)
      const type = manifest.kind === 'image' ? manifest.config.mediaType : undefined
      const artifactType = manifest.artifactType ?? type
      await this.#to.addReferrer({
        descriptor: { ...descriptor, ...(artifactType === undefined ? {} : { artifactType }) },
        manifest: bytes,
        blobs: [],
        subject: digest,
      })
    }
  }
}

function sorted(annotations: Readonly<Record<string, string>>): readonly [string, string][] {
  return Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1))
}
