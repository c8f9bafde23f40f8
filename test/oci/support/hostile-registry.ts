import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Request {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly authorization: string | undefined
  readonly body: string
}

export interface FakeServer {
  /** `127.0.0.1:port` */
  readonly host: string
  /** Everything that was asked, in order. */
  readonly requests: Request[]
  /** Answers from now on. */
  answer: (request: Request, response: ServerResponse) => void
  stop(): Promise<void>
}

/** A server on loopback that does what a test says, however wrong. */
export async function startFakeServer(): Promise<FakeServer> {
  const requests: Request[] = []
  const listener: RequestListener = (incoming, response) => {
    void readBody(incoming).then((body) => {
      const request = {
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        authorization: incoming.headers.authorization,
        body,
      }
      requests.push(request)
      fake.answer(request, response)
    })
  }
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const fake: FakeServer = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: (_request, response) => response.writeHead(404).end(),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve()
        })
        server.closeAllConnections()
      }),
  }
  return fake
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of incoming) text += String(chunk)
  return text
}
