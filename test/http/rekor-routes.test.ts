import t from 'tap'
import type { Json } from '../../src/core/index.ts'
import { base64, dsseOf, entryKey, envelopeOf, hashedrekordOf } from '../support/entries.ts'
import { ENTRIES, JSON_TYPE, startService, type Reply } from '../support/http-service.ts'

const key = entryKey()

t.test('a missing entry is 404 with an empty body and no content type', async (t) => {
  const { ask } = await startService(t)
  for (const path of [
    `${ENTRIES}?logIndex=7`,
    `${ENTRIES}/${'0'.repeat(64)}`,
    `${ENTRIES}/${'1'.repeat(80)}`,
  ]) {
    const reply = await ask(path)
    t.match(reply, { status: 404, text: '' })
    t.equal(reply.headers['content-type'], undefined)
    t.equal(reply.headers['content-length'], '0')
  }
})

t.test('the other routes of Rekor', async (t) => {
  const { ask, post, log } = await startService(t)
  t.match(await ask('/api/v1/log'), { status: 200, text: /"treeID":"1193050959916656506"/ })
  t.match(await ask('/api/v1/log/publicKey'), {
    status: 200,
    text: log.publicKeyPem,
    headers: { 'content-type': 'application/x-pem-file' },
  })
  t.equal(
    (await ask('/api/v1/log/publicKey', { headers: { accept: 'application/json' } })).status,
    406,
  )
  t.match(await ask('/api/v1/log/publicKey?treeID=1'), {
    status: 400,
    text: '{"code":400,"message":"Bad Request"}',
  })
  t.match(await post(`${ENTRIES}/retrieve`, { entries: [hashedrekordOf(key, 'a')] }), {
    status: 200,
    text: '[]',
  })
  await post(ENTRIES, hashedrekordOf(key, 'a'))
  await post(ENTRIES, dsseOf(envelopeOf([key]), [key]))
  t.equal(
    (JSON.parse((await post(`${ENTRIES}/retrieve`, { logIndexes: [0, 1] })).text) as Json[]).length,
    2,
  )
  t.match(await ask('/api/v1/log/proof?lastSize=2'), {
    status: 200,
    text: /^\{"rootHash":"[0-9a-f]{64}","hashes":\["[0-9a-f]{64}"\]\}$/,
  })
  t.match(await ask('/api/v1/log/proof?lastSize=9'), {
    status: 400,
    text: /greater than what is currently observable\(2\)/,
  })
  t.match(
    await post('/api/v1/index/retrieve', { publicKey: { format: 'x509', content: key.content } }),
    { status: 200, text: /^\["[0-9a-f]{80}","[0-9a-f]{80}"\]$/ },
  )
  t.match(await ask('/ping'), { status: 200, text: '.' })
  t.match(await ask('/ping', { method: 'HEAD' }), { status: 200, text: '' })
})

t.test('schema errors are 422 with the inner code', async (t) => {
  const { ask, post } = await startService(t)
  const cases: [Promise<Reply>, number, RegExp][] = [
    [ask(ENTRIES), 602, /logIndex in query is required/],
    [ask(`${ENTRIES}?logIndex=x`), 601, /must be of type int64: \\"x\\"/],
    [ask(`${ENTRIES}?logIndex=-1`), 609, /greater than or equal to 0/],
    [ask(`${ENTRIES}/abc`), 605, /entryUUID in path should match/],
    [
      post(`${ENTRIES}/retrieve`, { logIndexes: Array(12).fill(1) }),
      611,
      /logIndexes in body should have at most 10 items/,
    ],
    [post(`${ENTRIES}/retrieve`, ''), 602, /is required/],
    [post(ENTRIES, ''), 602, /is required/],
    [
      post(ENTRIES, { kind: 'nonsense', apiVersion: '0.0.1', spec: {} }),
      422,
      /invalid kind value: \\"nonsense\\"/,
    ],
  ]
  for (const [asked, code, message] of cases) {
    const reply = await asked
    t.equal(reply.status, 422, reply.text)
    t.equal((JSON.parse(reply.text) as { code: number }).code, code)
    t.match(reply.text, message)
  }
})

t.test('paths are cleaned, never redirected; all other spellings are unknown', async (t) => {
  const { ask, post } = await startService(t)
  for (const path of ['//api/v1/log', '/api//v1/log/', '/api/v1/log/?x=1'])
    t.equal((await ask(path)).status, 200, path)
  t.equal((await post(`${ENTRIES}/retrieve/`, {})).status, 200)
  t.equal((await post(`/${ENTRIES}/`, hashedrekordOf(key, 'a'))).status, 201)
  for (const path of [
    '/x',
    '/api/..;/v1/log',
    '/api/v1/../v1/log',
    '/api%2fv1/log',
    '/API/v1/log',
    '/api/v1/log/entries/a/b',
    '/v2/verify',
  ]) {
    t.equal((await ask(path)).status, 404, path)
  }
  t.match(await ask('/x'), { text: '{"code":404,"message":"path /x was not found"}' })
  t.equal((await ask('/v1/trust/%E0%A4%A')).status, 400, 'a broken escape')
  t.equal((await ask(`${ENTRIES}?a[]=1&a[__proto__]=2&logIndex=0`)).status, 200)
})

