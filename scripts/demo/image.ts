import { mkdir, readFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { digestOf, utf8, type Digest } from '../../src/core/index.ts'
import {
  initLayout,
  MEDIA_TYPES,
  openLayoutRepository,
  type Repository,
} from '../../src/oci/index.ts'

const BLOCK = 512
const FILES = ['README.md', 'SECURITY.md', 'package.json']
const PLATFORMS = ['amd64', 'arm64'] as const

/**
 * Builds a small image for two platforms as an OCI layout in `directory`, from files of this clone: real layers, nothing downloaded.
 * @returns digest of the index, which is tagged `demo`
 */
export async function buildImage(directory: string): Promise<Digest> {
  await mkdir(directory)
  await initLayout(directory)
  const repository = await openLayoutRepository(directory)
  const files = await Promise.all(
    FILES.map(async (name) => ({
      name,
      content: await readFile(new URL(`../../${name}`, import.meta.url)),
    })),
  )
  const manifests = []
  for (const architecture of PLATFORMS)
    manifests.push(await addPlatform(repository, architecture, files))
  const index = utf8(
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }),
  )
  const { digest } = await repository.writeManifest(index, MEDIA_TYPES.ociIndex, 'demo')
  return digest
}

interface File {
  readonly name: string
  readonly content: Uint8Array
}

async function addPlatform(
  repository: Repository,
  architecture: string,
  files: readonly File[],
): Promise<object> {
  const tar = tarOf([...files, { name: 'ARCHITECTURE', content: utf8(`${architecture}\n`) }])
  const layer = await repository.writeBlob(gzipSync(tar))
  const config = await repository.writeBlob(
    utf8(
      JSON.stringify({
        architecture,
        os: 'linux',
        config: { Cmd: ['/README.md'] },
        rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
      }),
    ),
  )
  const manifest = utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
    }),
  )
  const { digest, size } = await repository.writeManifest(
    manifest,
    MEDIA_TYPES.ociManifest,
    digestOf(manifest),
  )
  return {
    mediaType: MEDIA_TYPES.ociManifest,
    digest,
    size,
    platform: { os: 'linux', architecture },
  }
}

/** A tar archive (POSIX ustar) of regular files. */
function tarOf(files: readonly File[]): Uint8Array {
  const parts: Buffer[] = []
  for (const { name, content } of files) {
    const header = Buffer.alloc(BLOCK)
    header.write(name, 0)
    header.write('0000644\0', 100)
    header.write('0000000\0', 108)
    header.write('0000000\0', 116)
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
    header.write('00000000000\0', 136)
    header.fill(' ', 148, 156)
    header.write('0', 156)
    header.write('ustar\x0000', 257)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    parts.push(
      header,
      Buffer.from(content),
      Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK),
    )
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)])
}
