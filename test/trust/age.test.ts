import t from 'tap'
import { ageOf, alarmsOf } from '../../src/trust/index.ts'
import { CREATED, DAY, document, rootWithLog, seal, signerKey, testKey } from './support/fixture.ts'

const [root, signer, log] = [testKey('root'), testKey('signing'), testKey('log')]
const LIMITS = {
  warnAfterDays: 90,
  warnAfterMissed: 3,
  enforceAfterDays: 540,
  enforceAfterMissed: 18,
  graceDays: 90,
  alarmDays: 60,
}
const made = document([root], signer, log)
const stageAt = (days: number, limits = LIMITS, content = made): string =>
  ageOf(content, limits, CREATED + days * DAY).stage

await t.test(
  'trust goes from fresh to warn to enforce by age, by missed updates and by its own expiry',
  (t) => {
    const far = { ...made, expires: CREATED + 4000 * DAY }
    t.equal(stageAt(0), 'fresh')
    t.equal(stageAt(89), 'fresh')
    t.equal(stageAt(90), 'warn')
    t.equal(stageAt(539, LIMITS, far), 'warn')
    t.equal(stageAt(540, LIMITS, far), 'enforce')
    t.equal(stageAt(455), 'warn', 'expired, in its grace')
    t.equal(stageAt(456), 'enforce', 'after its grace')
    const weekly = { ...far, updateDays: 7 }
    t.equal(stageAt(21, LIMITS, weekly), 'warn')
    t.equal(stageAt(126, LIMITS, weekly), 'enforce')
    t.equal(stageAt(20, { ...LIMITS, warnAfterDays: 20 }), 'warn')
    t.end()
  },
)

await t.test('a clock that is years off is named as wrong, whichever way', (t) => {
  t.equal(stageAt(-5 * 365), 'clock')
  t.match(ageOf(made, LIMITS, CREATED - 5 * 365 * DAY).reason, /the clock is wrong/)
  const alarms = (now: number, newest: number) => alarmsOf(seal(made, [root]), LIMITS, now, newest)
  t.same(alarms(CREATED + DAY, CREATED), [])
  t.match(alarms(CREATED + 5 * 365 * DAY, CREATED), [
    { stage: 'clock', message: /the clock is wrong, or/ },
    { stage: 'enforce' },
  ])
  t.match(alarms(CREATED - 5 * 365 * DAY, CREATED), [{ stage: 'clock' }, { stage: 'clock' }])
  t.match(alarms(CREATED - 2 * DAY, CREATED)[0]?.message, /newest log entry is of 2026-11-24/)
  t.end()
})

await t.test('every expiry is told well ahead: bundle, keys, authorities, carried roots', (t) => {
  const soon = CREATED + 30 * DAY
  const foreign = {
    kind: 'sigstore' as const,
    name: 'public',
    fetched: CREATED - 100 * DAY,
    source: 'https',
    trustedRoot: rootWithLog(log.key, 'https://rekor.example'),
  }
  const content = document([root], signer, log, {
    expires: soon,
    keys: [signerKey(signer, { validFor: { start: CREATED, end: soon } })],
    foreign: [foreign],
  })
  const alarms = alarmsOf(seal(content, [root]), LIMITS, CREATED, 0)
  t.same(
    alarms.map(({ about }) => about),
    ['trust version 1', 'public', 'key signing'],
  )
  t.ok(alarms.every(({ stage }) => stage === 'warn'))
  t.end()
})
