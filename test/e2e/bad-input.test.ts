import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { call, errorCodeOf, type Called } from '../support/call.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { freePort, startSite, temporaryDirectory } from '../support/site.ts'
import { pushTiny, tinyLayout } from '../support/tiny-layout.ts'

t.setTimeout(300_000)
const directory = await temporaryDirectory(t)
const registry = await startPlainRegistry()
t.teardown(() => registry.stop())
const data = join(directory, 'data')
await mkdir(data, { mode: 0o700 })
await writeFile(join(data, 'airseal.yaml'), 'registries:\n  timeoutMs: 1000\n')
const site = await startSite(data)
t.teardown(() => site.stop('SIGKILL'))
const [good = ''] = await tinyLayout(join(directory, 'layout'), ['good'])
const repository = `${registry.address}/team/app`
const [image = '', other = ''] = await pushTiny(repository, ['one', 'two'])
const absent = `sha256:${'0'.repeat(64)}`

const ENTRIES = '/api/v1/log/entries'
const OPERATIONS = ['/v1/sign', '/v1/attest', '/v1/verify'] as const
const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Called> =>
  call(`${site.url}${path}`, { body, headers })

/** A line from the middle of a PEM. */
const secretPart = (pem: string): string => pem.split('\n')[1] ?? pem

let entries = 0
async function logSize(): Promise<number> {
  return ((await call(`${site.url}/api/v1/log`)).json as { treeSize: number }).treeSize
}

/** A case; after it, nothing was logged, and a good request of either kind is served. */
function badInput(name: string, work: (t: Tap) => Promise<void>): Promise<unknown> {
  return t.test(name, async (t) => {
    await work(t)
    t.equal(await logSize(), entries, 'nothing was logged')
    t.equal((await call(`${site.url}/readyz`)).status, 200)
    t.equal((await post(ENTRIES, proposal(`good ${entries}`))).status, 201, 'an entry is logged')
    entries++
    const signed = await site.airseal(['sign', good])
    t.equal(signed.code, 0, `an image is signed ${signed.stderr}`)
  })
}
type Tap = Pick<typeof t, 'equal' | 'match' | 'notMatch' | 'ok'>

interface Parts {
  readonly digest?: string
  readonly signature?: string
  readonly key?: string
}

function proposal(
  text: string,
  parts: Parts = {},
): { apiVersion: string; kind: string; spec: unknown } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = pair.publicKey.export({ format: 'pem', type: 'spki' })
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: {
        hash: {
          algorithm: 'sha256',
          value: parts.digest ?? createHash('sha256').update(text).digest('hex'),
        },
      },
      signature: {
        content:
          parts.signature ?? sign('sha256', Buffer.from(text), pair.privateKey).toString('base64'),
        publicKey: { content: Buffer.from(parts.key ?? pem).toString('base64') },
      },
    },
  }
}

await site.airseal(['sign', good])
entries = await logSize()

await badInput('malformed JSON', async (t) => {
  for (const path of [...OPERATIONS, ENTRIES, `${ENTRIES}/retrieve`, '/api/v1/index/retrieve']) {
    for (const body of [
      '{',
      '{"images":[}',
      'nope',
      '{"a":1,"a":2}',
      '\u0001',
      '[1,]',
      '{"a":1}{"b":2}',
      '['.repeat(5000),
    ]) {
      const answer = await post(path, body)
      t.equal(answer.status, 400, `${path} ${body.slice(0, 20)}`)
      if (path.startsWith('/v1/')) t.equal(errorCodeOf(answer), 'JSON_INVALID')
      else t.match(answer.json, { code: 400, message: String })
    }
    t.equal((await post(path, Buffer.from([0x7b, 0xff, 0xfe, 0x7d]))).status, 400, 'not UTF-8')
  }
})

await badInput('JSON of another shape', async (t) => {
  for (const path of OPERATIONS) {
    for (const body of [
      '[]',
      'null',
      '1',
      '{}',
      '{"images":[]}',
      '{"images":"x"}',
      '{"images":[1]}',
      '{"images":[null]}',
      '{"images":["x"],"imagse":1}',
      '{"images":[""]}',
    ]) {
      const answer = await post(path, body)
      t.equal(answer.status, 400, `${path} ${body}`)
      t.match(errorCodeOf(answer) ?? '', /^(REQUEST|REFERENCE)_INVALID$/)
    }
  }
})

