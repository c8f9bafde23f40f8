import type {
  Agent,
  ClientRequest,
  IncomingHttpHeaders,
  IncomingMessage,
  RequestOptions,
} from 'node:http'
import type { LookupFunction } from 'node:net'
import { AirsealError } from '../core/index.ts'
import { isForbiddenAddress } from './hosts.ts'
import type { RegistrySettings } from './settings.ts'

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array | BodyStream
  /** Whether a body of status 200 or 206 is handed on as it comes instead of being gathered. */
  readonly streaming?: boolean
  /** Most bytes of the answer's body. */
  readonly maxBytes: number
  /** When to give up, by performance.now(). */
  readonly deadline: number
  readonly signal?: AbortSignal | undefined
  /** Whether the client certificate of the settings is shown. */
  readonly showCertificate: boolean
}

/** A body that is sent as it is read. */
export interface BodyStream {
  /** Bytes; exactly as many must come. */
  readonly size: number
  open(): AsyncIterable<Uint8Array>
}

/** Attacker-controlled throughout. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
  /** Set for a request that streams; must be read to its end or destroyed. Throws REGISTRY_UNREACHABLE when it is cut. */
  readonly stream?: AsyncIterable<Uint8Array>
}

/** Makes one request, without redirects, retries or credentials of its own. */
export type Send = (request: HttpRequest) => Promise<HttpAnswer>

/** Faults of TLS that no second try mends. */
const TLS_FAULT =
  /^(?:CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_|ERR_SSL_|EPROTO|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/

/**
 * A sender over a pool of connections of its own. It decodes nothing: an answer with a Content-Encoding is refused, so the sizes that
 * are counted are the sizes that are used. Idle connections don't keep the process alive.
 * It throws REGISTRY_UNREACHABLE (may be tried again), REGISTRY_TLS, REGISTRY_REFUSED or TOO_LARGE.
 */
export function createSender(settings: RegistrySettings): Send {
  const agents = new Map<string, Promise<Transport>>()
  const transportFor = (secure: boolean, showCertificate: boolean) => {
    const name = `${secure} ${showCertificate}`
    let transport = agents.get(name)
    if (transport === undefined) {
      transport = secure ? httpsTransport(settings, showCertificate) : httpTransport()
      agents.set(name, transport)
    }
    return transport
  }
  return async (request) => {
    checkLiteral(request.url, settings)
    const transport = await transportFor(request.url.protocol === 'https:', request.showCertificate)
    try {
      return await exchange(transport, request, settings)
    } catch (error) {
      // The server closed an idle connection while the request was on its way: it was not heard.
      if (error instanceof StaleConnection) return exchange(transport, request, settings)
      throw error
    }
  }
}

interface Transport {
  readonly agent: Agent
  readonly request: (options: RequestOptions) => ClientRequest
}

const POOL = { keepAlive: true, maxSockets: 16, maxFreeSockets: 8, timeout: 30_000 }

async function httpTransport(): Promise<Transport> {
  const http = await import('node:http')
  return { agent: new http.Agent(POOL), request: http.request }
}

/** Loaded only when TLS is spoken: it is a good part of the start time of a command. */
async function httpsTransport(
  settings: RegistrySettings,
  showCertificate: boolean,
): Promise<Transport> {
  const https = await import('node:https')
  const { ca, clientCert: cert, clientKey: key } = settings
  const agent = new https.Agent({
    ...POOL,
    ...(ca === undefined ? {} : { ca }),
    ...(showCertificate && cert !== undefined && key !== undefined ? { cert, key } : {}),
  })
  return { agent, request: https.request }
}

class StaleConnection extends AirsealError {}

function exchange(
  transport: Transport,
  request: HttpRequest,
  settings: RegistrySettings,
): Promise<HttpAnswer> {
  const { url, body, deadline, signal } = request
  const left = deadline - performance.now()
  return new Promise((resolve, reject) => {
    if (left <= 0 || signal?.aborted === true) {
      reject(unreachable(url, 'gave no answer in time'))
      return
    }
    const sent = transport.request({
      agent: transport.agent,
      method: request.method,
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      path: url.pathname + url.search,
      headers: {
        ...request.headers,
        host: url.host,
        'accept-encoding': 'identity',
        'user-agent': 'airseal',
        ...(body === undefined ? {} : { 'content-length': String(sizeOf(body)) }),
      },
      lookup: guardedLookup(url, settings),
    })
    const overall = setTimeout(() => {
      fail(unreachable(url, 'gave no complete answer in time'))
    }, left)
    const connecting = setTimeout(
      () => {
        fail(unreachable(url, `took no connection in ${settings.connectTimeoutMs} ms`))
      },
      Math.min(settings.connectTimeoutMs, left),
    )
    const onAbort = () => {
      fail(unreachable(url, 'was not waited for any longer'))
    }
    const settle = () => {
      clearTimeout(overall)
      clearTimeout(connecting)
      signal?.removeEventListener('abort', onAbort)
    }
    const fail = (error: AirsealError) => {
      settle()
      reject(error)
      sent.destroy()
    }
    signal?.addEventListener('abort', onAbort)
    sent.setTimeout(settings.idleTimeoutMs, () => {
      fail(unreachable(url, `was silent for ${settings.idleTimeoutMs} ms`))
    })
    sent.on('socket', (socket) => {
      if (!socket.connecting) {
        clearTimeout(connecting)
        return
      }
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
        clearTimeout(connecting)
      })
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      fail(translate(error, url, sent.reusedSocket))
    })
    sent.on('response', (answer) => {
      collect(answer, request).then((taken) => {
        settle()
        resolve(taken)
      }, fail)
    })
    if (body === undefined || body instanceof Uint8Array) sent.end(body)
    else
      pour(body, sent).catch((error: unknown) => {
        fail(error instanceof AirsealError ? error : unreachable(url, 'took no upload', error))
      })
  })
}

