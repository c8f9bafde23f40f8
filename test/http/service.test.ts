import { chmodSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { AirsealError, type Json } from '../../src/core/index.ts'
import {
  createListener,
  listen,
  parseTokens,
  type Caller,
  type HttpServices,
} from '../../src/http/index.ts'
import { createRekor } from '../../src/rekor/index.ts'
import { entryKey, hashedrekordOf } from '../support/entries.ts'
import { ENTRIES, exchange, JSON_TYPE, raw, startService, TOKEN } from '../support/http-service.ts'
import { MemoryLog } from '../support/memory-log.ts'

const key = entryKey()

t.test(
  'an entry is created with the exact headers of Rekor, and told apart the second time',
  async (t) => {
    const { post, ask } = await startService(t)
    const entry = hashedrekordOf(key, 'one')
    const created = await post(ENTRIES, entry)
    t.equal(created.status, 201)
    const [id = ''] = Object.keys(JSON.parse(created.text) as object)
    t.match(id, /^[0-9a-f]{80}$/)
    t.equal(created.headers.etag, id, 'bare, without quotes')
    t.equal(created.headers.location, `${ENTRIES}/${id}`, 'relative')
    t.equal(created.headers['content-type'], 'application/json')
    const again = await post(ENTRIES, entry)
    t.equal(again.status, 409)
    t.equal(again.headers.location, `${ENTRIES}/${id}`)
    t.equal(again.headers.etag, undefined)
    t.same(JSON.parse(again.text), {
      code: 409,
      message: `an equivalent entry already exists in the transparency log with UUID ${id}`,
    })
    for (const path of [
      `${ENTRIES}/${id}`,
      `${ENTRIES}/${id.slice(16)}`,
      `${ENTRIES}?logIndex=0`,
    ]) {
      const read = await ask(path)
      t.equal(read.status, 200)
      t.same(Object.keys(JSON.parse(read.text) as object), [id])
      t.match(read.headers, {
        'cache-control': /no-store/,
        pragma: 'no-cache',
        'x-accel-expires': '0',
        expires: /1970/,
      })
      t.equal(read.headers.etag, undefined)
    }
  },
)

t.test(
  '33 MiB are refused with a readable answer, on both ways in, however they are sent',
  async (t) => {
    const { post, ask } = await startService(t)
    const body = Buffer.alloc(33 * 1024 * 1024, 'a')
    body[0] = body[body.length - 1] = 0x22
    for (const path of [ENTRIES, `${ENTRIES}/retrieve`]) {
      for (const headers of [JSON_TYPE, { ...JSON_TYPE, 'transfer-encoding': 'chunked' }]) {
        t.match(await ask(path, { method: 'POST', headers, body }), {
          status: 413,
          text: '{"code":413,"message":"Request Entity Too Large. Limit set to 33554432"}',
        })
      }
    }
    t.match(await ask('/v1/verify', { method: 'POST', headers: JSON_TYPE, body }), {
      status: 413,
      text: /"TOO_LARGE"/,
    })
    t.equal((await post(ENTRIES, hashedrekordOf(key, 'x'))).status, 201)
  },
)

t.test('what is no HTTP is answered and closed', async (t) => {
  const { port, post } = await startService(t, {
    listen: { headersTimeoutMs: 300, requestTimeoutMs: 600 },
  })
  t.match(await raw(port, 'hello\r\n\r\n'), /^HTTP\/1.1 400 /)
  t.match(await raw(port, 'GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1.1 400 /, 'no Host')
  const both = `POST ${ENTRIES} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`
  t.match(await raw(port, both), /^HTTP\/1.1 400 /, 'length and chunks')
  const badChunk = `POST ${ENTRIES} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`
  t.match(await raw(port, badChunk), /^HTTP\/1.1 400 /, 'a bad chunk')
  t.match(
    await raw(port, `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(40_000)}\r\n\r\n`),
    /^HTTP\/1.1 431 /,
  )
  t.match(
    await raw(port, 'GET / HTTP/1.1\r\nHost: x\r\n'),
    /^HTTP\/1.1 408 /,
    'headers that never end',
  )
  t.match(
    await raw(
      port,
      `POST ${ENTRIES} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
    ),
    /^HTTP\/1.1 408 /,
    'a body that never ends',
  )
  t.equal((await post(ENTRIES, hashedrekordOf(key, 'x'))).status, 201)
})

t.test('an answer that nobody reads is given up, and only so many wait', async (t) => {
  const { port, post } = await startService(t, {
    listen: { answerTimeoutMs: 8_000 },
    operation: () => Promise.resolve({ text: 'x'.repeat(40 * 1024 * 1024) }),
  })
  const deaf = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.pause()
      await new Promise((resolve) =>
        socket.write(
          'POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}',
          resolve,
        ),
      )
      return socket
    }),
  )
  /** Asks until the status is that; a machine under load takes its time until all six are being answered, or given up. */
  const until = async (status: number): Promise<Awaited<ReturnType<typeof post>>> => {
    for (let attempt = 0; attempt < 300; attempt++) {
      const reply = await post('/v1/verify', {})
      if (reply.status === status) return reply
      await delay(100)
    }
    throw new Error(`no answer had the status ${status}`)
  }
  t.match(await until(503), { headers: { 'retry-after': '1' } })
  t.match(await until(200), { status: 200 }, 'their memory is free again')
  for (const socket of deaf) socket.destroy()
})

t.test('what fails below is told with its status, and a defect without its words', async (t) => {
  const { post, log, records } = await startService(t, {
    operation: () => Promise.reject(new TypeError('secret detail')),
  })
  log.fail = new AirsealError('OVERLOADED', 'the queue is full')
  t.match(await post(ENTRIES, hashedrekordOf(key, 'a')), {
    status: 503,
    headers: { 'retry-after': '1' },
    text: /the queue is full/,
  })
  log.fail = new Error('secret detail')
  const reply = await post(ENTRIES, hashedrekordOf(key, 'a'))
  t.equal(reply.status, 500)
  t.notMatch(reply.text, /secret/)
  t.match(records.at(-1), { error: 'INTERNAL', cause: /secret detail/ }, 'the log has them')
  const verify = await post('/v1/verify', {})
  t.match(JSON.parse(verify.text), { error: { code: 'INTERNAL', message: String, remedy: String } })
  t.notMatch(verify.text, /secret/)
  t.equal((await post(ENTRIES, hashedrekordOf(key, 'a'))).status, 201)
})

t.test('health, trust files and the page of names', async (t) => {
  let ready = true
  const { ask, log } = await startService(t, {
    services: {
      ready: () =>
        Promise.resolve({
          ready,
          functions: { sign: false, verify: ready, log: ready },
          checks: { checkpoint: 'x' },
        }),
    },
  })
  t.match(await ask('/healthz'), { status: 200, text: '{"status":"ok","version":"0.0.0-test"}' })
  const answer = {
    functions: { sign: false, verify: true, log: true },
    checks: { checkpoint: 'x' },
  }
  t.match(await ask('/readyz'), { status: 200, text: JSON.stringify({ ready: true, ...answer }) })
  t.match(await ask('/readyz?for=verify'), { status: 200 })
  const signing = await ask('/readyz?for=sign')
  t.match(signing, { status: 503, text: JSON.stringify({ ready: false, ...answer }) })
  for (const name of ['constructor', '', 'everything'])
    t.match(await ask(`/readyz?for=${name}`), { status: 400, text: 'REQUEST_INVALID' })
  ready = false
  t.match(await ask('/readyz'), { status: 503, headers: { 'retry-after': '1' } })
  t.match(await ask('/v1/trust/rekor.pub'), {
    status: 200,
    text: log.publicKeyPem,
    headers: { 'content-type': 'application/x-pem-file' },
  })
  t.match(await ask('/v1/trust/rekor.pub'), { headers: { 'airseal-trust-version': '7' } })
  t.match(await ask('/v1/trust-bundle?format=rekor.pub'), { status: 200, text: log.publicKeyPem })
  for (const query of ['', '?format=', '?format=none', '?format=../rekor.pub', '?format=secret'])
    t.match(await ask(`/v1/trust-bundle${query}`), { status: 404, text: /formats are/ }, query)
  for (const name of ['none', '..', '.hidden', '%2e%2e%2fx', 'a%00', 'x'.repeat(65)]) {
    t.match(await ask(`/v1/trust/${name}`), { status: 404, text: /NOT_FOUND/ }, name)
  }
  t.match(await ask('/'), { status: 200, text: /\/v1\/sign/ })
})

t.test('without tokens, signing is for this machine alone', async (t) => {
  const local = await startService(t)
  t.equal((await local.post('/v1/sign', {})).status, 200)
  t.match(local.callers, [{ kind: 'anonymous', address: '127.0.0.1' }])
  for (const host of ['localhost:1234', '127.0.0.1', '[::1]:80']) {
    t.equal((await local.post('/v1/sign', {}, { ...JSON_TYPE, host })).status, 200, host)
  }
  for (const host of [
    'evil.test',
    '127.0.0.1.evil.test',
    'localhost.evil.test',
    '10.0.0.1',
    '127.0.0.1@evil.test',
  ]) {
    t.match(
      await local.post('/v1/sign', {}, { ...JSON_TYPE, host }),
      { status: 403, text: /"FORBIDDEN"/ },
      host,
    )
  }
  t.equal(
    (await local.post('/v1/sign', {}, { 'content-type': 'text/plain' })).status,
    415,
    'a form of a web page',
  )
  const open = await startService(t, { transport: { kind: 'tcp', loopback: false } })
  for (const path of ['/v1/sign', '/v1/attest', '//v1/sign/']) {
    t.match(
      await open.post(
        path,
        {},
        { ...JSON_TYPE, 'x-forwarded-for': '127.0.0.1', forwarded: 'for=127.0.0.1' },
      ),
      { status: 403 },
      path,
    )
  }
  t.equal((await open.post('/v1/verify', {})).status, 200)
  t.equal((await open.post(ENTRIES, hashedrekordOf(key, 'x'))).status, 201)
})

t.test('with tokens, signing needs one of them', async (t) => {
  const tokens = parseTokens(`# for CI\nci ${TOKEN}\n\nops  ${TOKEN}-2\n`)
  const { post, callers, records } = await startService(t, {
    services: { access: { tokens, writeToken: 'required' } },
  })
  const bearer = (token: string) => ({ ...JSON_TYPE, authorization: `Bearer ${token}` })
  for (const headers of [
    JSON_TYPE,
    bearer('wrong'),
    bearer(`${TOKEN}x`),
    { ...JSON_TYPE, authorization: TOKEN },
  ]) {
    t.match(await post('/v1/sign', {}, headers), {
      status: 401,
      headers: { 'www-authenticate': 'Bearer' },
      text: /"UNAUTHENTICATED"/,
    })
    t.match(await post(ENTRIES, hashedrekordOf(key, 'x'), headers), {
      status: 401,
      text: /"code":401/,
    })
  }
  t.equal((await post('/v1/sign', {}, bearer(TOKEN))).status, 200)
  t.equal((await post('/v1/attest', {}, bearer(`${TOKEN}-2`))).status, 200)
  t.match(callers, [
    { kind: 'token', name: 'ci' },
    { kind: 'token', name: 'ops' },
  ])
  t.equal((await post(ENTRIES, hashedrekordOf(key, 'x'), bearer(TOKEN))).status, 201)
  t.equal((await post('/v1/verify', {}, bearer('wrong'))).status, 200, 'public routes do not ask')
  t.notMatch(JSON.stringify(records), /a-token-of/, 'the records name tokens, and do not hold them')
  t.match(records.at(-2), { caller: 'token:ci' })
})

t.test('a token file that is not one is refused by line', (t) => {
  for (const text of ['ci short', `ci ${TOKEN} more`, `c/i ${TOKEN}`, `ci ${TOKEN}\nci ${TOKEN}`]) {
    t.throws(() => parseTokens(text), { code: 'CONFIG_INVALID', message: /^tokens file, line \d/ })
  }
  t.same(parseTokens('\n# nothing\n'), [])
  t.end()
})

t.test('the Unix socket is the operator, private, and replaces a stale one', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'airseal-http-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true })
  })
  const path = join(directory, 'airseal.sock')
  const callers: Caller[] = []
  const operation = (_body: Json, caller: Caller): Promise<Json> => {
    callers.push(caller)
    return Promise.resolve({})
  }
  const services: HttpServices = {
    rekor: createRekor({ log: new MemoryLog() }),
    operations: {
      sign: operation,
      attest: operation,
      verify: operation,
      managed: new Map([['key/list', { permission: 'manage', run: operation }]]),
    },
    verdicts: { known: () => null, remember: () => undefined },
    evidence: async () => null,
    trustFile: () => null,
    trustVersion: () => 1,
    tufFile: () => null,
    ready: () =>
      Promise.resolve({
        ready: true,
        functions: { sign: true, verify: true, log: true },
        checks: {},
      }),
    access: { tokens: parseTokens(`ci ${TOKEN}`), writeToken: 'required' },
    version: 'x',
  }
  const listener = createListener(services, { kind: 'unix' })
  const server = await listen(listener, { path })
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(server.port, null)
  const sign = await exchange(
    { socketPath: path, path: '/v1/sign' },
    { method: 'POST', headers: JSON_TYPE, body: '{}' },
  )
  t.equal(sign.status, 200)
  const managed = await exchange(
    { socketPath: path, path: '/v1/key/list' },
    { method: 'POST', headers: JSON_TYPE, body: '{}' },
  )
  t.equal(managed.status, 200)
  t.same(callers, [{ kind: 'socket' }, { kind: 'socket' }])
  const unknown = await exchange(
    { socketPath: path, path: '/v1/key/none' },
    { method: 'POST', headers: JSON_TYPE, body: '{}' },
  )
  t.equal(unknown.status, 404)
  await t.rejects(listen(listener, { path }), { code: 'DATA_LOCKED' }, 'somebody serves it')
  await server.close()
  writeFileSync(path, '')
  await t.rejects(listen(listener, { path }), { code: 'DATA_DIRECTORY' }, 'a file is in the way')
  rmSync(path)
  // A socket file without a listener: bound, renamed away from its owner, which then can't remove it.
  const dead = createServer().listen(`${path}.old`)
  await new Promise((resolve) => dead.once('listening', resolve))
  renameSync(`${path}.old`, path)
  await new Promise((resolve) => dead.close(resolve))
  chmodSync(path, 0o666)
  const second = await listen(listener, { path })
  t.equal(statSync(path).mode & 0o777, 0o600)
  await second.close()
})

t.test('a TCP peer that is gone is not taken for the operator', async (t) => {
  const { port, callers, post } = await startService(t, {
    transport: { kind: 'tcp', loopback: false },
  })
  const text = `POST /v1/sign HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`
  for (let round = 0; round < 20; round++) {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(text, () => socket.resetAndDestroy())
      })
      socket.on('error', () => undefined)
      socket.on('close', () => {
        resolve()
      })
    })
  }
  t.equal((await post('/v1/verify', {})).status, 200)
  t.equal(callers.length, 1, 'only the verification ran')
})

