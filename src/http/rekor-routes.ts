import { logEntryText } from '../rekor/index.ts'
import { jsonAnswer, type Answer } from './answer.ts'
import type { Route } from './exchange.ts'

/** Rekor's headers on everything that is read. */
const NO_CACHE = {
  'cache-control': 'no-cache, no-store, no-transform, must-revalidate, private, max-age=0',
  expires: 'Thu, 01 Jan 1970 00:00:00 GMT',
  pragma: 'no-cache',
  'x-accel-expires': '0',
} as const

const ENTRIES = '/api/v1/log/entries'
/** Unlike other errors, Rekor's answer about a missing entry has no body. */
const NO_ENTRY: Answer = { status: 404, contentType: null, body: '' }

const JSON_TYPE = 'application/json'
const rekor = {
  dialect: 'rekor',
  produces: JSON_TYPE,
  jsonErrorPrefix: 'parsing entry body from "" failed, because ',
} as const
const reading = { ...rekor, method: 'GET', permission: 'log:read', headers: NO_CACHE } as const

/** `POST /api/v1/log/entries`, the one that must be fast. */
export const createEntry: Route = {
  ...rekor,
  method: 'POST',
  pattern: ENTRIES,
  permission: 'log:write',
  async handle({ services, body }) {
    const { status, entryId, entry } = await services.rekor.submit(body)
    const location = `${ENTRIES}/${entryId}`
    if (status === 201) {
      // The tag is bare, without quotes: clients use it as key into the answer.
      return jsonAnswer(201, logEntryText(entry), { etag: entryId, location })
    }
    const message = `an equivalent entry already exists in the transparency log with UUID ${entryId}`
    return jsonAnswer(409, JSON.stringify({ code: 409, message }), { location })
  },
}

export const REKOR_ROUTES: readonly Route[] = [
  createEntry,
  {
    ...reading,
    pattern: ENTRIES,
    handle: async ({ services, query }) => {
      const entry = await services.rekor.entryByIndex(query.get('logIndex'))
      return entry === null ? NO_ENTRY : jsonAnswer(200, logEntryText(entry))
    },
  },
  {
    ...rekor,
    method: 'POST',
    pattern: `${ENTRIES}/retrieve`,
    permission: 'log:read',
    handle: async ({ services, body }) => {
      const entries = await services.rekor.retrieve(body)
      return jsonAnswer(200, `[${entries.map(logEntryText).join(',')}]`)
    },
  },
  {
    ...reading,
    pattern: `${ENTRIES}/:entryUUID`,
    handle: async ({ services, parameters }) => {
      const entry = await services.rekor.entryById(parameters['entryUUID'] ?? '')
      return entry === null ? NO_ENTRY : jsonAnswer(200, logEntryText(entry))
    },
  },
  {
    ...reading,
    pattern: '/api/v1/log',
    handle: async ({ services }) => jsonAnswer(200, JSON.stringify(await services.rekor.logInfo())),
  },
  {
    ...reading,
    pattern: '/api/v1/log/publicKey',
    produces: 'application/x-pem-file',
    handle: ({ services, query }) => ({
      status: 200,
      contentType: 'application/x-pem-file',
      body: services.rekor.publicKey(query.get('treeID')),
    }),
  },
  {
    ...reading,
    pattern: '/api/v1/log/proof',
    handle: async ({ services, query }) => {
      const proof = await services.rekor.consistencyProof({
        firstSize: query.get('firstSize'),
        lastSize: query.get('lastSize'),
        treeId: query.get('treeID'),
      })
      return jsonAnswer(200, JSON.stringify(proof))
    },
  },
  {
    ...rekor,
    method: 'POST',
    pattern: '/api/v1/index/retrieve',
    permission: 'log:read',
    handle: async ({ services, body }) =>
      jsonAnswer(200, JSON.stringify(await services.rekor.searchIndex(body))),
  },
  {
    ...rekor,
    method: 'GET',
    pattern: '/ping',
    permission: 'health',
    produces: null,
    handle: () => ({ status: 200, contentType: 'text/plain; charset=utf-8', body: '.' }),
  },
]
