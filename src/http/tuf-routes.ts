import { AirsealError } from '../core/index.ts'
import type { Route } from './exchange.ts'

/** Files whose name holds their version or hash never change. */
const IMMUTABLE = /^(?:[1-9]\d*\.[^/]+\.json|targets\/.+)$/
const YEAR = 31_536_000

/**
 * The TUF repository. What is not there is 404 and must not be remembered: clients look for the next root by asking for it.
 */
export const TUF_ROUTES: readonly Route[] = [
  {
    dialect: 'airseal',
    method: 'GET',
    pattern: '/tuf/*path',
    permission: 'trust:read',
    headers: { 'cache-control': 'no-store' },
    produces: null,
    handle: ({ services, parameters }) => {
      const path = parameters['path'] ?? ''
      const file = services.tufFile(path)
      if (file === null) throw new AirsealError('NOT_FOUND', 'the TUF repository has no such file')
      const cached = IMMUTABLE.test(path) ? `public, max-age=${YEAR}, immutable` : 'no-cache'
      const headers = { 'cache-control': cached }
      return { status: 200, contentType: file.contentType, body: file.bytes, headers }
    },
  },
]