t.test('closing lets requests in flight be answered, and takes no more', async (t) => {
  const fixture = await startService(t)
  let open: () => void = () => undefined
  fixture.log.gate = new Promise((resolve) => (open = resolve))
  const inFlight = fixture.post(ENTRIES, hashedrekordOf(key, 'x'))
  await new Promise((resolve) => setTimeout(resolve, 100))
  const closed = fixture.close()
  await t.rejects(fixture.ask('/healthz'), { code: 'ECONNREFUSED' })
  open()
  t.equal((await inFlight).status, 201)
  await closed
})

t.test('an address that is taken is one clear line', async (t) => {
  const { port } = await startService(t)
  await t.rejects(
    listen(() => undefined, { host: '127.0.0.1', port }),
    { code: 'CONFIG_INVALID', message: /already in use/ },
  )
})

t.test('a managed operation is the operator’s, unless it says otherwise', async (t) => {
  const { post, callers } = await startService(t)
  for (const path of ['/v1/key/list', '/v1/key/none', '/v1/none/list']) {
    const { status, text } = await post(path, {})
    t.equal(status, 403)
    t.match(JSON.parse(text), { error: { code: 'FORBIDDEN' } })
  }
  t.same(callers, [])
  t.equal((await post('/v1/policy/lint', {})).status, 200)
  t.equal(callers.length, 1)
})
