import { hash, randomBytes } from 'node:crypto'
import { program } from './programs.ts'
import { accepts, freePort } from './workspace.ts'
import type { Running, Workspace } from './workspace.ts'

const REPOSITORY = 'bench/image'

export interface Registry {
  readonly server: Running
  readonly port: number
}

/** A registry in memory with the referrers API, on loopback. */
export async function startRegistry(workspace: Workspace): Promise<Registry> {
  const port = await freePort()
  const server = workspace.start(
    'registry',
    program('referrers-registry', 'run .ci/install-clients referrers-registry'),
    ['--address', `127.0.0.1:${port}`],
  )
  await workspace.waitFor(server, () => accepts(port))
  return { server, port }
}

/** Pushes a new small image (OCI image specification 1.1, image manifest) and returns its name with digest. */
export async function pushImage({ port }: Registry): Promise<string> {
  const config = await pushBlob(
    port,
    Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        config: { Labels: { unique: randomBytes(16).toString('hex') } },
        rootfs: { type: 'layers', diff_ids: [] },
      }),
    ),
  )
  const layer = await pushBlob(port, randomBytes(256))
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }],
    }),
  )
  const digest = `sha256:${hash('sha256', manifest)}`
  await put(
    `http://127.0.0.1:${port}/v2/${REPOSITORY}/manifests/${digest}`,
    manifest,
    'application/vnd.oci.image.manifest.v1+json',
  )
  return `127.0.0.1:${port}/${REPOSITORY}@${digest}`
}

async function pushBlob(port: number, bytes: Buffer): Promise<{ digest: string; size: number }> {
  const digest = `sha256:${hash('sha256', bytes)}`
  const base = `http://127.0.0.1:${port}`
  const begun = await fetch(`${base}/v2/${REPOSITORY}/blobs/uploads/`, { method: 'POST' })
  await begun.arrayBuffer()
  const location = new URL(begun.headers.get('location') ?? '', base)
  location.searchParams.set('digest', digest)
  await put(location.href, bytes, 'application/octet-stream')
  return { digest, size: bytes.length }
}

async function put(url: string, bytes: Buffer, type: string): Promise<void> {
  const response = await fetch(url, {
    method: 'PUT',
    headers: { 'content-type': type },
    body: new Uint8Array(bytes),
  })
  if (response.status !== 201) {
    throw new Error(`PUT ${url} answered ${response.status}: ${await response.text()}`)
  }
  await response.arrayBuffer()
}
