import { AirsealError } from '../core/index.ts'
import { jsonAnswer } from './answer.ts'
import type { Route } from './exchange.ts'
import type { AdmissionDoor, HttpServices } from './model.ts'

/** What the API server waits for when it says nothing, milliseconds (Kubernetes API, `timeoutSeconds`). */
const DEFAULT_TIMEOUT_MS = 10_000
const MAX_TIMEOUT_MS = 30_000
/** Values of an object of 3 MiB. */
const MAX_VALUES = 1_000_000

const DURATION = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m)$/
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 }

/**
 * Milliseconds in which the answer must be given: the caller's `timeout`, less what the way back takes. After that time the webhook's failurePolicy
 * decides, whatever is answered, so a refusal in time is better than an answer.
 * @throws AirsealError REQUEST_INVALID
 */
function answerWithin(timeout: string | null): number {
  if (timeout === null) return budgetOf(DEFAULT_TIMEOUT_MS)
  const [, number = '', unit = ''] = DURATION.exec(timeout) ?? []
  const milliseconds = Number(number) * (UNITS[unit] ?? 0)
  if (!(milliseconds > 0)) {
    throw new AirsealError(
      'REQUEST_INVALID',
      `timeout "${timeout.slice(0, 40)}" is no duration like 10s`,
    )
  }
  return budgetOf(Math.min(milliseconds, MAX_TIMEOUT_MS))
}

function budgetOf(milliseconds: number): number {
  return Math.max(50, milliseconds - Math.min(1_000, Math.max(200, milliseconds / 10)))
}

function doorOf({ admission }: HttpServices): AdmissionDoor {
  if (admission === undefined) throw new AirsealError('NOT_FOUND', 'admission is not served here')
  return admission
}

function reviewRoute(phase: 'mutate' | 'validate'): Route {
  return {
    method: 'POST',
    pattern: `/admission/${phase}`,
    permission: 'verify',
    dialect: 'airseal',
    produces: 'application/json',
    headers: { 'cache-control': 'no-store' },
    maxValues: MAX_VALUES,
    handle: async ({ services, body, query }) =>
      jsonAnswer(
        200,
        JSON.stringify(
          await doorOf(services).review(phase, body, answerWithin(query.get('timeout'))),
        ),
      ),
  }
}

export const ADMISSION_ROUTES: readonly Route[] = [
  reviewRoute('validate'),
  reviewRoute('mutate'),
  {
    method: 'GET',
    pattern: '/v1/admission/state',
    permission: 'trust:read',
    dialect: 'airseal',
    produces: 'application/json',
    headers: { 'cache-control': 'no-cache' },
    handle: async ({ services, query }) => {
      const { version, body } = await doorOf(services).state()
      return query.get('known') === version
        ? { status: 204, contentType: null, body: '' }
        : jsonAnswer(200, JSON.stringify(body), { etag: `"${version}"` })
    },
  },
]
