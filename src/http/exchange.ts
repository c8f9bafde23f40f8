import type { IncomingMessage, ServerResponse } from 'node:http'
import { AirsealError, asAirsealError, type Json } from '../core/index.ts'
import { checkAccept } from './accept.ts'
import { authorise, type Permission } from './access.ts'
import { errorAnswer, type Answer, type Dialect } from './answer.ts'
import { parseBody, readBytes } from './body.ts'
import type { Caller, HttpServices, Transport } from './model.ts'

export interface Route {
  readonly method: 'GET' | 'POST'
  /** Path, with `:name` for a part that varies. Named in the records. */
  readonly pattern: string
  /** Asked for before the body is read; by a function where it depends on the path. */
  readonly permission: Permission | ((call: Pick<Call, 'services' | 'parameters'>) => Permission)
  readonly dialect: Dialect
  /** Media type of the answer, for Accept; null: whatever it is. */
  readonly produces: string | null
  /** Headers of every answer, errors too. */
  readonly headers?: Readonly<Record<string, string>>
  /** Words before the message about malformed JSON. */
  readonly jsonErrorPrefix?: string
  /** Values in the body at most. Default: enough for every request that carries no document of its own. */
  readonly maxValues?: number
  /** The answer to a body whose bytes were seen before; null: none is known. Asked when the caller may ask. */
  readonly known?: (services: HttpServices, bytes: Uint8Array) => Uint8Array | null
  readonly handle: (call: Call) => Promise<Answer> | Answer
}

/** What a handler is given. */
export interface Call {
  readonly services: HttpServices
  readonly caller: Caller
  readonly query: URLSearchParams
  readonly parameters: Readonly<Record<string, string>>
  /** Parsed body of a POST; null for no body. */
  readonly body: Json
  /** The bytes of the body. */
  readonly bytes: Uint8Array
}

/** One listener's surroundings. */
export interface Site {
  readonly services: HttpServices
  readonly transport: Transport
  readonly maxBodyBytes: number
}

const NO_PARAMETERS = {}
const NO_BYTES = new Uint8Array()
const NO_QUERY = new URLSearchParams()
const CLIENT_LEFT = 499

/** Answers beyond this size are counted while they are sent, and so many bytes of them may be under way, over all listeners. */
const LARGE = 1024 * 1024
const MAX_UNDER_WAY = 256 * 1024 * 1024
let underWay = 0

/** Bytes of a body that may come in one piece and be answered by what is known. */
const SMALL_BODY = 8192

/**
 * The same as {@link serve} for a route with known answers: one that is known leaves as soon as the body is there, without a promise on the way.
 * Anything out of the ordinary (a token, another spelling of a header, a body in pieces) takes the long way, which decides alone.
 */
export function serveKnown(
  site: Site,
  route: Route & { readonly known: NonNullable<Route['known']> },
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { headers } = request
  const length = Number(headers['content-length'])
  const isPlain =
    length > 0 &&
    length <= SMALL_BODY &&
    headers['content-type'] === 'application/json' &&
    headers['transfer-encoding'] === undefined &&
    headers['content-encoding'] === undefined &&
    headers.authorization === undefined &&
    headers.origin === undefined &&
    (headers.accept === undefined || headers.accept === '*/*' || headers.accept === route.produces)
  if (!isPlain || typeof route.permission === 'function') {
    void serve(site, route, request, response)
    return
  }
  const started = performance.now()
  const { permission } = route
  const takeLongWay = (bytes: Buffer): void => {
    request.pause()
    request.unshift(bytes)
    // Listens to the body before it returns, so nothing is lost between.
    void serve(site, route, request, response)
    request.resume()
  }
  request.once('data', (bytes: Buffer) => {
    const known = bytes.length === length ? answerOf(site, route, bytes) : null
    if (known === null) {
      takeLongWay(bytes)
      return
    }
    let caller: Caller
    try {
      caller = authorise(request, permission, site.services.access, site.transport)
    } catch {
      takeLongWay(bytes)
      return
    }
    response.writeHead(200, known.headers)
    response.end(known.body)
    record(site, request, route.pattern, 200, started, caller, null)
  })
}

