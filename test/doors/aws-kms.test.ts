import { createHash, createPublicKey, verify } from 'node:crypto'
import {
  DescribeKeyCommand,
  GetPublicKeyCommand,
  KMSClient,
  ListAliasesCommand,
  SignCommand,
  type MessageType,
  type SigningAlgorithmSpec,
} from '@aws-sdk/client-kms'
import t from 'tap'
import { createKey, describeKey, openSigner } from '../../keys/index.ts'
import { AirsealError, sha256, toBase64 } from '../../src/core/index.ts'
import {
  ACCESS_KEY,
  SECRET,
  send,
  signed,
  startDoor,
  testKey,
  type TestDoor,
} from './support/door.ts'

/** The SDK signs by the real clock, and so does the door then. */
function client(t: { teardown(work: () => void): void }, door: TestDoor, region = 'us-east-1') {
  door.now = Date.now()
  const made = new KMSClient({
    endpoint: door.url,
    region,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET },
    maxAttempts: 1,
  })
  t.teardown(() => {
    made.destroy()
  })
  return made
}

await t.test("the SDK of AWS finds and uses the door's keys", async (t) => {
  const door = await startDoor(t)
  const algorithms = ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'rsa-2048', 'ed25519']
  for (const name of algorithms) {
    door.keys.set(name, testKey(name, name))
    door.aliases.set(`alias-of/${name}`, name)
  }
  door.keys.set('hidden', testKey('hidden', 'ecdsa-p256'))
  const kms = client(t, door)

  for (const name of algorithms.slice(0, -1)) {
    await t.test(`${name}: described, read and used by alias, id and ARN`, async (t) => {
      const KeyId = `alias/alias-of/${name}`
      const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId }))
      const { aws, hash } = door.keys.get(name)!.key.publicKey.algorithm
      t.match(KeyMetadata, {
        AWSAccountId: '000000000000',
        KeySpec: aws.keySpec,
        KeyState: 'Enabled',
        Enabled: true,
        KeyUsage: 'SIGN_VERIFY',
        SigningAlgorithms: [aws.signing],
        KeyId: /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
        Arn: `arn:aws:kms:us-east-1:000000000000:key/${KeyMetadata?.KeyId}`,
      })
      const message = Buffer.from('a message')
      const digest = createHash(hash ?? '')
        .update(message)
        .digest()
      const names = [KeyId, `arn:aws:kms:us-east-1:000000000000:${KeyId}`]
      for (const id of [...names, KeyMetadata?.KeyId, KeyMetadata?.Arn]) {
        const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: id }))
        const key = createPublicKey({ key: Buffer.from(PublicKey!), format: 'der', type: 'spki' })
        const inputs: [MessageType | undefined, Buffer][] = [
          ['DIGEST', digest],
          ['RAW', message],
          [undefined, message],
        ]
        for (const [MessageType, Message] of inputs) {
          const signing = aws.signing as SigningAlgorithmSpec
          const input = { KeyId: id, Message, MessageType, SigningAlgorithm: signing }
          const answer = await kms.send(new SignCommand(input))
          t.equal(answer.KeyId, KeyMetadata?.Arn)
          t.equal(answer.SigningAlgorithm, signing)
          t.ok(verify(hash, message, key, answer.Signature!), `${id} ${MessageType}`)
        }
      }
      t.match(door.uses.at(-1), { door: 'aws', caller: `aws:${ACCESS_KEY}` })
    })
  }

  await t.test('all aliases are listed, page by page, and those of one key', async (t) => {
    const all = await kms.send(new ListAliasesCommand({}))
    t.same(
      all.Aliases?.map(({ AliasName }) => AliasName),
      algorithms.map((name) => `alias/alias-of/${name}`).sort(),
    )
    const first = await kms.send(new ListAliasesCommand({ Limit: 3 }))
    t.match(first, { Truncated: true, NextMarker: String })
    const Marker = first.NextMarker
    const rest = await kms.send(new ListAliasesCommand({ Marker }))
    t.same([...first.Aliases!, ...rest.Aliases!], all.Aliases)
    const [one] = all.Aliases ?? []
    const its = await kms.send(new ListAliasesCommand({ KeyId: one?.TargetKeyId }))
    t.same(its.Aliases, [one])
    t.ok(one?.CreationDate instanceof Date)
  })

  const p256 = 'alias/alias-of/ecdsa-p256'
  const ask = (fields: object, operation = 'Sign') =>
    send(door.url, signed(door.url, { operation, fields, time: door.now }))
  const digest = toBase64(sha256('x'))
  const right = {
    KeyId: p256,
    Message: digest,
    MessageType: 'DIGEST',
    SigningAlgorithm: 'ECDSA_SHA_256',
  }
  const refused: readonly (readonly [string, object, string])[] = [
    ['an alias that is not configured', { KeyId: 'alias/hidden' }, 'NotFoundException'],
    ['the name of a key', { KeyId: 'ecdsa-p256' }, 'NotFoundException'],
    ['an alias of another region', { KeyId: `arn:aws:kms:eu-west-1:000000000000:${p256}` }, 'NotF'],
    ['an alias of another account', { KeyId: `arn:aws:kms:us-east-1:111122223333:${p256}` }, 'Not'],
    ['an alias named __proto__', { KeyId: 'alias/__proto__' }, 'NotFoundException'],
    ['an id of no key', { KeyId: '00000000-0000-4000-8000-000000000000' }, 'NotFoundException'],
    ['no key', { KeyId: undefined }, 'ValidationException'],
    ['a number as key', { KeyId: 7 }, 'ValidationException'],
    ['another algorithm', { SigningAlgorithm: 'ECDSA_SHA_384' }, 'InvalidKeyUsageException'],
    ['RSA', { SigningAlgorithm: 'RSASSA_PSS_SHA_256' }, 'InvalidKeyUsageException'],
    ['no algorithm', { SigningAlgorithm: undefined }, 'ValidationException'],
    ['no message', { Message: undefined }, 'ValidationException'],
    ['a digest of another size', { Message: 'AAAA' }, 'ValidationException'],
    ['a message that is no base64', { Message: '!' }, 'ValidationException'],
    ['another message type', { MessageType: 'EXTERNAL_MU' }, 'ValidationException'],
    [
      'a raw message of 4,097 bytes',
      { MessageType: 'RAW', Message: Buffer.alloc(4_097).toString('base64') },
      'ValidationException',
    ],
    ['a dry run', { DryRun: true }, 'DryRunOperationException'],
    ['grants', { GrantTokens: ['x'] }, 'InvalidGrantTokenException'],
    [
      'an Ed25519 key',
      { KeyId: 'alias/alias-of/ed25519', SigningAlgorithm: 'ED25519_SHA_512', MessageType: 'RAW' },
      'InvalidKeyUsageException',
    ],
  ]
  for (const [what, change, type] of refused) {
    await t.test(`Sign with ${what} is refused, and no key is used`, async (t) => {
      const before = door.uses.length
      const answer = await ask({ ...right, ...change })
      t.equal(answer.status, 400)
      t.match(answer.type, new RegExp(`^${type}`))
      t.equal(door.uses.length, before)
    })
  }

  await t.test('a refusal of the key keeps its code, and trouble is told as trouble', async (t) => {
    const cases: readonly (readonly [AirsealError, number, string])[] = [
      [new AirsealError('FORBIDDEN', 'not for digests'), 400, 'AccessDeniedException'],
      [new AirsealError('OVERLOADED', 'busy'), 400, 'ThrottlingException'],
      [new AirsealError('KEY_UNAVAILABLE', 'away'), 500, 'KeyUnavailableException'],
      [new AirsealError('KEY_CHANGED', 'swapped'), 400, 'KMSInvalidStateException'],
      [new AirsealError('SIGNATURE_FAULT', 'wrong'), 500, 'KMSInternalException'],
      [new AirsealError('STORAGE', 'secret detail'), 500, 'KMSInternalException'],
      [new AirsealError('INTERNAL', 'secret detail'), 500, 'KMSInternalException'],
    ]
    for (const [refusal, status, type] of cases) {
      door.refusals.push(refusal)
      door.now += 1_000
      const time = door.now
      const fields = { ...right }
      const answer = await send(door.url, signed(door.url, { operation: 'Sign', fields, time }))
      t.match(answer, { status, type })
      t.match(answer.body['message'], refusal.code)
      t.notMatch(answer.body['message'], 'secret detail')
    }
  })

  await t.test(
    'a request that comes again is answered as before, with one signature',
    async (t) => {
      door.now += 1_000
      const request = signed(door.url, { operation: 'Sign', fields: right, time: door.now })
      const before = door.uses.length
      const all = await Promise.all([1, 2, 3].map(() => send(door.url, request)))
      door.now += 60_000
      all.push(await send(door.url, request))
      t.equal(all.length, 4)
      for (const answer of all) t.same(answer, all[0])
      t.equal(door.uses.length, before + 1)
      door.now += 300_000
      t.match(await send(door.url, request), { type: 'InvalidSignatureException' })
    },
  )

  await t.test('a request that failed may succeed when it comes again', async (t) => {
    door.refusals.push(new AirsealError('KEY_UNAVAILABLE', 'away'))
    const request = signed(door.url, { operation: 'Sign', fields: right, time: door.now })
    t.equal((await send(door.url, request)).status, 500)
    t.equal((await send(door.url, request)).status, 200)
  })

  await t.test('a key that signs no more is disabled; its public key is still given', async (t) => {
    for (const [state, publicKey] of [
      ['verify-only', 200],
      ['retired', 400],
      ['compromised', 400],
    ] as const) {
      door.keys.set('old', testKey('old', 'ecdsa-p256', { state }))
      door.aliases.set('old', 'old')
      const time = door.now
      const old = (operation: string) =>
        send(
          door.url,
          signed(door.url, { operation, fields: { ...right, KeyId: 'alias/old' }, time }),
        )
      t.match(await old('Sign'), { type: 'DisabledException' })
      t.match(await old('DescribeKey'), { body: { KeyMetadata: { KeyState: 'Disabled' } } })
      t.equal((await old('GetPublicKey')).status, publicKey)
    }
  })

  await t.test(
    'an alias that is moved leads to the other key, and the old ARN nowhere',
    async (t) => {
      door.keys.set('other', testKey('other', 'ecdsa-p256'))
      door.aliases.set('moving', 'old')
      const time = door.now
      const describe = (KeyId: string) =>
        send(door.url, signed(door.url, { operation: 'DescribeKey', fields: { KeyId }, time }))
      const metadata = ({ body }: { body: Readonly<Record<string, unknown>> }) =>
        body['KeyMetadata'] as Readonly<Record<string, string>>
      const before = metadata(await describe('alias/moving'))
      door.aliases.delete('old')
      door.aliases.set('moving', 'other')
      const after = metadata(await describe('alias/moving'))
      t.not(after['KeyId'], before['KeyId'])
      t.match(await describe(before['Arn'] ?? ''), { type: 'NotFoundException' })
    },
  )
})

