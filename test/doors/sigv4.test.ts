import { connect } from 'node:net'
import t from 'tap'
import { parseAwsCredentials } from '../../src/doors/index.ts'
import { NOON, SECRET, send, signed, startDoor, type RawRequest } from './support/door.ts'

const MINUTE = 60_000

/** The request with one header changed; null takes it away. */
function changed(request: RawRequest, name: string, change: (value: string) => string | null) {
  const headers = request.headers.flatMap(([header, value]) => {
    if (header !== name) return [[header, value] as const]
    const next = change(value)
    return next === null ? [] : [[header, next] as const]
  })
  return { ...request, headers }
}

await t.test('the door of AWS answers what is signed, and nothing else', async (t) => {
  const door = await startDoor(t)
  const { url } = door
  const good = signed(url)

  await t.test('a signed request is answered', async (t) => {
    const answer = await send(url, good)
    t.match(answer, { status: 200, body: { Aliases: [], Truncated: false } })
    t.match(door.records.at(-1), { route: 'aws:ListAliases', status: 200, caller: /^aws:AKID/ })
  })

  const refused: readonly (readonly [string, RawRequest, string])[] = [
    ['no Authorization', changed(good, 'Authorization', () => null), 'MissingAuthenticationToken'],
    ['another scheme', changed(good, 'Authorization', () => 'Bearer x'), 'IncompleteSignature'],
    [
      'Signature Version 4A',
      changed(good, 'Authorization', (v) => v.replace('HMAC-SHA256', 'ECDSA-P256-SHA256')),
      'IncompleteSignature',
    ],
    [
      'one digit of the signature changed',
      changed(good, 'Authorization', (v) => v.replace(/.$/, (d) => (d === '0' ? '1' : '0'))),
      'InvalidSignature',
    ],
    [
      'a signature that is cut',
      changed(good, 'Authorization', (v) => v.slice(0, -1)),
      'IncompleteSignature',
    ],
    [
      'a signature in capitals',
      changed(good, 'Authorization', (v) =>
        v.replace(/Signature=.*/, (s) => `Signature=${s.slice(10).toUpperCase()}A`),
      ),
      'IncompleteSignature',
    ],
    ['an unknown access key', signed(url, { accessKey: 'AKIDUNKNOWN' }), 'UnrecognizedClient'],
    ['another secret', signed(url, { secret: `${SECRET}x` }), 'InvalidSignature'],
    ['another service', signed(url, { service: 's3' }), 'InvalidSignature'],
    ['another body', { ...good, body: '{"Limit":1}' }, 'InvalidSignature'],
    [
      'another operation',
      changed(good, 'X-Amz-Target', () => 'TrentService.Sign'),
      'InvalidSignature',
    ],
    ['another host', changed(good, 'Host', () => 'kms.elsewhere'), 'InvalidSignature'],
    ['another date', changed(good, 'X-Amz-Date', (v) => v.replace('00Z', '01Z')), 'InvalidSig'],
    ['an unsigned target', signed(url, { without: ['x-amz-target'] }), 'IncompleteSignature'],
    ['an unsigned host', signed(url, { without: ['host'] }), 'IncompleteSignature'],
    ['an unsigned date', signed(url, { without: ['x-amz-date'] }), 'IncompleteSignature'],
    [
      'an unsigned header of AWS',
      { ...good, headers: [...good.headers, ['X-Amz-Extra', '1']] },
      'IncompleteSignature',
    ],
    [
      'a header that comes twice',
      { ...good, headers: [...good.headers, ['X-Amz-Target', 'TrentService.Sign']] },
      'IncompleteSignature',
    ],
    [
      'a second Authorization',
      { ...good, headers: [...good.headers, ['authorization', 'x']] },
      'IncompleteSignature',
    ],
    [
      'a signed header that is missing',
      changed(good, 'Authorization', (v) => v.replace('x-amz-date;', 'x-amz-absent;x-amz-date;')),
      'IncompleteSignature',
    ],
    [
      'signed headers out of order',
      changed(good, 'Authorization', (v) => v.replace('content-type;host', 'host;content-type')),
      'IncompleteSignature',
    ],
    [
      'a hash of another body',
      signed(url, { extra: [['X-Amz-Content-Sha256', 'UNSIGNED-PAYLOAD']] }),
      'InvalidSignature',
    ],
    [
      'a session token',
      signed(url, { extra: [['X-Amz-Security-Token', 'token']] }),
      'UnrecognizedClient',
    ],
    ['the day of another time', signed(url, { day: '20261123' }), 'IncompleteSignature'],
    [
      'a date that is none',
      changed(good, 'X-Amz-Date', () => '20261324T250000Z'),
      'IncompleteSignature',
    ],
    ['six minutes too old', signed(url, { time: NOON - 6 * MINUTE }), 'InvalidSignature'],
    ['six minutes too early', signed(url, { time: NOON + 6 * MINUTE }), 'InvalidSignature'],
    [
      'an Authorization without end',
      changed(good, 'Authorization', (v) => v.replace('host;', 'host;'.repeat(2_000))),
      'IncompleteSignature',
    ],
  ]
  for (const [what, request, type] of refused) {
    await t.test(`${what} is refused`, async (t) => {
      const answer = await send(url, request)
      t.equal(answer.status, 400)
      t.match(answer.type, new RegExp(`^${type}[A-Za-z]*Exception$`))
      t.match(door.records.at(-1), { error: 'UNAUTHENTICATED', route: 'aws' })
      t.notMatch(JSON.stringify(answer.body), SECRET)
    })
  }

  await t.test('five minutes to either side are within the window', async (t) => {
    for (const time of [NOON - 5 * MINUTE, NOON + 5 * MINUTE]) {
      t.equal((await send(url, signed(url, { time }))).status, 200)
      const off = signed(url, { time: time + (time < NOON ? -1_000 : 1_000) })
      const answer = await send(url, off)
      t.match(answer.body['message'], /^Signature (expired|not yet current): 20261124T1[12]/)
    }
  })

  await t.test('signed for a query or another path, it is not answered', async (t) => {
    for (const path of ['/?X-Amz-Signature=x', '/v1/sign', '//']) {
      const answer = await send(url, { ...good, path })
      t.match(answer, { status: 400, type: 'UnknownOperationException' })
    }
    t.match(await send(url, { ...good, method: 'PUT' }), { type: 'UnknownOperationException' })
  })

  await t.test('what is no call of KMS is refused after the signature', async (t) => {
    const cases: readonly (readonly [RawRequest, string])[] = [
      [signed(url, { fields: '{' }), 'SerializationException'],
      [signed(url, { fields: '[]' }), 'SerializationException'],
      [signed(url, { fields: '{"a":1,"a":2}' }), 'SerializationException'],
      [signed(url, { fields: `${'['.repeat(100)}${']'.repeat(100)}` }), 'SerializationException'],
      [signed(url, { operation: 'Decrypt' }), 'UnsupportedOperationException'],
      [signed(url, { operation: '__proto__' }), 'UnknownOperationException'],
      [signed(url, { operation: 'toString' }), 'UnsupportedOperationException'],
      [signed(url, { fields: 'x'.repeat(65_537) }), 'ValidationException'],
    ]
    for (const [request, type] of cases) t.equal((await send(url, request)).type, type)
  })

  await t.test('a body without end is cut off', async (t) => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    const ended = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => undefined)
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n')
    const chunk = Buffer.alloc(16_384, 'x')
    const pump = (): void => {
      if (!socket.destroyed) socket.write(chunk, pump)
    }
    pump()
    await ended
    t.pass('the connection was closed')
  })
})

