import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

const sha256 = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/**
 * A registry in memory: the parts of the OCI distribution specification 1.1 that signing needs, without the referrers API. For faults that
 * a real one can't be made to show, and where none is installed.
 */
export interface PlainRegistry {
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Manifests by `REPOSITORY/TAG or DIGEST`. */
  readonly manifests: Map<string, { readonly type: string; readonly bytes: Buffer }>
  readonly blobs: Map<string, Buffer>
  /** Answers before the registry does; true: it did. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | null
  /** Closes the port; what is stored stays. */
  stop(): Promise<void>
  /** Opens it again, at the same port. */
  restart(): Promise<void>
}

export async function startPlainRegistry(): Promise<PlainRegistry> {
  const manifests: PlainRegistry['manifests'] = new Map()
  const blobs: PlainRegistry['blobs'] = new Map()
  let server: Server | null = null
  let port = 0
  const open = async (): Promise<void> => {
    const started = createServer((request, response) => {
      if (registry.intercept?.(request, response) === true) return
      serve(registry, request, response).catch(() => response.destroy())
    })
    await new Promise<void>((resolve) => started.listen(port, '127.0.0.1', resolve))
    const bound = started.address()
    port = typeof bound === 'object' && bound !== null ? bound.port : 0
    server = started
  }
  const registry: PlainRegistry = {
    get address() {
      return `127.0.0.1:${port}`
    },
    manifests,
    blobs,
    intercept: null,
    stop: async () => {
      const stopping = server
      server = null
      stopping?.closeAllConnections()
      await new Promise((resolve) => (stopping === null ? resolve(null) : stopping.close(resolve)))
    },
    restart: open,
  }
  await open()
  return registry
}

async function serve(
  { manifests, blobs }: PlainRegistry,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://registry')
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const reply = (status: number, headers: Record<string, string> = {}, bytes?: Buffer): void => {
    response.writeHead(status, { 'content-length': String(bytes?.length ?? 0), ...headers })
    response.end(request.method === 'HEAD' ? undefined : bytes)
  }
  const found = /^\/v2\/(.+)\/(manifests|blobs)\/(.*)$/.exec(url.pathname)
  if (found === null) {
    reply(url.pathname === '/v2/' ? 200 : 404)
    return
  }
  const [, repository = '', kind = '', name = ''] = found
  if (kind === 'manifests') {
    if (request.method === 'PUT') {
      const stored = { type: request.headers['content-type'] ?? '', bytes: body }
      manifests.set(`${repository}/${name}`, stored).set(`${repository}/${sha256(body)}`, stored)
      reply(201, { 'docker-content-digest': sha256(body), location: url.pathname })
      return
    }
    const stored = manifests.get(`${repository}/${name}`)
    if (stored === undefined) reply(404)
    else {
      const headers = { 'content-type': stored.type, 'docker-content-digest': sha256(stored.bytes) }
      reply(200, { ...headers, 'content-length': String(stored.bytes.length) }, stored.bytes)
    }
    return
  }
  if (request.method === 'POST') {
    reply(202, { location: `/v2/${repository}/blobs/uploads/1` })
  } else if (request.method === 'PUT') {
    const digest = url.searchParams.get('digest') ?? ''
    if (sha256(body) !== digest) reply(400)
    else {
      blobs.set(digest, body)
      reply(201, { location: `/v2/${repository}/blobs/${digest}` })
    }
  } else {
    const blob = blobs.get(name)
    if (blob === undefined) reply(404)
    else reply(200, { 'content-length': String(blob.length) }, blob)
  }
}
