import express, { type NextFunction, type Request, type Response } from 'express'
import type { RequestListener } from 'node:http'
import { AirsealError, asAirsealError } from '../core/index.ts'
import { AIRSEAL_ROUTES, MANAGED } from './airseal-routes.ts'
import { errorAnswer, type Answer, type Dialect } from './answer.ts'
import { isRekorPath, record, send, serve, type Route, type Site } from './exchange.ts'
import { EVIDENCE_ROUTES } from './evidence-routes.ts'
import { REKOR_ROUTES } from './rekor-routes.ts'
import { TRUST_FILE, TRUST_ROUTES } from './trust-routes.ts'
import { TUF_ROUTES } from './tuf-routes.ts'

/** Rekor's answer to a browser that asks before it calls. */
const PREFLIGHT: Answer = {
  status: 204,
  contentType: null,
  body: '',
  headers: {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, POST, HEAD',
    'access-control-allow-headers': 'Accept, Content-Type, X-Requested-With',
  },
}

/** Finds the route of a request. Every route runs through {@link serve}; nothing of express answers by itself. */
export function createRouter(site: Site): RequestListener {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.set('trust proxy', false)
  app.enable('case sensitive routing')
  app.enable('strict routing')
  for (const [pattern, routes] of byPattern([
    ...REKOR_ROUTES,
    ...EVIDENCE_ROUTES,
    ...TRUST_ROUTES,
    ...AIRSEAL_ROUTES,
    ...TUF_ROUTES,
  ])) {
    const path = app.route(pattern)
    for (const route of routes) {
      const run = (request: Request, response: Response): Promise<void> =>
        serve(
          site,
          route,
          request,
          response,
          new URLSearchParams(queryOf(request.url)),
          parametersOf(request),
        )
      if (route.method === 'GET') path.get(run)
      else path.post(run)
    }
    // What another method of theirs is asked for may be an operation: any path of two parts is.
    if (pattern === MANAGED || pattern === TRUST_FILE) continue
    path.all((request, response) => {
      otherMethod(site, pattern, routes, request, response)
    })
  }
  app.use((request: Request, response: Response) => {
    const path = request.url.split('?', 1)[0] ?? ''
    refuse(
      site,
      request,
      response,
      new AirsealError('NOT_FOUND', `path ${path.slice(0, 200)} was not found`),
    )
  })
  // express knows an error handler by its four parameters.
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    refuse(site, request, response, malformed(error) ?? asAirsealError(error))
  })
  return app
}

function byPattern(routes: readonly Route[]): ReadonlyMap<string, readonly Route[]> {
  const found = new Map<string, Route[]>()
  for (const route of routes) found.set(route.pattern, [...(found.get(route.pattern) ?? []), route])
  return found
}

function queryOf(url: string): string {
  const at = url.indexOf('?')
  return at === -1 ? '' : url.slice(at + 1)
}

function parametersOf(request: Request): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(request.params).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join('/') : value,
    ]),
  )
}

function otherMethod(
  site: Site,
  pattern: string,
  routes: readonly Route[],
  request: Request,
  response: Response,
): void {
  if (request.method === 'OPTIONS' && isRekorPath(pattern)) {
    send(request, response, PREFLIGHT)
    return
  }
  const allowed = routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
  const error = new AirsealError(
    'METHOD_NOT_ALLOWED',
    `method ${request.method} is not allowed, but [${allowed.join(',')}] are`,
  )
  refuse(site, request, response, error, pattern, { allow: allowed.join(', ') })
}

function refuse(
  site: Site,
  request: Request,
  response: Response,
  error: AirsealError,
  pattern = '(none)',
  headers: Readonly<Record<string, string>> = {},
): void {
  const dialect: Dialect = request.url.startsWith('/v1/') ? 'airseal' : 'rekor'
  const answer = errorAnswer(error, dialect)
  if (!response.headersSent) send(request, response, answer, headers)
  record(site, request, pattern, answer.status, performance.now(), null, error)
}

/** A path whose percent escapes mean nothing is the caller's mistake, and express says so by a status. */
function malformed(error: unknown): AirsealError | null {
  const status = error instanceof Error && 'status' in error ? error.status : null
  return typeof status === 'number' && status >= 400 && status < 500
    ? new AirsealError('REQUEST_INVALID', 'the path is malformed')
    : null
}
