import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { checkSigner, createKey, describeKey, openSigner } from '../../keys/index.ts'
import { needs } from '../support/programs.ts'
import { conformance } from './conformance.ts'
import { PIN, softhsmPlace } from './support/softhsm.ts'

/** Time must not decide: a busy machine takes its time. */
const PATIENT = { limits: { attempt: 120_000, deadline: 240_000 } }

const ALGORITHMS = [
  'ecdsa-p256',
  'ecdsa-p384',
  'ecdsa-p521',
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ed25519',
]
const QUICK = { limits: { attempts: 2, firstWait: 1 } }

await t.test('SoftHSM2', needs('softhsm2-util'), async (t) => {
  const place = softhsmPlace(t)
  place.initialise('first')
  const keys = new Map<string, string>()
  for (const algorithm of ALGORITHMS) {
    const uri = place.uri('first', algorithm)
    await createKey(uri, algorithm, PATIENT)
    keys.set(algorithm, uri)
  }

  await conformance(t, {
    name: 'pkcs11',
    keys,
    absent: [place.uri('first', 'nobody'), 'KEY_UNKNOWN'],
    creatable: [place.uri('first', 'made'), 'ecdsa-p384'],
    options: {},
    sizes: new Map([['ed25519', [1, Infinity]]]),
    guarantees: { backend: 'pkcs11', extractable: false, everExtractable: false, madeInside: true },
  })

  const p256 = place.uri('first', 'ecdsa-p256')

  await t.test(
    'a token that is removed makes signing fail, and work again when it is back',
    async (t) => {
      const signer = await openSigner('removed', p256, QUICK)
      await signer.sign(Buffer.from('before'))
      const away = join(place.directory, 'away')
      renameSync(place.tokens, away)
      // The module goes on with what it has read until it notices; what it signs is verified all the same.
      const withoutToken = await signer.resolve().then(
        () => 'there',
        (error: unknown) => error as Error,
      )
      t.match(withoutToken, { code: 'KEY_UNAVAILABLE' })
      await t.rejects(signer.sign(Buffer.from('while away')), { code: 'KEY_UNAVAILABLE' })
      renameSync(away, place.tokens)
      t.ok(await signer.sign(Buffer.from('after')))
      await signer.close()
    },
  )

  await t.test(
    'another key under the old name is noticed when the token comes back, and never signs',
    async (t) => {
      const signer = await openSigner('swapped', p256, QUICK)
      const away = join(place.directory, 'original')
      renameSync(place.tokens, away)
      await t.rejects(signer.resolve(), { code: 'KEY_UNAVAILABLE' })
      mkdirSync(place.tokens)
      place.initialise('first')
      await t.rejects(signer.sign(Buffer.from('no key at all')), { code: 'KEY_UNKNOWN' })
      await createKey(p256, 'ecdsa-p256', PATIENT)
      await t.rejects(signer.sign(Buffer.from('other key')), { code: 'KEY_CHANGED' })
      t.notOk((await checkSigner(signer)).isGood)
      await signer.close()
      rmSync(place.tokens, { recursive: true })
      renameSync(away, place.tokens)
    },
  )

  await t.test(
    'other tokens before and after change nothing, whatever the slots are called then',
    async (t) => {
      const before = await describeKey(p256)
      place.initialise('second')
      await createKey(place.uri('second', 'ecdsa-p256'), 'ecdsa-p256', PATIENT)
      // SoftHSM numbers slots in the order of its directories.
      const [directory = ''] = readdirSync(place.tokens)
      renameSync(join(place.tokens, directory), join(place.tokens, 'zzz'))
      t.equal((await describeKey(p256)).publicKey.id, before.publicKey.id)
      const second = await describeKey(place.uri('second', 'ecdsa-p256'))
      t.not(second.publicKey.id, before.publicKey.id)
    },
  )

  await t.test('two tokens of one label are told apart by serial, or refused', async (t) => {
    place.initialise('twin')
    const uri = place.uri('twin', 'only')
    const made = await createKey(uri, 'ecdsa-p256', PATIENT)
    const serial = /serial ([0-9a-f]+)/.exec((await describeKey(uri)).version)?.[1] ?? ''
    place.initialise('twin')
    await t.rejects(describeKey(uri), { code: 'KEY_REFERENCE' })
    const exact = uri.replace('pkcs11:', `pkcs11:serial=${serial};`)
    t.equal((await describeKey(exact)).publicKey.id, made.id)
  })

  await t.test('two keys of one label are told apart by id, or refused', async (t) => {
    const first = place.uri('second', 'pair')
    const other = first.replace(/;id=[^?]*/, ';id=%07')
    const [one, two] = [
      await createKey(first, 'ecdsa-p256', PATIENT),
      await createKey(other, 'ecdsa-p256', PATIENT),
    ]
    t.not(one.id, two.id)
    t.equal((await describeKey(other)).publicKey.id, two.id)
    await t.rejects(describeKey(first.replace(/;id=[^?]*/, '')), { code: 'KEY_REFERENCE' })
  })

  await t.test(
    'a wrong PIN is tried once; the right one works when the file is corrected',
    async (t) => {
      place.initialise('guarded')
      const file = join(place.directory, 'changing-pin')
      writeFileSync(file, PIN, { mode: 0o600 })
      const uri = place.uri('guarded', 'key', file)
      await createKey(uri, 'ecdsa-p256', PATIENT)
      writeFileSync(file, '4711-wrong-pin')
      const wrong = await openSigner('pin', uri).catch((error: unknown) => error)
      t.match(wrong, { code: 'KEY_PIN', message: /refused the PIN/ })
      t.notMatch(inspect(wrong, { depth: 9 }), /4711/)
      await t.rejects(openSigner('pin', uri), { code: 'KEY_PIN', message: /not tried again/ })
      writeFileSync(file, `${PIN}\r\n`)
      const signer = await openSigner('pin', uri)
      t.ok(await signer.sign(Buffer.from('x')))
      await signer.close()
    },
  )

  await t.test(
    'a PIN that changes while airseal runs is tried once after the token was away',
    async (t) => {
      const file = join(place.directory, 'running-pin')
      writeFileSync(file, PIN, { mode: 0o600 })
      const signer = await openSigner('running', place.uri('guarded', 'key', file), QUICK)
      const away = join(place.directory, 'away-again')
      renameSync(place.tokens, away)
      await t.rejects(signer.resolve(), { code: 'KEY_UNAVAILABLE' })
      renameSync(away, place.tokens)
      writeFileSync(file, 'another-wrong-pin')
      await t.rejects(signer.sign(Buffer.from('x')), {
        code: 'KEY_PIN',
        message: /refused the PIN/,
      })
      await t.rejects(signer.sign(Buffer.from('x')), {
        code: 'KEY_PIN',
        message: /not tried again/,
      })
      writeFileSync(file, PIN)
      t.ok(await signer.sign(Buffer.from('x')))
      await signer.close()
    },
  )

  await t.test(
    'the PIN comes from a descriptor, not from a file that others can read, nor from an empty one',
    async (t) => {
      const fd = openSync(place.pinFile, 'r')
      const uri = p256.replace(/pin-source=.*/, `pin-source=fd:${fd}`)
      t.ok((await describeKey(uri)).publicKey)
      t.ok((await describeKey(uri)).publicKey, 'again: it is kept')
      closeSync(fd)
      const open = join(place.directory, 'open-pin')
      writeFileSync(open, PIN, { mode: 0o644 })
      await t.rejects(describeKey(place.uri('first', 'ecdsa-p256', open)), {
        code: 'DATA_PERMISSIONS',
      })
      writeFileSync(open, '\n')
      chmodSync(open, 0o600)
      await t.rejects(describeKey(place.uri('first', 'ecdsa-p256', open)), { code: 'KEY_PIN' })
      await t.rejects(describeKey(p256.replace(/&pin-source=.*/, '')), { code: 'KEY_PIN' })
    },
  )

  await t.test(
    'a module that is not there, or is no module, is a fault and not a crash',
    async (t) => {
      const absent = p256.replace('libsofthsm2.so', 'absent.so')
      await t.rejects(openSigner('x', absent, QUICK), { code: 'KEY_UNAVAILABLE' })
      const text = p256.replace(/module-path=[^&]*/, `module-path=${place.pinFile}`)
      await t.rejects(openSigner('x', text, QUICK), { code: 'KEY_UNAVAILABLE' })
    },
  )
})
