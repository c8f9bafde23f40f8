import { connect } from 'node:net'
import t from 'tap'
import { utf8 } from '../../src/core/index.ts'
import { JSON_TYPE, startService, TOKEN } from '../support/http-service.ts'
import { parseTokens } from '../../src/http/index.ts'

const BODY = '{"images":["registry.test/a@sha256:00"]}'
const KNOWN = utf8('{"known":"ü"}')

/** A service that knows the answer to one body. */
const verdicts = {
  known: (bytes: Uint8Array) => (Buffer.from(bytes).toString() === BODY ? KNOWN : null),
  remember: () => undefined,
}

/** Sends a request in two pieces, with time between them, and returns the first bytes of the answer. */
function inPieces(port: number, first: string, second: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(first, () => setImmediate(() => setImmediate(() => socket.write(second))))
    })
    socket.on('error', reject)
    socket.once('data', (chunk: Buffer) => {
      resolve(chunk.toString())
      socket.destroy()
    })
  })
}

void t.test('known answers leave as they are, to those who may ask', async (t) => {
  const { post, records, callers } = await startService(t, { services: { verdicts } })
  const known = await post('/v1/verify', BODY)
  t.match(known, { status: 200, text: '{"known":"ü"}' })
  t.match(known.headers, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-length': String(KNOWN.length),
  })
  t.equal(callers.length, 0, 'nothing was asked')
  t.match(records, [{ method: 'POST', route: '/v1/verify', status: 200 }])
  const others = [
    await post('/v1/verify', `${BODY} `),
    await post('/v1/verify', '{"images":["registry.test/b"]}'),
  ]
  for (const other of others) t.match(other, { status: 200, text: '{"done":true}' })
  t.equal(callers.length, 2)
  t.match(await post('/v1/verify', BODY, { 'content-type': 'text/plain' }), { status: 415 })
  t.match(await post('/v1/verify', BODY, { ...JSON_TYPE, accept: 'text/html' }), { status: 406 })
  t.match(await post('/v1/verify', BODY, { ...JSON_TYPE, accept: 'text/html, */*' }), {
    status: 200,
    text: '{"known":"ü"}',
  })
  t.match(await post('/v1/verify', '{'), { status: 400 })
  t.match(await post('/v1/verify', ''), { status: 200, text: '{"done":true}' })
})

void t.test(
  'a body in pieces, unknown or with a token takes the long way and arrives',
  async (t) => {
    const access = { tokens: parseTokens(`ci ${TOKEN}`), writeToken: 'open' } as const
    const { port, post, callers } = await startService(t, { services: { verdicts, access } })
    const head = `POST /v1/verify HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n`
    t.match(
      await inPieces(port, head + BODY.slice(0, 9), BODY.slice(9)),
      /^HTTP\/1\.1 200 [^]*"known"/,
    )
    t.match(await inPieces(port, head, BODY), /^HTTP\/1\.1 200 [^]*"known"/)
    const authorization = `Bearer ${TOKEN}`
    t.match(await post('/v1/verify', BODY, { ...JSON_TYPE, authorization }), {
      text: '{"known":"ü"}',
    })
    t.match(await post('/v1/verify', '{"a":1}', { ...JSON_TYPE, authorization }), {
      text: '{"done":true}',
    })
    t.match(callers, [{ kind: 'token', name: 'ci' }])
  },
)
