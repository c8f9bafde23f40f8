import { AirsealError, digestHex, type Digest } from '../src/core/index.ts'
import type { StoredManifest, StreamingRepository } from '../src/oci/index.ts'
import { collectImages, type ExportImage } from './collect.ts'
import type { Attached } from './contents.ts'
import type { Progress } from './progress.ts'

export interface CopyResult {
  readonly digest: Digest
  readonly manifests: number
  readonly blobs: number
  readonly attached: readonly Attached[]
}

/**
 * Copies an image with all its manifests, blobs and everything that is said about them, bit for bit. The tag comes last.
 * @param tag - under which it is found over there
 */
export async function copyImage(
  image: ExportImage,
  target: StreamingRepository,
  tag: string,
  platforms: readonly string[],
  progress: Progress,
): Promise<CopyResult> {
  const stored = new Map<Digest, StoredManifest>()
  const found = await collectImages([image], {
    platforms,
    keep: (manifest) => {
      stored.set(manifest.descriptor.digest, manifest)
      return Promise.resolve()
    },
    onImage: () => undefined,
  })
  const [root] = found.images
  if (root === undefined) throw new AirsealError('INTERNAL', 'no image was collected')
  progress.step(
    'copying',
    [...found.blobs.values()].reduce((sum, { size }) => sum + size, 0),
  )
  for (const [digest, { size, source }] of found.blobs) {
    await target.writeBlobFrom({ digest, size, open: () => source.streamBlob({ digest, size }) })
    progress.add(size)
  }
  const manifestOf = (digest: Digest): StoredManifest => {
    const manifest = stored.get(digest)
    if (manifest === undefined)
      throw new AirsealError('INTERNAL', `manifest ${digest} was not kept`)
    return manifest
  }
  const written = new Set<Digest>()
  const write = async (digest: Digest): Promise<void> => {
    if (written.has(digest)) return
    written.add(digest)
    const { manifest, bytes } = manifestOf(digest)
    if (manifest.kind === 'index') {
      for (const child of manifest.manifests)
        if (stored.has(child.digest)) await write(child.digest)
    }
    await target.writeManifest(bytes, manifest.mediaType, digest)
  }
  await write(root.digest)
  // Tagged before what is said about it, so that a layout lists the image first.
  const { bytes, manifest } = manifestOf(root.digest)
  await target.writeManifest(bytes, manifest.mediaType, tag)
  for (const each of found.attached) await attach(each, manifestOf(each.digest), target)
  return {
    digest: root.digest,
    manifests: stored.size,
    blobs: found.blobs.size,
    attached: found.attached,
  }
}

async function attach(
  { kind, subject }: Attached,
  { descriptor, manifest, bytes }: StoredManifest,
  target: StreamingRepository,
): Promise<void> {
  if (kind === 'referrer') {
    const artifactType =
      descriptor.artifactType ?? (manifest.kind === 'image' ? manifest.config.mediaType : undefined)
    await target.addReferrer({
      descriptor: artifactType === undefined ? descriptor : { ...descriptor, artifactType },
      manifest: bytes,
      blobs: [],
      subject,
    })
  } else {
    await target.writeManifest(bytes, manifest.mediaType, `sha256-${digestHex(subject)}.${kind}`)
  }
}
