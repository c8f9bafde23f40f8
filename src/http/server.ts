import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { AirsealError } from '../core/index.ts'
import { bindSocket, freeSocketPath } from './unix-socket.ts'

export type ListenAddress =
  | { readonly path: string }
  | {
      readonly host: string
      /** 0: one that is free. */
      readonly port: number
      /** PEM: certificate (leaf first) and key. Default: plain HTTP. */
      readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer }
    }

export interface ListenOptions {
  /** Open connections at most; further ones are closed at once. Default 4096. */
  readonly maxConnections?: number
  /** Time for a whole request to arrive, milliseconds. Default 30000. */
  readonly requestTimeoutMs?: number
  /** Time for its headers, milliseconds. Default 10000. */
  readonly headersTimeoutMs?: number
  /** Time without progress after which an answer that its client does not read is given up, milliseconds. Default 30000. */
  readonly answerTimeoutMs?: number
  /** Time that requests in flight get when the server closes, milliseconds. Default 30000. */
  readonly closeTimeoutMs?: number
}

export interface RunningServer {
  /** `http://HOST:PORT`, `https://…` or `unix:PATH`. */
  readonly url: string
  /** null for a Unix socket. */
  readonly port: number | null
  /** Takes another certificate and key (PEM), from the next connection on. Nothing for a listener without TLS. */
  replaceTls(tls: { readonly cert: string | Buffer; readonly key: string | Buffer }): void
  /** Takes no more connections, lets requests in flight be answered, then ends. */
  close(): Promise<void>
}

/** Node's own limits suit a trusted network: here every peer may be hostile. */
const LIMITS = {
  maxHeaderSize: 32 * 1024,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 20_000,
} as const

/**
 * Starts to listen on a TCP port or a Unix socket (mode 0600; a socket file that nobody serves any more is replaced).
 * @throws AirsealError CONFIG_INVALID (address can't be used), DATA_LOCKED (socket in use), DATA_DIRECTORY (the path holds something else)
 */
export async function listen(
  listener: RequestListener,
  address: ListenAddress,
  options: ListenOptions = {},
): Promise<RunningServer> {
  const server = createHttpServer(listener, address, options)
  if ('path' in address) {
    await freeSocketPath(address.path)
    await bindSocket(server, address.path)
  } else {
    await bindPort(server, address.host, address.port)
  }
  const port = 'path' in address ? null : (server.address() as AddressInfo).port
  return {
    url: urlOf(address, port),
    port,
    replaceTls: (tls) => {
      if (server instanceof TlsServer) server.setSecureContext({ ...tls, minVersion: 'TLSv1.2' })
    },
    close: () => closeServer(server, options.closeTimeoutMs ?? 30_000),
  }
}

function createHttpServer(
  listener: RequestListener,
  address: ListenAddress,
  options: ListenOptions,
): Server {
  const settings = {
    ...LIMITS,
    requestTimeout: options.requestTimeoutMs ?? 30_000,
    headersTimeout: options.headersTimeoutMs ?? 10_000,
  }
  const tls = 'path' in address ? undefined : address.tls
  const server =
    tls === undefined
      ? createServer(settings, listener)
      : createTlsServer(
          { ...settings, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: 10_000 },
          listener,
        )
  server.maxConnections = options.maxConnections ?? 4096
  limitAnswers(server, options.answerTimeoutMs ?? 30_000)
  server.on('clientError', answerMalformed)
  return server
}

/** Bytes of an answer that may wait in memory without a clock running. */
const WAITING = 64 * 1024

/** Node gives an answer all the time in the world: clients that never read would fill the memory. */
function limitAnswers(server: Server, timeoutMs: number): void {
  server.on('request', (_request, response) => {
    response.once('prefinish', () => {
      // Nobody handles the event, so Node destroys the connection; the next request on it starts without this clock.
      if ((response.socket?.writableLength ?? 0) > WAITING) response.setTimeout(timeoutMs)
    })
  })
}

const MALFORMED: ReadonlyMap<string, string> = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout'],
])

/** What is no HTTP gets one line and is closed; its parse state can't be trusted for a next request. */
function answerMalformed(
  error: Error & { code?: string },
  socket: Socket & { _httpMessage?: { headersSent: boolean } | null },
): void {
  // Inside an answer nothing can be put: the connection just ends.
  if (
    !socket.writable ||
    error.code === 'ECONNRESET' ||
    socket._httpMessage?.headersSent === true
  ) {
    socket.destroy()
    return
  }
  const status = MALFORMED.get(error.code ?? '') ?? '400 Bad Request'
  const body = JSON.stringify({ code: Number(status.slice(0, 3)), message: status.slice(4) })
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    () => {
      socket.destroy()
    },
  )
}

function bindPort(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why =
        cause.code === 'EADDRINUSE'
          ? 'is already in use'
          : `can't be used (${cause.code ?? cause.message})`
      reject(new AirsealError('CONFIG_INVALID', `listen: ${host}:${port} ${why}`, { cause }))
    })
    server.listen({ host, port, backlog: 1024 }, resolve)
  })
}

function urlOf(address: ListenAddress, port: number | null): string {
  if ('path' in address) return `unix:${address.path}`
  const host = address.host.includes(':') ? `[${address.host}]` : address.host
  return `${address.tls === undefined ? 'http' : 'https'}://${host}:${port}`
}

function closeServer(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    // A kept-alive connection becomes idle only after its answer: asked again until none is left.
    const idle = setInterval(() => {
      server.closeIdleConnections()
    }, 20)
    const cut = setTimeout(() => {
      server.closeAllConnections()
    }, timeoutMs)
    server.close(() => {
      clearInterval(idle)
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}
