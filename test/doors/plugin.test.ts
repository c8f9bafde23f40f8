import { createHash, verify } from 'node:crypto'
import t from 'tap'
import { answerPlugin, type PluginSite } from '../../src/doors/index.ts'
import { AirsealError, fromBase64, toBase64, type Json } from '../../src/core/index.ts'
import { signDigest } from '../keys/support/sign-digest.ts'
import { testKey, type TestKey } from './support/door.ts'

const MESSAGE = Buffer.from('what cosign signs')

interface Options {
  readonly key?: string
  readonly hash?: number
  readonly version?: string
  readonly deadline?: string
  readonly keyVersion?: string
}

/** As sigstore v1.10 writes it: empty members are there, as `null` or empty texts. */
function call(method: string, args: object, options: Options = {}): string[] {
  const { key = 'k', hash = 5, version = 'v1', deadline, keyVersion = '' } = options
  const rpcOptions = { keyVersion, remoteVerification: false }
  const ctxDeadline = deadline === undefined ? {} : { ctxDeadline: deadline }
  const initOptions = {
    ...ctxDeadline,
    protocolVersion: version,
    keyResourceID: key,
    hashFunc: hash,
    rpcOptions,
  }
  return [version, JSON.stringify({ initOptions, methodName: method, [method]: args })]
}

const RPC = { rpcOptions: { keyVersion: '', remoteVerification: false } }
const withMessage = (digest: string | null = null, hashFunc?: number) => ({
  ...RPC,
  messageOptions: { digest, ...(hashFunc === undefined ? {} : { hashFunc }) },
})
const sign = (...message: Parameters<typeof withMessage>) => ({
  signOptions: withMessage(...message),
})

/** The appliance, answered by the test. */
function siteOf({ key, privateKey }: TestKey, answer?: (operation: string) => Json): PluginSite {
  return {
    async call(operation, body) {
      const other = answer?.(operation)
      if (other !== undefined) return other
      const { publicKey, hash } = key
      if (operation === 'door/key') return { publicKeyPem: publicKey.pem, hash }
      const { digest } = body as { digest: string }
      const bytes = fromBase64(digest, 'digest', 'REQUEST_INVALID')
      return { signature: toBase64(signDigest(publicKey.algorithm, privateKey, bytes)) }
    },
    message: (async function* () {
      yield MESSAGE.subarray(0, 5)
      yield MESSAGE.subarray(5)
    })(),
  }
}

const key = testKey('k', 'ecdsa-p256')
const digest = createHash('sha256').update(MESSAGE).digest()

await t.test('a message, or its digest, is signed with the key that is named', async (t) => {
  for (const args of [
    sign(),
    sign(null, 5),
    sign(digest.toString('base64')),
    sign(digest.toString('base64'), 5),
    sign(''),
  ]) {
    for (const name of ['k', 'airseal://k']) {
      const answer = await answerPlugin(call('signMessage', args, { key: name }), () => siteOf(key))
      const { signature } = answer['signMessage'] as { signature: string }
      const bytes = Buffer.from(signature, 'base64')
      t.ok(verify('sha256', MESSAGE, key.key.publicKey.handle, bytes), JSON.stringify(args))
    }
  }
})

await t.test('the public key comes as base64 of PEM', async (t) => {
  const answer = await answerPlugin(call('publicKey', { publicKeyOptions: RPC }), () => siteOf(key))
  const { publicKeyPEM } = answer['publicKey'] as { publicKeyPEM: string }
  t.equal(Buffer.from(publicKeyPEM, 'base64').toString(), key.key.publicKey.pem)
})

await t.test('signatures are verified here, over what the client gives', async (t) => {
  const signature = signDigest(key.key.publicKey.algorithm, key.privateKey, digest)
  const asked = (bytes: Buffer) =>
    call('verifySignature', { signature: bytes.toString('base64'), verifyOptions: withMessage() })
  t.same(await answerPlugin(asked(signature), () => siteOf(key)), { verifySignature: {} })
  for (const bad of [Buffer.alloc(0), signature.subarray(1), Buffer.alloc(70, 1)]) {
    const answer = await answerPlugin(asked(bad), () => siteOf(key))
    t.match(answer, { errorMessage: /does not verify/ })
  }
  t.match(await answerPlugin(asked(signature), () => siteOf(testKey('k', 'ecdsa-p256'))), {
    errorMessage: /does not verify/,
  })
})