await t.test('each access key has its signatures a minute', async (t) => {
  const door = await startDoor(t, { perMinute: 2 })
  door.keys.set('k', testKey('k', 'ecdsa-p256'))
  door.aliases.set('k', 'k')
  const sign = (n: number) => {
    const Message = toBase64(sha256(`message ${n}`))
    const fields = {
      KeyId: 'alias/k',
      Message,
      MessageType: 'DIGEST',
      SigningAlgorithm: 'ECDSA_SHA_256',
    }
    return send(door.url, signed(door.url, { operation: 'Sign', fields, time: door.now }))
  }
  t.same([(await sign(1)).status, (await sign(2)).status], [200, 200])
  t.match(await sign(3), { status: 400, type: 'ThrottlingException' })
  door.now += 30_000
  t.same([(await sign(4)).status, (await sign(5)).status], [200, 400])
})

await t.test("airseal's own provider uses the door of another airseal", async (t) => {
  const door = await startDoor(t)
  // The provider signs requests by the real clock.
  door.now = Date.now()
  process.env['AWS_ACCESS_KEY_ID'] = ACCESS_KEY
  process.env['AWS_SECRET_ACCESS_KEY'] = SECRET
  const aws = { endpoint: door.url, region: 'eu-north-1' }
  door.keys.set('k', testKey('k', 'ecdsa-p384'))
  door.aliases.set('far', 'k')
  const uri = 'awskms:///alias/far'
  t.match(await describeKey(uri, { aws }), {
    version: /^arn:aws:kms:eu-north-1:000000000000:key\//,
    extractable: null,
    protection: 'external',
  })
  const signer = await openSigner('far', uri, { aws })
  t.ok(await signer.sign(Buffer.from('message')))
  await signer.close()
  await t.rejects(createKey('awskms:///alias/new', 'ecdsa-p256', { aws }), {
    message: /UnsupportedOperation/,
  })
})
