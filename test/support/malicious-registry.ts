import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

/** What a malicious registry does wrong; everything else it answers as the honest one behind it. */
export type Malice = (
  asked: Asked,
  response: ServerResponse,
  honest: Honest,
) => Promise<void> | void

export interface Asked {
  readonly path: string
  /** How often this path was asked before. */
  readonly times: number
}

export interface Honest {
  readonly status: number
  readonly type: string
  readonly bytes: Buffer
  /** Address of somebody else, who must never be asked. */
  readonly elsewhere: string
  /** Sends the honest answer, or other bytes in its place. */
  send(response: ServerResponse, bytes?: Buffer): void
}

export interface MaliciousRegistry {
  /** `127.0.0.1:PORT` */
  readonly host: string
  readonly requests: readonly string[]
  stop(): Promise<void>
}

const isManifest = (path: string): boolean => path.includes('/manifests/sha256:')
const isSignature = (path: string): boolean => /\/manifests\/sha256-[0-9a-f]{64}\.sig$/.test(path)
const isBlob = (path: string): boolean => path.includes('/blobs/')
const isReferrers = (path: string): boolean => path.includes('/referrers/')

const BOMB = gzipSync(Buffer.alloc(100_000_000, 0x20))

/** Only for requests of one kind; the others are answered honestly. */
const when =
  (kind: (path: string) => boolean, malice: Malice): Malice =>
  (asked, response, honest) => {
    if (kind(asked.path)) return malice(asked, response, honest)
    honest.send(response)
  }

function endless(response: ServerResponse, chunk: Buffer, pauseMs = 0): void {
  const more = (): void => {
    if (response.destroyed) return
    response.write(chunk, () => (pauseMs === 0 ? more() : void setTimeout(more, pauseMs)))
  }
  more()
}

const redirect =
  (location: (honest: Honest) => string): Malice =>
  (_asked, response, honest) => {
    response.writeHead(307, { location: location(honest) }).end()
  }

const realm =
  (address: (honest: Honest) => string): Malice =>
  (_asked, response, honest) => {
    const challenge = `Bearer realm="${address(honest)}",service="x",scope="repository:a:pull"`
    response.writeHead(401, { 'www-authenticate': challenge }).end()
  }

/** The ways in which a registry is malicious, each so that nothing verifies. */
export const MALICE: Readonly<Record<string, Malice>> = {
  'other bytes for a manifest': when(isManifest, (_asked, response, honest) => {
    honest.send(response, Buffer.concat([honest.bytes, Buffer.from(' ')]))
  }),
  'other bytes for every blob': when(isBlob, (_asked, response, honest) => {
    const bytes = Buffer.from(honest.bytes)
    bytes[0] = (bytes[0] ?? 0) ^ 1
    honest.send(response, bytes)
  }),
  'a manifest without end': when(isManifest, (_asked, response, honest) => {
    response.writeHead(200, { 'content-type': honest.type })
    endless(response, Buffer.alloc(65_536, 0x20))
  }),
  'blobs without end': when(isBlob, (_asked, response) => {
    response.writeHead(200)
    endless(response, Buffer.alloc(65_536))
  }),
  'a bomb': when(isManifest, (_asked, response, honest) => {
    response.writeHead(200, { 'content-type': honest.type, 'content-encoding': 'gzip' }).end(BOMB)
  }),
  'one byte a time': when(isManifest, (_asked, response, honest) => {
    response.writeHead(200, { 'content-type': honest.type, 'content-length': '100000' })
    endless(response, Buffer.from(' '), 50)
  }),
  silence: when(isManifest, () => undefined),
  'a connection that breaks': when(isManifest, (_asked, response) => {
    response.socket?.destroy()
  }),
  'redirects to another host': redirect(({ elsewhere }) => `http://${elsewhere}/x`),
  'redirects inside': redirect(() => 'http://169.254.169.254/latest/meta-data/'),
  'redirects in a circle': (_asked, response) => {
    response.writeHead(307, { location: `/v2/x?${Math.random()}` }).end()
  },
  'a realm on another host': realm(({ elsewhere }) => `http://${elsewhere}/token`),
  'a realm inside': realm(() => 'http://[fd00:ec2::254]/token'),
  'a realm with credentials': realm(({ elsewhere }) => `http://u:p@${elsewhere}/token`),
  'referrers without end': (asked, response, honest) => {
    if (isSignature(asked.path)) response.writeHead(404).end()
    else if (isReferrers(asked.path)) {
      response
        .writeHead(200, {
          'content-type': 'application/vnd.oci.image.index.v1+json',
          link: `<${asked.path.split('?')[0] ?? ''}?page=${asked.times + Math.random()}>; rel="next"`,
        })
        .end('{"schemaVersion":2,"manifests":[]}')
    } else honest.send(response)
  },
  'signatures without end': when(isSignature, (_asked, response, honest) => {
    const manifest = JSON.parse(honest.bytes.toString()) as { layers: object[] }
    const layers = Array.from({ length: 1_001 }, () => manifest.layers[0])
    honest.send(response, Buffer.from(JSON.stringify({ ...manifest, layers })))
  }),
  'a signature of a gigabyte': when(isSignature, (_asked, response, honest) => {
    const manifest = JSON.parse(honest.bytes.toString()) as { layers: object[] }
    const layers = manifest.layers.map((layer) => ({ ...layer, size: 1 << 30 }))
    honest.send(response, Buffer.from(JSON.stringify({ ...manifest, layers })))
  }),
}

/** Answers honestly. */
export const HONEST: Malice = (_asked, response, honest) => {
  honest.send(response)
}

/**
 * A registry on loopback that passes on what the honest one says, but for its malice.
 * @param behind - `HOST:PORT` of the honest one
 * @param elsewhere - `HOST:PORT` that it tries to have asked
 */
export async function startMaliciousRegistry(
  behind: string,
  elsewhere: string,
  malice: Malice,
): Promise<MaliciousRegistry> {
  const requests: string[] = []
  const counts = new Map<string, number>()
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = incoming.url ?? ''
    requests.push(path)
    const times = counts.get(path) ?? 0
    counts.set(path, times + 1)
    const { accept } = incoming.headers
    const fetched = await fetch(`http://${behind}${path}`, {
      method: incoming.method ?? 'GET',
      ...(accept === undefined ? {} : { headers: { accept } }),
    })
    const type = fetched.headers.get('content-type') ?? ''
    const bytes = Buffer.from(await fetched.arrayBuffer())
    const honest: Honest = {
      status: fetched.status,
      type,
      bytes,
      elsewhere,
      send: (to, other = bytes) => {
        to.writeHead(fetched.status, { 'content-type': type }).end(other)
      },
    }
    await malice({ path, times }, response, honest)
  }
  const server = createServer((incoming, response) => {
    response.on('error', () => undefined)
    answer(incoming, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve()
        })
        server.closeAllConnections()
      }),
  }
}