await badInput('wrong content type', async (t) => {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonx',
    'multipart/form-data; boundary=x',
    '',
  ]) {
    for (const path of [...OPERATIONS, ENTRIES]) {
      const answer = await post(path, '{"images":["x"]}', { 'content-type': type })
      t.equal(answer.status, 415, `${path} ${type}`)
      if (path.startsWith('/v1/')) t.equal(errorCodeOf(answer), 'CONTENT_TYPE')
    }
  }
  t.equal((await post('/v1/sign', '{}', { 'content-encoding': 'gzip' })).status, 415)
})

await badInput('a body of 33 MiB', async (t) => {
  const large = Buffer.alloc(33 * 1024 * 1024, ' ')
  for (const path of ['/v1/sign', '/v1/verify', ENTRIES]) {
    const answer = await post(path, large)
    t.equal(answer.status, 413, path)
    if (path.startsWith('/v1/')) t.equal(errorCodeOf(answer), 'TOO_LARGE')
    // Without a length the size shows only while reading.
    const chunked = await fetch(`${site.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Blob([large]).stream(),
      duplex: 'half',
    })
    t.equal(chunked.status, 413, `${path} in chunks`)
    await chunked.arrayBuffer()
  }
})

await badInput('what is no HTTP, no path or no method of ours', async (t) => {
  const raw = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(site.url).port), '127.0.0.1', () => socket.end(text))
      let answer = ''
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
      socket.on('error', reject)
      socket.on('close', () => {
        resolve(answer)
      })
    })
  t.match(await raw('hello\r\n\r\n'), /^HTTP\/1.1 400 /)
  t.match(
    await raw(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`),
    /^HTTP\/1.1 431 /,
  )
  t.match(
    await raw(
      'POST /v1/sign HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ),
    /^HTTP\/1.1 400 /,
  )
  t.match(await call(`${site.url}/v1/unknown`), {
    status: 404,
    json: { error: { code: 'NOT_FOUND' } },
  })
  t.match(await call(`${site.url}/v1/sign`), {
    status: 405,
    json: { error: { code: 'METHOD_NOT_ALLOWED' } },
  })
  t.equal((await call(`${site.url}/v1/%ff`)).status < 500, true)
  t.equal(
    (await call(`${site.url}/v1/verify`, { body: {}, headers: { accept: 'text/html' } })).status,
    406,
  )
})

await badInput('unknown kind and version', async (t) => {
  const base = proposal('x')
  for (const change of [
    { kind: 'nope' },
    { kind: 1 },
    { kind: null },
    { apiVersion: '9.9.9' },
    { apiVersion: null },
    { spec: null },
    { spec: {} },
    { kind: 'dsse' },
    { kind: '__proto__' },
  ]) {
    const answer = await post(ENTRIES, { ...base, ...change })
    t.ok(
      answer.status === 422 || answer.status === 400,
      `${JSON.stringify(change)} ${answer.status}`,
    )
    t.match(answer.json, { code: Number, message: /./ })
  }
  t.match(await post(ENTRIES, { ...base, kind: 'nope' }), { status: 422 })
})

await badInput('bad signature', async (t) => {
  const text = 'signed'
  const whole = proposal(text) as { spec: { signature: { content: string } } }
  const signature = Buffer.from(whole.spec.signature.content, 'base64')
  const flipped = Buffer.from(signature)
  flipped[flipped.length - 1]! ^= 1
  const cases = [
    proposal(text, { digest: createHash('sha256').update('something else').digest('hex') }),
    proposal(text, { signature: signature.toString('base64') }), // by another key
    proposal(text, { signature: Buffer.alloc(70).toString('base64') }),
    proposal(text, { signature: '' }),
    proposal(text, { signature: '!!!' }),
    {
      ...whole,
      spec: {
        ...whole.spec,
        signature: { ...whole.spec.signature, content: flipped.toString('base64') },
      },
    },
  ]
  for (const one of cases) {
    const answer = await post(ENTRIES, one)
    t.ok(answer.status === 400 || answer.status === 422, `${answer.status} ${answer.text}`)
    t.match(answer.json, { message: /./ })
  }
})

await badInput('wrong key type', async (t) => {
  const dsa = generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 }).publicKey
  const x25519 = generateKeyPairSync('x25519').publicKey
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
  const curve = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
  const secret = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const pems = [dsa, x25519, small, curve].map((key) =>
    String(key.export({ format: 'pem', type: 'spki' })),
  )
  const keys = [
    ...pems,
    String(secret.export({ format: 'pem', type: 'pkcs8' })),
    'not a key',
    '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
  ]
  for (const key of keys) {
    const answer = await post(ENTRIES, proposal('x', { key }))
    t.equal(answer.status, 400, `${answer.text} for ${key.slice(0, 60)}`)
    if (!key.includes('BEGIN')) continue
    const verified = await post('/v1/verify', { images: [image], key })
    t.match(errorCodeOf(verified) ?? '', /^KEY_(INVALID|UNSUPPORTED)$/)
    t.equal(verified.status, 400)
    const file = join(directory, 'key.pem')
    await writeFile(file, key)
    const command = await site.airseal(['verify', '--key', file, image])
    t.equal(command.code, 1, command.stderr)
    t.match(command.stderr, /\[KEY_(INVALID|UNSUPPORTED)\]/)
    t.notMatch(command.stderr + answer.text, secretPart(key))
  }
  t.match(await post('/v1/sign', { images: [image], key: 'nobody' }), {
    status: 404,
    json: { error: { code: 'KEY_UNKNOWN' } },
  })
  t.match(await site.airseal(['sign', '--key', 'nobody', image]), {
    code: 1,
    stderr: /KEY_UNKNOWN/,
  })
})

