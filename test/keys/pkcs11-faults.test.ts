import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkSigner, createKey, openSigner } from '../../keys/index.ts'
import { sha256 } from '../../src/core/index.ts'
import { needs } from '../support/programs.ts'
import { CKF, CKR, faultyModule } from './support/faulty-module/place.ts'
import { PIN, softhsmPlace } from './support/softhsm.ts'

/** Few attempts, each with the time that a busy machine takes. */
const QUICK = { limits: { attempts: 3, firstWait: 1, attempt: 60_000, deadline: 60_000 } }

await t.test('a token with faults', needs('softhsm2-util', 'cc'), async (t) => {
  const place = softhsmPlace(t)
  place.initialise('first')
  await createKey(place.uri('first', 'key'), 'ecdsa-p256', QUICK)
  const module = faultyModule(place)
  const uri = module.uri(place.uri('first', 'key'))
  t.beforeEach(() => {
    module.set({})
    module.calls()
  })

  await t.test('a PIN that is locked, or has one attempt left, is not even tried', async (t) => {
    for (const [flag, message] of [
      [CKF.USER_PIN_LOCKED, /the PIN is locked/],
      [CKF.USER_PIN_FINAL_TRY, /only one PIN attempt is left/],
    ] as const) {
      module.set({ flags: flag })
      await t.rejects(openSigner('locked', uri, QUICK), { code: 'KEY_PIN', message })
      t.same(module.calls(), { logins: 0, signs: 0 })
    }
  })

  await t.test(
    'a refusal of the PIN is met once, whatever asks, until the PIN is another',
    async (t) => {
      for (const [at, answer] of [CKR.PIN_INCORRECT, CKR.PIN_LOCKED].entries()) {
        // Of its own, since what was refused stays refused in this process.
        const file = join(place.directory, `pin${at}`)
        writeFileSync(file, `${PIN}${at}`, { mode: 0o600 })
        const guarded = module.uri(place.uri('first', 'key', file))
        module.set({ login: answer })
        module.calls()
        await t.rejects(openSigner('refused', guarded, QUICK), { code: 'KEY_PIN' })
        t.equal(module.calls().logins, 1)
        module.set({})
        const attempts = Array.from({ length: 5 }, () => openSigner('refused', guarded, QUICK))
        const outcomes = await Promise.allSettled(attempts)
        t.ok(outcomes.every(({ status }) => status === 'rejected'))
        t.equal(module.calls().logins, 0, 'no retry burns an attempt')
        writeFileSync(file, PIN)
        const signer = await openSigner('refused', guarded, QUICK)
        t.ok(await signer.sign(Buffer.from('x')))
        await signer.close()
      }
    },
  )

  await t.test(
    'a PIN that locks while airseal runs is not tried when the token comes back',
    async (t) => {
      const signer = await openSigner('running', uri, QUICK)
      module.set({ sign: CKR.DEVICE_REMOVED, flags: CKF.USER_PIN_LOCKED })
      module.calls()
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_PIN' })
      t.same(module.calls(), { logins: 0, signs: 1 })
      module.set({})
      t.ok(await signer.sign(Buffer.from('x')), 'somebody unlocked it')
      await signer.close()
    },
  )

  for (const [name, answer] of Object.entries(CKR)) {
    if (name.startsWith('PIN_')) continue
    await t.test(
      `CKR_${name}: everything is opened anew; signing is back with the token`,
      async (t) => {
        const signer = await openSigner('faulty', uri, QUICK)
        module.calls()
        module.set({ sign: answer })
        await t.rejects(signer.sign(Buffer.from('x')), {
          code: 'KEY_UNAVAILABLE',
          message: new RegExp(`CKR_${name}`),
        })
        t.same(
          module.calls(),
          { logins: 2, signs: 3 },
          'three attempts, two of them after a new login',
        )
        await t.rejects(signer.signDigest(sha256('x')), { code: 'KEY_UNAVAILABLE' })
        t.match(await checkSigner(signer), { isGood: false })
        module.set({})
        t.ok(await signer.sign(Buffer.from('x')))
        t.ok(await signer.signDigest(sha256('x')))
        t.match(await checkSigner(signer), { isGood: true })
        await signer.close()
      },
    )
  }

  await t.test(
    'a token that is pulled out under load: every answer is good or a refusal',
    async (t) => {
      const signer = await openSigner('load', uri, { limits: { ...QUICK.limits, coolDown: 1 } })
      const wave = (): Promise<PromiseSettledResult<Uint8Array>[]> =>
        Promise.allSettled(Array.from({ length: 50 }, (_, i) => signer.sign(Buffer.from(`${i}`))))
      const first = wave()
      module.set({ token: CKR.TOKEN_NOT_PRESENT })
      for (const outcome of [...(await first), ...(await wave())]) {
        if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'KEY_UNAVAILABLE' })
      }
      module.set({})
      while (signer.health() === 'open') await new Promise((resolve) => setImmediate(resolve))
      t.ok(await signer.sign(Buffer.from('the one that tries')))
      t.ok((await wave()).every(({ status }) => status === 'fulfilled'))
      await signer.close()
    },
  )

  await t.test(
    'a bit that flips in the token leaves it never, and is not asked for again',
    async (t) => {
      const signer = await openSigner('flip', uri, QUICK)
      module.set({ flip: 1 })
      module.calls()
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'SIGNATURE_FAULT' })
      await t.rejects(signer.signDigest(sha256('x')), { code: 'SIGNATURE_FAULT' })
      t.equal(module.calls().signs, 2)
      module.set({})
      t.ok(await signer.sign(Buffer.from('x')))
      await signer.close()
    },
  )
})
