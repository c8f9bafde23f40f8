import t from 'tap'
import { checkSigner, createKey, describeKey, openSigner } from '../../keys/index.ts'
import { needs } from '../support/programs.ts'
import { conformance } from './conformance.ts'
import { REGION, startLocalKms, startMoto, useTestCredentials } from './support/aws-servers.ts'
import { startFakeAws, type AwsFault } from './support/fake-aws.ts'

useTestCredentials()

const EVERYWHERE = ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'rsa-2048', 'rsa-3072', 'rsa-4096']
const GUARANTEES = {
  backend: 'aws-kms',
  extractable: false,
  everExtractable: false,
  madeInside: true,
  protection: 'hsm',
} as const
const ABSENT = ['awskms:///alias/nobody', 'KEY_UNKNOWN'] as const

await t.test('the SDK against the fake', async (t) => {
  const fake = await startFakeAws(t)
  const aws = { endpoint: fake.endpoint, region: REGION }
  const keys = new Map<string, string>()
  for (const algorithm of [...EVERYWHERE, 'ed25519']) {
    const arn = fake.makeKey(algorithm)
    keys.set(algorithm, `awskms:///${arn}`)
  }
  await conformance(t, {
    name: 'fake AWS',
    keys,
    absent: ABSENT,
    creatable: ['awskms:///alias/made', 'ecdsa-p256'],
    options: { aws },
    guarantees: GUARANTEES,
    sizes: new Map([['ed25519', [0, 4_096]]]),
  })

  const uri = 'awskms:///alias/faulty'
  fake.aliases.set('alias/faulty', fake.makeKey('ecdsa-p256'))
  const limits = { attempts: 3, firstWait: 1, attempt: 300, deadline: 2_000 }

  const passing: readonly (readonly [string, AwsFault])[] = [
    ['throttling', { status: 400, type: 'ThrottlingException' }],
    ['a full queue', { status: 429, type: 'TooManyRequestsException' }],
    ['an internal error', { status: 500, type: 'KMSInternalException' }],
    ['a closed connection', 'reset'],
    ['silence', 'silent'],
  ]
  for (const [what, fault] of passing) {
    await t.test(`${what} is waited out twice, not for ever`, async (t) => {
      const signer = await openSigner('faulty', uri, { aws, limits })
      const before = fake.signs()
      fake.faults.push(fault, fault)
      t.ok(await signer.sign(Buffer.from('x')))
      t.equal(fake.signs(), before + 3)
      fake.faults.push(fault, fault, fault)
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
      t.equal(fake.signs(), before + 6)
      await signer.close()
    })
  }

  await t.test('a Retry-After beyond the deadline is refused at once', async (t) => {
    const signer = await openSigner('faulty', uri, { aws, limits })
    const before = fake.signs()
    const headers = { 'Retry-After': '60' }
    fake.faults.push({ status: 429, type: 'TooManyRequestsException', headers })
    await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
    t.equal(fake.signs(), before + 1)
    await signer.close()
  })

  const wrong: readonly (readonly [string, AwsFault, string])[] = [
    ['the signature of another key', 'other-key', 'SIGNATURE_FAULT'],
    ['the answer of another key', 'other-key-named', 'KEY_CHANGED'],
    ['a digest that was hashed again', 'double-hash', 'SIGNATURE_FAULT'],
    ['a truncated signature', 'truncated', 'SIGNATURE_FAULT'],
  ]
  for (const [what, fault, code] of wrong) {
    await t.test(`${what} is discarded and not asked for again`, async (t) => {
      const signer = await openSigner('faulty', uri, { aws, limits })
      const before = fake.signs()
      fake.faults.push(fault)
      await t.rejects(signer.sign(Buffer.from('x')), { code })
      t.equal(fake.signs(), before + 1)
      t.ok(await signer.sign(Buffer.from('x')), 'the next one is good')
      await signer.close()
    })
  }

  await t.test(
    'an alias that is moved changes nothing until the key is opened anew, and is reported',
    async (t) => {
      const options = { aws, limits }
      const signer = await openSigner('moving', uri, options)
      const old = signer.description.version
      fake.aliases.set('alias/faulty', fake.makeKey('ecdsa-p256'))
      t.ok(await signer.sign(Buffer.from('x')), 'signed by the pinned key')
      const check = await checkSigner(signer)
      t.ok(check.isGood)
      t.match(check.findings, [/now leads to another key/])
      const expected = signer.publicKey
      await t.rejects(openSigner('moving', uri, { ...options, expected }), { code: 'KEY_CHANGED' })
      fake.aliases.set('alias/faulty', old)
      await signer.close()
    },
  )

  await t.test(
    'a key that is disabled or about to be deleted neither opens nor signs',
    async (t) => {
      const arn = fake.makeKey('ecdsa-p256')
      const signer = await openSigner('disabled', `awskms:///${arn}`, { aws, limits })
      const before = fake.signs()
      fake.setState(arn, 'Disabled')
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
      t.equal(fake.signs(), before + 1, 'asked once')
      await signer.close()
      fake.setState(arn, 'PendingDeletion')
      await t.rejects(describeKey(`awskms:///${arn}`, { aws }), { code: 'KEY_UNAVAILABLE' })
    },
  )

  await t.test('a service that stays away is left alone after a few calls', async (t) => {
    const signer = await openSigner('away', uri, { aws, limits: { ...limits, attempts: 1 } })
    const fault = { status: 503, type: 'ServiceUnavailableException' }
    for (let i = 0; i < 5; i += 1) {
      fake.faults.push(fault)
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
    }
    const before = fake.signs()
    t.equal(signer.health(), 'open')
    await t.rejects(signer.sign(Buffer.from('x')), { message: /was not asked/ })
    t.equal(fake.signs(), before)
    await signer.close()
  })

  await t.test(
    'many signs while the service fails and comes back: each is good or refused',
    async (t) => {
      const patient = { attempt: 60_000, deadline: 60_000, coolDown: 1 }
      const signer = await openSigner('load', uri, { aws, limits: { ...limits, ...patient } })
      const outcomes = new Map<string, number>()
      const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      const wave = () =>
        Promise.all(
          Array.from({ length: 100 }, (_, i) =>
            signer.sign(Buffer.from(`load ${i}`)).then(
              () => count('good'),
              (error: unknown) => count(String((error as { code?: unknown }).code)),
            ),
          ),
        )
      const fault = { status: 503, type: 'ServiceUnavailableException' }
      fake.faults.push(...Array.from({ length: 500 }, () => fault))
      await wave()
      t.same([...outcomes], [['KEY_UNAVAILABLE', 100]], 'nobody waits beyond the limits')
      fake.faults.length = 0
      outcomes.clear()
      while (signer.health() === 'open') await new Promise((resolve) => setImmediate(resolve))
      t.ok(await signer.sign(Buffer.from('the one that tries')))
      await wave()
      t.same([...outcomes], [['good', 100]])
      await signer.close()
    },
  )

  await t.test(
    'a clock that is twenty minutes off is met by the clock of the service',
    async (t) => {
      const signer = await openSigner('skew', uri, { aws, limits })
      const theirs = new Date(Date.now() + 1_200_000)
      const headers = { Date: theirs.toUTCString() }
      fake.faults.push({ status: 400, type: 'InvalidSignatureException', headers })
      const before = fake.signs()
      t.ok(await signer.sign(Buffer.from('x')))
      t.equal(fake.signs(), before + 2)
      const stamp = (at: string): number =>
        Date.parse(at.replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5'))
      const [refused = '', accepted = ''] = fake.dates.slice(-2)
      t.ok(stamp(accepted) - stamp(refused) > 1_000_000, `${refused}, then ${accepted}`)
      await signer.close()
    },
  )

  await t.test(
    'every other answer a failure: all signatures are good, and few calls refused',
    async (t) => {
      const many = { ...limits, attempts: 6, breakAfter: 1_000 }
      const signer = await openSigner('half', uri, { aws, limits: many })
      const fault = { status: 503, type: 'ServiceUnavailableException' }
      for (let i = 0; i < 40; i += 1) {
        if (i % 2 === 0) fake.faults.push(fault)
        t.ok(await signer.sign(Buffer.from(`half ${i}`)))
      }
      await signer.close()
    },
  )

  await t.test('http is for this machine only', async (t) => {
    for (const endpoint of [
      'http://kms.internal',
      'http://127.0.0.1.example',
      'ftp://127.0.0.1',
      'x',
    ]) {
      await t.rejects(describeKey(uri, { aws: { endpoint, region: REGION } }), {
        code: 'CONFIG_INVALID',
      })
    }
  })
})

await t.test('the SDK against local-kms', needs('local-kms', 'unshare', 'ip'), async (t) => {
  const aws = { endpoint: await startLocalKms(t), region: REGION }
  const keys = new Map<string, string>()
  for (const algorithm of EVERYWHERE) {
    const uri = `awskms:///alias/${algorithm}`
    await createKey(uri, algorithm, { aws })
    keys.set(algorithm, uri)
  }
  await conformance(t, {
    name: 'local-kms',
    keys,
    absent: ABSENT,
    creatable: ['awskms:///alias/made', 'ecdsa-p256'],
    options: { aws },
    guarantees: GUARANTEES,
  })
})

await t.test(
  'moto hashes digests again, and no such signature is released',
  needs('moto_server'),
  async (t) => {
    const aws = { endpoint: await startMoto(t), region: REGION }
    for (const algorithm of EVERYWHERE) {
      const uri = `awskms:///alias/${algorithm}`
      const made = await createKey(uri, algorithm, { aws })
      await t.rejects(createKey(uri, algorithm, { aws }), { code: 'KEY_EXISTS' })
      const signer = await openSigner('moto', uri, { aws, expected: made })
      t.match(signer.description, GUARANTEES)
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'SIGNATURE_FAULT' })
      t.match(await checkSigner(signer), { isGood: false })
      await signer.close()
    }
    await t.rejects(describeKey(ABSENT[0], { aws }), { code: ABSENT[1] })
  },
)