await badInput("a digest that doesn't exist", async (t) => {
  for (const missing of [
    `${repository}@${absent}`,
    `${registry.address}/nowhere/app@${absent}`,
    `${repository}:nowhere`,
  ]) {
    const resolveTag = missing.includes(':nowhere')
    const answer = await post('/v1/sign', { images: [missing], resolveTag })
    t.equal(answer.status, 404, missing)
    t.equal(errorCodeOf(answer), 'IMAGE_NOT_FOUND')
    t.match(await post('/v1/verify', { images: [missing] }), {
      status: 200,
      json: { results: [{ outcome: 'error', reason: 'IMAGE_NOT_FOUND', exitCode: 11 }] },
    })
    t.match(await site.airseal(['sign', '--resolve-tag', missing]), {
      code: 11,
      stderr: /IMAGE_NOT_FOUND/,
    })
    t.match(await site.airseal(['verify', missing]), { code: 11, stderr: /IMAGE_NOT_FOUND/ })
  }
  // All images are looked up before the first is signed.
  t.equal((await post('/v1/sign', { images: [image, `${repository}@${absent}`] })).status, 404)
  t.match(await site.airseal(['sign', `oci:${join(directory, 'layout')}@${absent}`]), {
    code: 11,
    stderr: /IMAGE_NOT_FOUND/,
  })
  t.match(await site.airseal(['sign', `oci:${directory}@${absent}`]), {
    code: 1,
    stderr: /LAYOUT_INVALID/,
  })
})

await badInput('references that mean nothing', async (t) => {
  for (const reference of [
    'UPPER/case',
    `${repository}@sha256:123`,
    `${repository}@md5:${'0'.repeat(32)}`,
    'http://127.0.0.1/x',
    'a b',
    `127.1/x@${absent}`,
    '../..',
    'oci:',
    `oci:@${absent}`,
  ]) {
    const answer = await post('/v1/sign', { images: [reference] })
    t.equal(answer.status, reference.startsWith('oci:') ? answer.status : 400, reference)
    t.ok(answer.status >= 400 && answer.status < 500, reference)
    const { code, stderr } = await site.airseal(['sign', reference])
    t.ok(code === 1 || code === 2, `${reference} ${String(code)} ${stderr}`)
    t.match(stderr, /\[[A-Z_]+\]\n/)
  }
})

