import { AirsealError } from '../core/index.ts'
import { TRUST_FORMATS } from '../trust/index.ts'
import type { Answer } from './answer.ts'
import type { Route } from './exchange.ts'
import type { HttpServices } from './model.ts'

const TRUST_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const BUNDLE = 'trust-bundle.json'
/** One of the trust files; operations on trust have paths of the same form. */
export const TRUST_FILE = '/v1/trust/:name'

const trust = {
  dialect: 'airseal',
  method: 'GET',
  permission: 'trust:read',
  produces: null,
  headers: { 'cache-control': 'no-store' },
} as const

/** The trust bundle and what is made of it. Each answer says the version that it is from. */
export const TRUST_ROUTES: readonly Route[] = [
  {
    ...trust,
    pattern: '/v1/trust-bundle',
    handle: ({ services, query }) => {
      const format = query.get('format')
      if (format === null) return file(services, BUNDLE)
      return file(services, TRUST_FORMATS.get(format) ?? format)
    },
  },
  {
    ...trust,
    pattern: TRUST_FILE,
    handle: ({ services, parameters }) => file(services, parameters['name'] ?? ''),
  },
]

function file(services: HttpServices, name: string): Answer {
  const found = TRUST_NAME.test(name) ? services.trustFile(name) : null
  if (found === null) {
    throw new AirsealError(
      'NOT_FOUND',
      `there is no trust file of that name; formats are ${[...TRUST_FORMATS.keys()].join(', ')}`,
    )
  }
  const headers = { 'airseal-trust-version': services.trustVersion() }
  return { status: 200, contentType: found.contentType, body: found.bytes, headers }
}