await t.test('a door for one region refuses the others', async (t) => {
  const { url } = await startDoor(t, { region: 'eu-central-1' })
  t.equal((await send(url, signed(url, { region: 'eu-central-1' }))).status, 200)
  const answer = await send(url, signed(url))
  t.match(answer, { type: 'InvalidSignatureException', body: { message: /region eu-central-1/ } })
})

await t.test('credentials files are read strictly, and never quoted', async (t) => {
  const secret = 'a-secret-of-twenty-characters'
  const bad: readonly (readonly [string, RegExp])[] = [
    ['', /holds no credential/],
    ['# only a comment\n\n', /holds no credential/],
    ['AKID1', /line 1/],
    [`AKID1 ${secret}\nAKID1 ${secret}`, /line 2: AKID1 stands there twice/],
    ['\n\nAKID1 tooshort', /line 3/],
    [`AKID1 ${secret} more`, /line 1/],
    [`AK/ID ${secret}`, /line 1/],
    [`AKID1 ${secret}\u0000`, /line 1/],
    [`AKID1 ${'x'.repeat(129)}`, /line 1/],
  ]
  for (const [text, message] of bad) {
    const bytes = Buffer.from(text)
    t.throws(() => parseAwsCredentials(bytes), { code: 'CONFIG_INVALID', message })
    try {
      parseAwsCredentials(Buffer.from(text))
    } catch (error) {
      t.notMatch((error as Error).message, secret)
    }
    t.ok(
      bytes.every((byte) => byte === 0),
      'the bytes are overwritten',
    )
  }
  const two = parseAwsCredentials(Buffer.from(`A_1 ${secret}\r\n  B_2   ${secret}\t\n`))
  t.same([...two.keys()], ['A_1', 'B_2'])
})
