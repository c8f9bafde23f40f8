import { AirsealError, utf8 } from '../core/index.ts'
import { jsonAnswer } from './answer.ts'
import type { Route } from './exchange.ts'

const airseal = {
  dialect: 'airseal',
  produces: 'application/json',
  headers: { 'cache-control': 'no-store' },
} as const
const TEXT = 'text/plain; charset=utf-8'
/** A predicate may come as part of the body: an SBOM has hundreds of thousands. */
const MAX_PREDICATE_VALUES = 1_000_000

/** Whatever an operator manages: keys, trust, policies … */
export const MANAGED = '/v1/:area/:verb'

function operationRoute(operation: 'attest' | 'sign' | 'verify'): Route {
  return {
    ...airseal,
    method: 'POST',
    pattern: `/v1/${operation}`,
    permission: operation,
    handle: async ({ services, body, caller }) =>
      jsonAnswer(200, JSON.stringify(await services.operations[operation](body, caller))),
  }
}

/** `POST /v1/verify`, the one that must be fast. */
export const verifyImages: Route & { readonly known: NonNullable<Route['known']> } = {
  ...operationRoute('verify'),
  known: ({ verdicts }, bytes) => verdicts.known(bytes),
  handle: async ({ services, body, bytes, caller }) => {
    const answer = await services.operations.verify(body, caller)
    const text = utf8(JSON.stringify(answer))
    services.verdicts.remember(bytes, answer, text)
    return { status: 200, contentType: 'application/json', body: text }
  },
}

export const AIRSEAL_ROUTES: readonly Route[] = [
  verifyImages,
  operationRoute('sign'),
  { ...operationRoute('attest'), maxValues: MAX_PREDICATE_VALUES },
  {
    ...airseal,
    method: 'GET',
    pattern: '/healthz',
    permission: 'health',
    handle: ({ services }) =>
      jsonAnswer(200, JSON.stringify({ status: 'ok', version: services.version })),
  },
  {
    ...airseal,
    method: 'GET',
    pattern: '/readyz',
    permission: 'health',
    handle: async ({ services, query }) => {
      const { ready, functions, checks } = await services.ready()
      const wanted = query.get('for')
      const isReady = wanted === null ? ready : functionNamed(functions, wanted)
      return jsonAnswer(
        isReady ? 200 : 503,
        JSON.stringify({ ready: isReady, functions, checks }),
        isReady ? {} : { 'retry-after': 1 },
      )
    },
  },
  {
    ...airseal,
    method: 'GET',
    pattern: '/',
    permission: 'health',
    produces: null,
    handle: ({ services }) => ({ status: 200, contentType: TEXT, body: welcome(services.version) }),
  },
  {
    ...airseal,
    method: 'POST',
    pattern: MANAGED,
    permission: ({ parameters, services }) =>
      services.operations.managed.get(managedName(parameters))?.permission ?? 'manage',
    maxValues: MAX_PREDICATE_VALUES,
    handle: async ({ services, parameters, body, caller }) => {
      const operation = services.operations.managed.get(managedName(parameters))
      if (operation === undefined)
        throw new AirsealError('NOT_FOUND', 'there is no operation of that name')
      return jsonAnswer(200, JSON.stringify(await operation.run(body, caller)))
    },
  },
]

function managedName(parameters: Readonly<Record<string, string>>): string {
  return `${parameters['area'] ?? ''}/${parameters['verb'] ?? ''}`
}

function functionNamed(functions: Readonly<Record<string, boolean>>, name: string): boolean {
  if (!Object.hasOwn(functions, name)) {
    const known = Object.keys(functions).join(', ')
    throw new AirsealError('REQUEST_INVALID', `for must be one of ${known}`)
  }
  return functions[name] === true
}

function welcome(version: string): string {
  return `airseal ${version}: signing, transparency log and verification for container images

POST /v1/sign              sign images
POST /v1/attest            sign statements about images
POST /v1/verify            verify images
GET  /v1/evidence/DIGEST   what is known here about an image
GET  /v1/trust-bundle      the signed trust bundle; ?format=NAME: what is made of it for clients
GET  /v1/trust/NAME        cosign.pub, rekor.pub, trusted_root.json, signing_config.json …
     /api/v1/log           transparency log, as Rekor 1 (rekor-cli, cosign)
GET  /healthz, /readyz     alive; ready, or with ?for=sign, verify, log ready for that
`
}