await t.test('what needs no service asks none', async (t) => {
  const none = () => {
    throw new Error('asked')
  }
  const site = () => ({ call: none, message: siteOf(key).message })
  const answer = (method: string) => answerPlugin(call(method, {}), site)
  t.same(await answer('defaultAlgorithm'), { defaultAlgorithm: { defaultAlgorithm: 'ecdsa-p256' } })
  t.match(await answer('supportedAlgorithms'), { supportedAlgorithms: { supportedAlgorithms: [] } })
  t.match(await answer('createKey'), { errorMessage: /airseal key create.*FORBIDDEN/ })
})

await t.test('every other call is an error that the client can read', async (t) => {
  const large = testKey('large', 'ecdsa-p384')
  const short = Buffer.alloc(20).toString('base64')
  const cases: readonly (readonly [string, string[], RegExp])[] = [
    ['no arguments', [], /speaks protocol v1/],
    ['another protocol', call('publicKey', { publicKeyOptions: RPC }, { version: 'v2' }), /v1/],
    ['no JSON', ['v1', '{'], /JSON_INVALID/],
    ['a list', ['v1', '[]'], /not an object/],
    ['no options', ['v1', '{"methodName":"publicKey"}'], /initOptions/],
    ['no method', call('decrypt', {}), /no such method/],
    ['a method of Object', call('toString', {}), /no such method/],
    [
      'no arguments of the method',
      ['v1', '{"initOptions":{"protocolVersion":"v1"},"methodName":"publicKey"}'],
      /publicKey is missing/,
    ],
    ['a path as key', call('signMessage', sign(), { key: '../k' }), /KEY_REFERENCE/],
    ['no key', call('signMessage', sign(), { key: '' }), /KEY_REFERENCE/],
    ['a version', call('signMessage', sign(), { keyVersion: '3' }), /no versions/],
    ['SHA-1', call('signMessage', sign(null, 3)), /hashFunc/],
    ['a hash as text', call('signMessage', sign(null, 'x' as never)), /hashFunc/],
    ['another hash', call('signMessage', sign(null, 6)), /signs with sha256, and sha384 is wanted/],
    ['a digest that is too short', call('signMessage', sign(short)), /not as long as sha256/],
    ['a digest that is no base64', call('signMessage', sign('!')), /REQUEST_INVALID/],
    ['too much', ['v1', `{"a":"${'x'.repeat(200_000)}"}`], /too long/],
  ]
  for (const [what, args, message] of cases) {
    const answer = await answerPlugin(args, () => siteOf(key))
    t.match(answer, { errorMessage: message }, what)
    t.same(Object.keys(answer), ['errorMessage'], what)
  }
  const asked = call('signMessage', sign())
  t.match(await answerPlugin(asked, () => siteOf(large)), { errorMessage: /KEY_UNSUPPORTED/ })
  const odd = [{}, [], 'x', null, { publicKeyPem: 'no PEM' }, { signature: 'AAAA' }]
  for (const answer of odd) {
    const site = () => siteOf(key, (name) => (name === 'door/sign' ? answer : (undefined as never)))
    t.match(await answerPlugin(asked, site), { errorMessage: /airseal: / }, JSON.stringify(answer))
    const other = () => siteOf(key, () => answer)
    t.match(await answerPlugin(asked, other), { errorMessage: /airseal: / })
  }
  const refusing = () =>
    siteOf(key, () => {
      throw new AirsealError('FORBIDDEN', 'closed')
    })
  t.match(await answerPlugin(asked, refusing), { errorMessage: /closed \[FORBIDDEN\]/ })
  const wrong = signDigest(key.key.publicKey.algorithm, key.privateKey, Buffer.alloc(32))
  const swapped = () =>
    siteOf(key, (name) =>
      name === 'door/sign' ? { signature: toBase64(wrong) } : (undefined as never),
    )
  t.match(await answerPlugin(asked, swapped), { errorMessage: /SIGNATURE_FAULT/ })
})

await t.test('the deadline of the client is told to whoever calls the service', async (t) => {
  const deadlines: (number | null)[] = []
  for (const deadline of ['2026-11-24T12:00:00.123456789Z', undefined, 'never']) {
    const options = deadline === undefined ? {} : { deadline }
    await answerPlugin(call('publicKey', { publicKeyOptions: RPC }, options), (at) => {
      deadlines.push(at)
      return siteOf(key)
    })
  }
  t.same(deadlines, [Date.UTC(2026, 10, 24, 12, 0, 0, 123), null, null])
})
