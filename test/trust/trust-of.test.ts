import t from 'tap'
import { trustOf, type TrustDocument } from '../../src/trust/index.ts'
import { CREATED, document, rootWithLog, seal, signerKey, testKey } from './support/fixture.ts'

const [root, log, farLog] = [testKey('root'), testKey('log'), testKey('far-log')]
const [one, two, far] = [testKey('one'), testKey('two'), testKey('far')]
const [logId, farLogId] = [log.key.id, farLog.key.id]

function trustWith(changes: Partial<TrustDocument>) {
  return trustOf(seal(document([root], one, log, changes), [root]))
}

await t.test(
  'active, verify-only and retired keys count in their ranges, compromised ones only there',
  (t) => {
    const range = { logId, first: 2, last: 9 }
    const { keys } = trustWith({
      keys: [
        signerKey(one),
        signerKey(two, { state: 'verify-only', validIn: [range] }),
        signerKey(far, { state: 'compromised', reason: 'lost' }),
      ],
    })
    t.same(
      keys.map(({ name, validIn }) => [name, validIn]),
      [
        ['one', null],
        ['two', [range]],
      ],
    )
    t.end()
  },
)

await t.test('a revocation from an index on narrows, and never widens', (t) => {
  const revoke = (index: number | null) => ({
    revocations: {
      keys: [
        { keyId: one.key.id, from: index === null ? null : { logId, index }, reason: 'stolen' },
      ],
      images: [],
      entries: [],
    },
  })
  t.same(trustWith(revoke(5)).keys[0]?.validIn, [{ logId, first: null, last: 4 }])
  t.same(trustWith(revoke(0)).keys, [], 'from the first entry on: nowhere')
  t.same(trustWith(revoke(null)).keys, [])
  const bounded = {
    keys: [
      signerKey(one, {
        validIn: [
          { logId, first: 1, last: 3 },
          { logId: farLogId, first: null, last: null },
        ],
      }),
    ],
  }
  t.same(trustWith({ ...bounded, ...revoke(100) }).keys[0]?.validIn, [{ logId, first: 1, last: 3 }])
  t.same(trustWith({ ...bounded, ...revoke(1) }).keys, [])
  t.end()
})

await t.test(
  "keys of a carried enclave count in that enclave's log only, and can be revoked here",
  (t) => {
    const inner = seal(
      document([root], far, farLog, {
        enclave: 'far.test',
        trustedRoot: rootWithLog(farLog.key, 'http://far.test'),
        revocations: {
          keys: [],
          images: [{ digest: `sha256:${'ab'.repeat(32)}`, repository: null, reason: 'bad' }],
          entries: [],
        },
      }),
      [root],
    )
    const foreign: TrustDocument['foreign'] = [
      { kind: 'enclave', name: 'far.test', fetched: CREATED, source: 'medium', bundle: inner },
    ]
    const trust = trustWith({ foreign })
    t.same(
      trust.keys.map(({ name, validIn }) => [name, validIn]),
      [
        ['one', null],
        ['far.test/far', [{ logId: farLogId, first: null, last: null }]],
      ],
    )
    t.same(
      trust.believed.logs.map(({ host }) => host),
      ['airseal.test', 'far.test'],
    )
    t.equal(trust.revoked.digests.get(`sha256:${'ab'.repeat(32)}`), 'bad')
    const revocations = {
      keys: [{ keyId: far.key.id, from: null, reason: 'stolen' }],
      images: [],
      entries: [],
    }
    t.same(
      trustWith({ foreign, revocations }).keys.map(({ name }) => name),
      ['one'],
    )
    t.end()
  },
)

await t.test('carried roots count only for who names them', (t) => {
  const trust = trustWith({
    foreign: [
      { kind: 'key', name: 'vendor', fetched: CREATED, source: 'mail', key: two.key },
      {
        kind: 'sigstore',
        name: 'public',
        fetched: CREATED,
        source: 'https',
        trustedRoot: rootWithLog(farLog.key, 'https://rekor.example'),
      },
    ],
  })
  t.same(
    trust.keys.map(({ name }) => name),
    ['one'],
  )
  t.same(
    trust.believed.logs.map(({ host }) => host),
    ['airseal.test'],
  )
  t.equal(trust.foreign.get('vendor')?.keys[0]?.key.id, two.key.id)
  t.equal(trust.foreign.get('public')?.believed.logs[0]?.host, 'rekor.example')
  t.end()
})