function answerOf(
  { services }: Site,
  route: Route & { readonly known: NonNullable<Route['known']> },
  bytes: Buffer,
): { readonly headers: string[]; readonly body: Uint8Array } | null {
  const body = route.known(services, bytes)
  if (body === null) return null
  const headers = ['content-type', 'application/json', 'x-content-type-options', 'nosniff']
  for (const [name, value] of Object.entries(route.headers ?? {})) headers.push(name, value)
  headers.push('content-length', String(body.length))
  return { headers, body }
}

/** Runs one request through its route: who calls, Accept, body, handler, answer, record. Never rejects. */
export async function serve(
  site: Site,
  route: Route,
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams = NO_QUERY,
  parameters: Readonly<Record<string, string>> = NO_PARAMETERS,
): Promise<void> {
  const started = performance.now()
  let caller: Caller | null = null
  let answer: Answer
  let failure: AirsealError | null = null
  try {
    const permission =
      typeof route.permission === 'function'
        ? route.permission({ services: site.services, parameters })
        : route.permission
    caller = authorise(request, permission, site.services.access, site.transport)
    if (route.produces !== null) checkAccept(request.headers.accept, route.produces)
    const bytes = route.method === 'POST' ? await readBytes(request, site.maxBodyBytes) : NO_BYTES
    const known = route.known?.(site.services, bytes) ?? null
    if (known === null) {
      const body = parseBody(bytes, route.maxValues)
      answer = await route.handle({
        services: site.services,
        caller,
        query,
        parameters,
        body,
        bytes,
      })
    } else answer = { status: 200, contentType: 'application/json', body: known }
  } catch (thrown) {
    failure = asAirsealError(thrown)
    answer = errorAnswer(failure, route.dialect, route.jsonErrorPrefix)
  }
  const left = response.destroyed || response.writableEnded
  if (!left) {
    if (!mayLeave(answer, response)) {
      failure = new AirsealError('OVERLOADED', 'too many large answers are being sent')
      answer = errorAnswer(failure, route.dialect)
    }
    send(request, response, answer, route.headers)
  }
  record(site, request, route.pattern, left ? CLIENT_LEFT : answer.status, started, caller, failure)
}

/** False when memory holds enough that clients have yet to read. */
function mayLeave({ body }: Answer, response: ServerResponse): boolean {
  const { length } = body
  if (length <= LARGE) return true
  if (underWay + length > MAX_UNDER_WAY) return false
  underWay += length
  response.once('close', () => (underWay -= length))
  return true
}

/** Writes a whole answer. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  routeHeaders?: Readonly<Record<string, string>>,
): void {
  const { body, contentType } = answer
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  const headers: Record<string, string | number> = {
    ...routeHeaders,
    ...(request.headers.origin !== undefined && isRekorPath(request.url)
      ? { 'access-control-allow-origin': '*' }
      : {}),
    ...(contentType === null
      ? {}
      : { 'content-type': contentType, 'x-content-type-options': 'nosniff' }),
    'content-length': length,
    ...answer.headers,
  }
  response.writeHead(answer.status, headers)
  response.end(body)
}

/** Browsers may use the Rekor routes from any page, and no other. */
export function isRekorPath(url: string | undefined): boolean {
  return url?.startsWith('/api/') === true
}

/** Tells the request log; a bounded set of routes, no query, no header, no body. */
export function record(
  site: Site,
  request: IncomingMessage,
  route: string,
  status: number,
  started: number,
  caller: Caller | null,
  failure: AirsealError | null,
): void {
  const { log } = site.services
  if (log === undefined) return
  log({
    method: request.method ?? '',
    route,
    status,
    milliseconds: Math.round((performance.now() - started) * 100) / 100,
    caller: callerText(caller, request),
    ...(failure === null ? {} : { error: failure.code }),
    ...(failure?.code === 'INTERNAL' ? { cause: causeText(failure) } : {}),
  })
}

function callerText(caller: Caller | null, request: IncomingMessage): string {
  if (caller?.kind === 'socket') return 'socket'
  if (caller?.kind === 'token') return `token:${caller.name}`
  return caller?.address ?? request.socket.remoteAddress ?? 'gone'
}

function causeText(failure: AirsealError): string {
  const { cause } = failure
  return (cause instanceof Error ? (cause.stack ?? cause.message) : failure.message).slice(0, 2000)
}
