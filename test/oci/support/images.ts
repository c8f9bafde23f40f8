import { randomBytes } from 'node:crypto'
import { digestOf, utf8 } from '../../../src/core/index.ts'
import { MEDIA_TYPES, type Descriptor, type Repository } from '../../../src/oci/index.ts'

/** Bytes of an image manifest; its blobs are stored when a repository is given. */
export async function pushImage(repository: Repository, tag: string): Promise<Descriptor> {
  const config = utf8(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [] },
    }),
  )
  const layer = randomBytes(64)
  await repository.writeBlob(config)
  await repository.writeBlob(layer)
  const manifest = utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, size: config.length, digest: digestOf(config) },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          size: layer.length,
          digest: digestOf(layer),
        },
      ],
    }),
  )
  return repository.writeManifest(manifest, MEDIA_TYPES.ociManifest, tag)
}