await badInput('a tag where a digest is needed', async (t) => {
  const answer = await post('/v1/sign', { images: [`${repository}:one`] })
  t.equal(answer.status, 400)
  t.equal(errorCodeOf(answer), 'DIGEST_REQUIRED')
  const digest = image.slice(image.indexOf('@') + 1)
  t.match(answer.text, digest, 'the digest is shown')
  const command = await site.airseal(['sign', `${repository}:one`])
  t.equal(command.code, 1)
  t.match(command.stderr, 'DIGEST_REQUIRED')
  t.match(command.stderr, digest)
  t.equal(
    errorCodeOf(await post('/v1/sign', { images: [repository] })),
    'DIGEST_REQUIRED',
    'latest is never assumed',
  )
  t.equal(
    errorCodeOf(
      await post('/v1/attest', { images: [`${repository}:one`], type: 'custom', predicate: {} }),
    ),
    'DIGEST_REQUIRED',
  )
})

await badInput('a registry that is down', async (t) => {
  const gone = `127.0.0.1:${await freePort()}/team/app@${absent}`
  const answer = await post('/v1/sign', { images: [gone] })
  t.equal(answer.status, 502)
  t.equal(errorCodeOf(answer), 'REGISTRY_UNREACHABLE')
  t.match(await post('/v1/verify', { images: [gone] }), {
    status: 200,
    json: { results: [{ outcome: 'error', reason: 'REGISTRY_UNREACHABLE', exitCode: 3 }] },
  })
  t.match(await site.airseal(['sign', gone]), { code: 3, stderr: /REGISTRY_UNREACHABLE/ })
  t.match(await site.airseal(['verify', gone]), { code: 3, stderr: /REGISTRY_UNREACHABLE/ })
})

await badInput('a registry that sends wrong bytes', async (t) => {
  const digest = image.slice(image.indexOf('@') + 1)
  const wrong = Buffer.from(
    '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}',
  )
  for (const [what, body, headers] of [
    ['another manifest under the digest', wrong, { 'docker-content-digest': digest }],
    [
      'a manifest that names itself',
      wrong,
      { 'docker-content-digest': `sha256:${createHash('sha256').update(wrong).digest('hex')}` },
    ],
    ['no manifest', Buffer.from('<html>'), {}],
    ['nothing', Buffer.alloc(0), {}],
  ] as const) {
    registry.intercept = (request, response) => {
      if (!request.url?.includes('/manifests/sha256:')) return false
      response.writeHead(200, {
        'content-type': 'application/vnd.oci.image.manifest.v1+json',
        'content-length': body.length,
        ...headers,
      })
      response.end(request.method === 'HEAD' ? undefined : body)
      return true
    }
    const answer = await post('/v1/sign', { images: [image] })
    t.equal(answer.status, 502, what)
    t.equal(errorCodeOf(answer), 'DIGEST_MISMATCH')
    t.match(await post('/v1/verify', { images: [image] }), {
      status: 200,
      json: { results: [{ outcome: 'rejected', reason: 'CONTENT_MISMATCH' }] },
    })
    t.match(await site.airseal(['sign', image]), { code: 1, stderr: /DIGEST_MISMATCH/ })
    t.match(await site.airseal(['verify', image]), { code: 12, stderr: /CONTENT_MISMATCH/ })
  }
  // Half an answer, an endless one, and one that leads elsewhere.
  registry.intercept = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
    response.write('{')
    setImmediate(() => response.destroy())
    return true
  }
  t.match(errorCodeOf(await post('/v1/sign', { images: [image] })) ?? '', /^REGISTRY_/)
  registry.intercept = (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const filler = Buffer.alloc(1024 * 1024, ' ')
    const more = (): void => {
      while (!response.destroyed && response.write(filler));
    }
    response.on('drain', more)
    if (request.method === 'HEAD') response.end()
    else more()
    return true
  }
  const endless = await post('/v1/sign', { images: [image] })
  t.ok(
    (endless.status >= 400 && endless.status < 500) || endless.status === 502,
    `${endless.status} ${endless.text}`,
  )
  registry.intercept = (_request, response) => {
    response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data/' })
    response.end()
    return true
  }
  t.match(errorCodeOf(await post('/v1/sign', { images: [image] })) ?? '', /^REGISTRY_/)
  registry.intercept = null
})

await t.test('good requests still work at the end', async (t) => {
  t.equal((await post('/v1/sign', { images: [image, other] })).status, 200)
  t.match(await post('/v1/verify', { images: [image, other] }), {
    json: { results: [{ outcome: 'verified' }, { outcome: 'verified' }] },
  })
  t.equal((await site.stop()).code, 0)
  t.notMatch(site.printed(), /INTERNAL/, 'no case was a defect')
})
