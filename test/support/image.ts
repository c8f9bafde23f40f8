import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { requiredProgram } from './programs.ts'

const run = promisify(execFile)

/** Digests (`sha256:…`) of an image that was built. */
export interface BuiltImage {
  /** Folder of the OCI image layout. */
  readonly layout: string
  readonly index: string
  /** One manifest a platform, in the order of the index. */
  readonly manifests: readonly string[]
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

const INDEX = 'application/vnd.oci.image.index.v1+json'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const PLATFORMS = ['amd64', 'arm64'] as const

/**
 * Builds a small image for two platforms as an OCI image layout: real layers (a gzipped tar with one file), configurations,
 * manifests, index. The same `content` gives the same digests on one version of Node.
 */
export async function buildImage(
  folder: string,
  content = 'hello from airseal\n',
): Promise<BuiltImage> {
  const blobs = join(folder, 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  const store = async (mediaType: string, data: Buffer): Promise<Descriptor> => {
    const hex = createHash('sha256').update(data).digest('hex')
    await writeFile(join(blobs, hex), data)
    return { mediaType, digest: `sha256:${hex}`, size: data.length }
  }
  const storeJson = (mediaType: string, value: unknown): Promise<Descriptor> =>
    store(mediaType, Buffer.from(JSON.stringify(value)))

  const manifests = []
  for (const architecture of PLATFORMS) {
    const tar = tarOf('etc/motd', `${content}${architecture}\n`)
    const layer = await store('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(tar))
    const config = await storeJson('application/vnd.oci.image.config.v1+json', {
      architecture,
      os: 'linux',
      config: { Cmd: ['cat', '/etc/motd'] },
      rootfs: {
        type: 'layers',
        diff_ids: [`sha256:${createHash('sha256').update(tar).digest('hex')}`],
      },
    })
    const manifest = await storeJson(MANIFEST, {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config,
      layers: [layer],
    })
    manifests.push({ ...manifest, platform: { architecture, os: 'linux' } })
  }
  const index = await storeJson(INDEX, { schemaVersion: 2, mediaType: INDEX, manifests })
  await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  await writeFile(
    join(folder, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [{ ...index, annotations: { 'org.opencontainers.image.ref.name': 'v1' } }],
    }),
  )
  return { layout: folder, index: index.digest, manifests: manifests.map(({ digest }) => digest) }
}

/** Pushes the index of a layout with all that belongs to it. @param name - `HOST:PORT/REPOSITORY:TAG` */
export async function pushImage(image: BuiltImage, name: string): Promise<void> {
  await run(requiredProgram('crane'), ['push', image.layout, name], { timeout: 60_000 })
}

/** A tar archive (POSIX ustar) with one file of mode 0644 and time 0. */
function tarOf(path: string, content: string): Buffer {
  const data = Buffer.from(content)
  const header = Buffer.alloc(512)
  const octal = (value: number, at: number, length: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'ascii')
  }
  header.write(path, 0, 'utf8')
  octal(0o644, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(data.length, 124, 12)
  octal(0, 136, 12)
  header.write('        0', 148, 'ascii')
  header.write('ustar\x0000', 257, 'ascii')
  // The checksum is taken with spaces in its own place.
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'ascii')
  const padding = Buffer.alloc((512 - (data.length % 512)) % 512)
  return Buffer.concat([header, data, padding, Buffer.alloc(1024)])
}