function sizeOf(body: Uint8Array | BodyStream): number {
  return body instanceof Uint8Array ? body.length : body.size
}

/** Sends a body as it is read, no faster than the other side takes it. */
async function pour(body: BodyStream, sent: ClientRequest): Promise<void> {
  for await (const chunk of body.open()) {
    if (sent.destroyed) return
    if (!sent.write(chunk)) await drained(sent)
  }
  sent.end()
}

/** Resolves when more can be written, or never will. */
function drained(sent: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      sent.off('drain', done).off('close', done)
      resolve()
    }
    sent.on('drain', done).on('close', done)
  })
}

/** Chunks of a body; a connection that is cut is not its end. */
async function* chunksOf(answer: IncomingMessage, url: URL): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of answer) yield chunk as Buffer
  } catch (cause) {
    throw unreachable(url, 'broke off its answer', cause)
  }
  if (!answer.complete) throw unreachable(url, 'broke off its answer')
}

function collect(
  answer: IncomingMessage,
  { url, maxBytes, method, streaming }: HttpRequest,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const encoding = answer.headers['content-encoding'] ?? 'identity'
    if (encoding !== 'identity') {
      reject(
        new AirsealError(
          'REGISTRY_REFUSED',
          `${url.host} sent content encoded as "${encoding.slice(0, 40)}", which was not asked for`,
        ),
      )
      return
    }
    const { statusCode: status = 0, headers } = answer
    if (streaming === true && (status === 200 || status === 206)) {
      resolve({ status, headers, body: new Uint8Array(), stream: chunksOf(answer, url) })
      return
    }
    const tooLarge = () =>
      new AirsealError(
        'TOO_LARGE',
        `${url.host} sent more than the ${maxBytes} bytes that are read of ${url.pathname}`,
      )
    if (method !== 'HEAD' && Number(answer.headers['content-length'] ?? 0) > maxBytes) {
      reject(tooLarge())
      return
    }
    const chunks: Buffer[] = []
    let size = 0
    answer.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) reject(tooLarge())
      else chunks.push(chunk)
    })
    answer.on('error', () => {
      reject(unreachable(url, 'broke off its answer'))
    })
    answer.on('end', () => {
      if (answer.complete) {
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: Buffer.concat(chunks),
        })
      } else {
        reject(unreachable(url, 'broke off its answer'))
      }
    })
  })
}

/** Resolves a name and hands on only addresses that were looked at, so that nothing can be rebound between looking and connecting. */
function guardedLookup(url: URL, settings: RegistrySettings): LookupFunction {
  return (name, options, done) => {
    void import('node:dns').then(({ lookup }) => {
      lookup(name, { ...options, all: true }, (error, found) => {
        if (error !== null) {
          done(error, '', 0)
          return
        }
        const named = settings.allowHosts?.includes(url.host) === true
        const good = named ? found : found.filter(({ address }) => !isForbiddenAddress(address))
        const [first] = good
        if (first === undefined) {
          done(Object.assign(new Error('forbidden address'), { code: 'AIRSEAL_FORBIDDEN' }), '', 0)
        } else if (options.all === true) done(null, good)
        else done(null, first.address, first.family)
      })
    })
  }
}

/** An address written in the reference itself is not looked up, so it is judged here. */
function checkLiteral(url: URL, settings: RegistrySettings): void {
  if (isForbiddenAddress(url.hostname) && settings.allowHosts?.includes(url.host) !== true)
    throw forbidden(url)
}

function forbidden(url: URL): AirsealError {
  return new AirsealError(
    'REGISTRY_REFUSED',
    `${url.host} is a link-local or unspecified address; list it among the allowed registries if it is meant`,
  )
}

function translate(error: NodeJS.ErrnoException, url: URL, reused: boolean): AirsealError {
  const code = error.code ?? error.message
  if (code === 'AIRSEAL_FORBIDDEN') return forbidden(url)
  if (code.startsWith('HPE_')) {
    return new AirsealError(
      'REGISTRY_REFUSED',
      `${url.host} does not speak proper HTTP (${code})`,
      { cause: error },
    )
  }
  if (TLS_FAULT.test(code)) {
    return new AirsealError('REGISTRY_TLS', `TLS with ${url.host} failed (${code})`, {
      cause: error,
    })
  }
  const why = `could not be asked (${code})`
  if (reused && (code === 'ECONNRESET' || code === 'EPIPE')) {
    return new StaleConnection('REGISTRY_UNREACHABLE', `${url.host} ${why}`, { cause: error })
  }
  return unreachable(url, why, error)
}

function unreachable(url: URL, why: string, cause?: unknown): AirsealError {
  return new AirsealError('REGISTRY_UNREACHABLE', `${url.host} ${why}`, { cause })
}
