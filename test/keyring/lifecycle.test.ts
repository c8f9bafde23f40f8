import t from 'tap'
import {
  compromised,
  replaced,
  retired,
  validRanges,
  type KeyRecord,
} from '../../src/keyring/index.ts'
import { testSigner } from '../support/signer.ts'

const OWN = '0'.repeat(64)
const OTHER = '1'.repeat(64)
const first: KeyRecord = {
  name: 'signing',
  uri: 'file:keys/cosign.key',
  publicKey: testSigner().publicKey,
  state: 'active',
  validFrom: { time: 1, index: 0 },
  validTo: null,
  compromisedFrom: null,
  reason: null,
  successor: null,
  policy: null,
}
const at = (index: number): { time: number; index: number } => ({ time: 1_000 + index, index })

await t.test('the first key counts everywhere until it is replaced', async (t) => {
  t.equal(validRanges(first, OWN, [OTHER]), null)
  const old = replaced(first, at(10), 'signing-2', 'yearly')
  t.match(old, { state: 'verify-only', validTo: at(10), successor: 'signing-2', reason: 'yearly' })
  t.same(validRanges(old, OWN, [OWN, OTHER]), [
    { logId: OWN, first: 0, last: 9 },
    { logId: OTHER, first: null, last: null },
  ])
  t.throws(() => replaced(old, at(11), null, null), { code: 'KEY_STATE' })
})

await t.test('a later key counts from where it began', async (t) => {
  const next = { ...first, validFrom: at(10) }
  t.same(validRanges(next, OWN), [{ logId: OWN, first: 10, last: null }])
  t.same(
    validRanges(replaced(next, at(10), null, null), OWN),
    [],
    'one that never signed counts nowhere',
  )
})

await t.test('a compromised key counts before that, in the own log only', async (t) => {
  const stolen = compromised(first, at(5), at(20), 'stolen')
  t.same(validRanges(stolen, OWN, [OTHER]), [{ logId: OWN, first: 0, last: 4 }])
  t.same(validRanges(compromised(first, at(0), at(20), null), OWN), [])
  const old = replaced(first, at(10), null, null)
  t.same(validRanges(compromised(old, at(15), at(20), null), OWN), [
    { logId: OWN, first: 0, last: 9 },
  ])
})

await t.test('a compromise moves back, never forward', async (t) => {
  const stolen = compromised(first, at(5), at(20), 'stolen')
  t.throws(() => compromised(stolen, at(6), at(21), null), { code: 'KEY_STATE' })
  const earlier = compromised(stolen, at(3), at(21), null)
  t.match(earlier, { compromisedFrom: at(3), reason: 'stolen' })
  t.throws(() => retired(stolen, at(22), null), { code: 'KEY_STATE' })
})

await t.test(
  'a retired key counts nowhere, and being compromised brings nothing back',
  async (t) => {
    const done = retired(replaced(first, at(10), null, null), at(30), null)
    t.same(validRanges(done, OWN, [OTHER]), [])
    t.match(done, { validTo: at(10) })
    t.same(validRanges(compromised(done, at(40), at(41), null), OWN, [OTHER]), [])
  },
)