t.test('wrong methods, media types and preflights', async (t) => {
  const { ask, post } = await startService(t)
  t.match(await ask(ENTRIES, { method: 'DELETE' }), {
    status: 405,
    headers: { allow: 'POST, GET, HEAD' },
    text: /"code":405/,
  })
  t.match(await ask('/v1/sign'), {
    status: 405,
    headers: { allow: 'POST' },
    text: /"METHOD_NOT_ALLOWED"/,
  })
  t.equal((await ask('/api/v1/log', { method: 'TRACE' })).status, 405)
  t.match(await ask(ENTRIES, { method: 'OPTIONS', headers: { origin: 'https://x.test' } }), {
    status: 204,
    headers: { 'access-control-allow-origin': '*' },
  })
  t.equal(
    (await ask('/v1/sign', { method: 'OPTIONS', headers: { origin: 'https://x.test' } })).status,
    405,
    'no page may sign',
  )
  const fromPage = { headers: { origin: 'https://x.test' } }
  t.equal((await ask('/api/v1/log', fromPage)).headers['access-control-allow-origin'], '*')
  t.equal((await ask('/healthz', fromPage)).headers['access-control-allow-origin'], undefined)
  for (const accept of ['text/html', 'application/json;q=0', 'image/*, text/*']) {
    t.equal((await ask('/api/v1/log', { headers: { accept } })).status, 406, accept)
  }
  for (const accept of ['text/html, */*;q=0.1', 'application/*', 'application/json;q=0.5']) {
    t.equal((await ask('/api/v1/log', { headers: { accept } })).status, 200, accept)
  }
  t.equal(
    (
      await post(ENTRIES, hashedrekordOf(key, 'x'), {
        'content-type': 'Application/JSON; charset=utf-8',
      })
    ).status,
    201,
  )
})

t.test('bad input is a clear 4xx, and the next request is served', async (t) => {
  const { post, records, ask } = await startService(t, { services: { maxBodyBytes: 100_000 } })
  const good = hashedrekordOf(key, 'x')
  const text = JSON.stringify(good)
  const cases: [string, string | Uint8Array, number, RegExp, Record<string, string>?][] = [
    ['malformed JSON', '{"a":', 400, /parsing entry body from \\"\\" failed, because/],
    ['no JSON', 'hello', 400, /is not JSON/],
    ['something behind it', `${text}x`, 400, /is not JSON/],
    ['a member twice', '{"kind":"dsse","kind":"dsse"}', 400, /twice/],
    ['a member twice, spelt otherwise', '{"kind":"dsse","k\\u0069nd":"dsse"}', 400, /twice/],
    ['deep nesting', '['.repeat(50_000), 400, /nested deeper/],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400, /UTF-8/],
    ['a lone surrogate', '"\\ud800"', 400, /surrogate/],
    ['a byte order mark', `\ufeff${text}`, 400, /is not JSON/],
    ['another content type', text, 415, /text\/plain/, { 'content-type': 'text/plain' }],
    ['no content type', text, 415, /octet-stream/, {}],
    [
      'a compressed body',
      text,
      415,
      /Content-Encoding/,
      { ...JSON_TYPE, 'content-encoding': 'gzip' },
    ],
    ['too large', `"${'a'.repeat(100_000)}"`, 413, /Request Entity Too Large. Limit set to 100000/],
    [
      'too large, chunked',
      `"${'a'.repeat(100_000)}"`,
      413,
      /Limit set to 100000/,
      { ...JSON_TYPE, 'transfer-encoding': 'chunked' },
    ],
    ['an unknown kind', JSON.stringify({ ...good, kind: 'x' }), 422, /invalid kind value/],
    [
      'a kind that is off',
      JSON.stringify({ ...good, kind: 'rpm' }),
      400,
      /entry kind 'rpm' is not enabled/,
    ],
    ['a bad signature', text.replace(/"value":"../, '"value":"00'), 400, /verifying signature/],
    [
      'another kind of key',
      text.replace(key.content, entryKey('rsa').content),
      400,
      /verifying signature/,
    ],
    ['no key', text.replace(key.content, base64('no key')), 400, /failure decoding PEM/],
  ]
  for (const [name, body, status, message, headers = JSON_TYPE] of cases) {
    const reply = await ask(ENTRIES, { method: 'POST', headers, body })
    t.equal(reply.status, status, `${name}: ${reply.text}`)
    t.match(reply.text, message, name)
    t.match(JSON.parse(reply.text), { code: Number, message: String })
    t.notMatch(reply.text, /at .*\.ts|node:/, 'no stack leaves')
    t.equal((await post(ENTRIES, hashedrekordOf(key, name))).status, 201, `after ${name}`)
  }
  t.match(records[0], {
    method: 'POST',
    route: ENTRIES,
    status: 400,
    error: 'JSON_INVALID',
    caller: '127.0.0.1',
  })
})

t.test('one string of nearly the limit is read', async (t) => {
  const { ask } = await startService(t)
  const body = Buffer.alloc(31 * 1024 * 1024, 'a')
  body[0] = body[body.length - 1] = 0x22
  t.match(await ask(ENTRIES, { method: 'POST', headers: JSON_TYPE, body }), { status: 422 })
})

t.test('many at once over kept connections: each entry once', async (t) => {
  const { post, log } = await startService(t)
  const entries = Array.from({ length: 40 }, (_, index) => hashedrekordOf(key, `entry ${index}`))
  const replies = await Promise.all(
    [...entries, ...entries.slice(0, 20)].map((entry) => post(ENTRIES, entry)),
  )
  t.equal(replies.filter(({ status }) => status === 201).length, 40)
  t.equal(replies.filter(({ status }) => status === 409).length, 20)
  t.equal(log.size, 40)
})
