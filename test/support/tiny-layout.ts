import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const sha256 = (bytes: string): string => createHash('sha256').update(bytes).digest('hex')
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'

export interface TinyManifest {
  readonly text: string
  /** `sha256:…` */
  readonly digest: string
  /** Config blob, the only one. */
  readonly config: string
}

/** A whole image of a few hundred bytes: a config and no layers. The same name gives the same bytes. */
function tinyManifest(name: string): TinyManifest {
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: { Labels: { name } },
    rootfs: { type: 'layers', diff_ids: [] },
  })
  const text = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: { mediaType: CONFIG, digest: `sha256:${sha256(config)}`, size: config.length },
    layers: [],
  })
  return { text, digest: `sha256:${sha256(text)}`, config }
}

/** Writes an OCI image layout that holds these images, tagged by name. @returns references `oci:DIR@sha256:…`, in their order */
export async function tinyLayout(directory: string, names: readonly string[]): Promise<string[]> {
  const blobs = join(directory, 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  const images = names.map((name) => ({ name, ...tinyManifest(name) }))
  for (const { text, config } of images) {
    for (const blob of [text, config]) await writeFile(join(blobs, sha256(blob)), blob)
  }
  const manifests = images.map(({ name, digest, text }) => ({
    mediaType: MANIFEST,
    digest,
    size: text.length,
    annotations: { 'org.opencontainers.image.ref.name': name },
  }))
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  await writeFile(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
  return images.map(({ digest }) => `oci:${directory}@${digest}`)
}

/** Puts tiny images into a registry that needs no login. @param repository - `HOST:PORT/NAME`, plain HTTP. @returns references by digest */
export async function pushTiny(repository: string, names: readonly string[]): Promise<string[]> {
  const slash = repository.indexOf('/')
  const base = `http://${repository.slice(0, slash)}/v2/${repository.slice(slash + 1)}`
  const references: string[] = []
  for (const name of names) {
    const { text, digest, config } = tinyManifest(name)
    const upload = await fetch(`${base}/blobs/uploads/`, { method: 'POST' })
    const location = new URL(upload.headers.get('location') ?? '', `${base}/`)
    location.searchParams.set('digest', `sha256:${sha256(config)}`)
    await accepted(await fetch(location, { method: 'PUT', body: config }))
    const headers = { 'content-type': MANIFEST }
    await accepted(await fetch(`${base}/manifests/${name}`, { method: 'PUT', headers, body: text }))
    references.push(`${repository}@${digest}`)
  }
  return references
}

async function accepted(response: Response): Promise<void> {
  const text = await response.text()
  if (!response.ok) throw new Error(`the registry refused: ${response.status} ${text}`)
}
