import { parseDigest } from '../core/index.ts'
import { jsonAnswer } from './answer.ts'
import type { Route } from './exchange.ts'

/**
 * What is known here about an image. Statements about images may be meant for few, so it takes the same right as signing: a token, or on a
 * service without tokens a process of this machine.
 */
export const EVIDENCE_ROUTES: readonly Route[] = [
  {
    dialect: 'airseal',
    produces: 'application/json',
    headers: { 'cache-control': 'no-store' },
    method: 'GET',
    pattern: '/v1/evidence/:digest',
    permission: 'evidence:read',
    handle: async ({ services, parameters }) =>
      jsonAnswer(
        200,
        JSON.stringify(await services.evidence(parseDigest(parameters['digest'] ?? ''))),
      ),
  },
]
