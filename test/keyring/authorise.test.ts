import t from 'tap'
import { AirsealError } from '../../src/core/index.ts'
import { authoriseUse, checkCaps, parseKeyPolicy, policyJson } from '../../src/keyring/index.ts'
import type { KeyRecord, KeyUse } from '../../src/keyring/index.ts'
import { testSigner } from '../support/signer.ts'

const { publicKey } = testSigner()
/** A Tuesday, 12:30 UTC. */
const NOW = Date.UTC(2026, 10, 24, 12, 30)

function key(policy: object | null, change: Partial<KeyRecord> = {}): KeyRecord {
  return {
    name: 'release',
    uri: 'file:keys/release.key',
    publicKey,
    state: 'active',
    validFrom: { time: 0, index: 0 },
    validTo: null,
    compromisedFrom: null,
    reason: null,
    successor: null,
    policy: policy && parseKeyPolicy(policy as never),
    ...change,
  }
}

function use(change: Partial<KeyUse> = {}): KeyUse {
  return {
    kind: 'sign',
    caller: 'token:ci',
    repositories: ['registry.example:5000/team/app'],
    annotations: { env: 'prod' },
    predicateType: null,
    digest: `sha256:${'0'.repeat(64)}`,
    exists: true,
    ...change,
  }
}

function caught(work: () => void): unknown {
  try {
    work()
    return null
  } catch (error) {
    return error
  }
}

function ruleOf(record: KeyRecord, asked: KeyUse, now = NOW): unknown {
  try {
    authoriseUse(record, asked, now)
    return null
  } catch (error) {
    if (!(error instanceof AirsealError) || error.code !== 'KEY_POLICY') throw error
    return (error.details as { rule: string }).rule
  }
}

await t.test('each rule of a policy refuses by its name, and lets through what fits', async (t) => {
  const cases: readonly (readonly [object | null, Partial<KeyUse>, string | null, number?])[] = [
    [null, {}, null],
    [null, { kind: 'digest' }, 'payloads'],
    [null, { kind: 'document', repositories: null }, null],
    [{ payloads: ['attest'] }, {}, 'payloads'],
    [{ payloads: ['digest'] }, { kind: 'digest', repositories: null, annotations: null }, null],
    [{ repositories: ['registry.example:5000/team/*'] }, {}, null],
    [{ repositories: ['registry.example:5000/*'] }, {}, 'repositories'],
    [{ repositories: ['registry.example:5000/**'] }, {}, null],
    [
      { repositories: ['**/team/*'] },
      { repositories: ['evil.example/x', 'a/team/b'] },
      'repositories',
    ],
    [{ repositories: ['**'] }, { repositories: null }, 'repositories'],
    [{ repositories: ['**'] }, { repositories: [] }, 'repositories'],
    [{ repositories: ['Registry.example:5000/**'] }, {}, 'repositories'],
    [{ requiredAnnotations: { env: 'pro*' } }, {}, null],
    [{ requiredAnnotations: { env: 'dev' } }, {}, 'requiredAnnotations'],
    [{ requiredAnnotations: { constructor: '**' } }, {}, 'requiredAnnotations'],
    [{ requiredAnnotations: { env: 'prod' } }, { annotations: null }, 'requiredAnnotations'],
    [{ allowedAnnotations: ['build'] }, {}, 'allowedAnnotations'],
    [{ allowedAnnotations: ['env'] }, {}, null],
    [{ predicateTypes: ['https://slsa.dev/provenance/v1'] }, {}, null],
    [
      { predicateTypes: ['https://slsa.dev/provenance/v1'] },
      { kind: 'attest', predicateType: 'https://slsa.dev/provenance/v0.2' },
      'predicateTypes',
    ],
    [{ predicateTypes: ['x:y'], payloads: ['digest'] }, { kind: 'digest' }, 'predicateTypes'],
    [{ requireExisting: true }, {}, null],
    [{ requireExisting: true }, { exists: false }, 'requireExisting'],
    [{ notBefore: '2026-11-25' }, {}, 'notBefore'],
    [{ notAfter: '2026-11-24T12:30:00Z' }, {}, 'notAfter'],
    [{ notAfter: '2026-11-24T12:30:01Z' }, {}, null],
    [{ windows: [{ days: ['tue'], from: '08:00', to: '12:31' }] }, {}, null],
    [{ windows: [{ days: ['tue'], from: '08:00', to: '12:30' }] }, {}, 'windows'],
    [{ windows: [{ days: ['mon', 'wed'] }] }, {}, 'windows'],
    [{ windows: [{ to: '01:00' }, { from: '23:00' }] }, {}, 'windows'],
    [{ windows: [{ to: '01:00' }, { from: '23:00' }] }, {}, null, Date.UTC(2026, 0, 1, 23, 59, 59)],
  ]
  for (const [policy, asked, rule, now] of cases) {
    t.equal(ruleOf(key(policy), use(asked), now), rule, JSON.stringify([policy, asked]))
  }
})

await t.test('a key that is not active signs nothing, and names who took over', async (t) => {
  for (const state of ['verify-only', 'retired', 'compromised'] as const) {
    t.throws(
      () => {
        authoriseUse(key(null, { state, successor: 'release-2' }), use(), NOW)
      },
      { code: 'KEY_STATE', message: /"release-2" took over/ },
    )
  }
})

await t.test('caps refuse the signature after the last', async (t) => {
  const capped = key({ maxPerDay: 2, maxLifetime: 5 })
  checkCaps(capped, { today: 1, ever: 4 })
  for (const [used, rule] of [
    [{ today: 2, ever: 4 }, 'maxPerDay'],
    [{ today: 0, ever: 5 }, 'maxLifetime'],
  ] as const) {
    t.match(
      caught(() => {
        checkCaps(capped, used)
      }),
      { code: 'KEY_POLICY', details: { rule } },
    )
  }
})

await t.test('a policy is read strictly and written as it was', async (t) => {
  const whole = {
    repositories: ['a/**'],
    payloads: ['sign', 'digest'],
    predicateTypes: ['https://x.example/y'],
    requiredAnnotations: { env: 'prod' },
    allowedAnnotations: ['env'],
    maxPerDay: 3,
    maxLifetime: 4,
    windows: [{ days: ['mon', 'fri'], from: '08:30', to: '24:00' }],
    notBefore: '2026-01-01T00:00:00.000Z',
    notAfter: '2027-01-01T00:00:00.000Z',
    requireExisting: true,
  }
  t.same(policyJson(parseKeyPolicy(whole)), whole)
  t.same(policyJson(parseKeyPolicy({})), {})
  for (const bad of [
    [],
    null,
    'x',
    { repository: ['a'] },
    { repositories: [] },
    { repositories: 'a/**' },
    { repositories: ['a'.repeat(513)] },
    { repositories: Array<string>(201).fill('a') },
    { payloads: ['everything'] },
    { requiredAnnotations: {} },
    { requiredAnnotations: { a: 1 } },
    { requiredAnnotations: { a: 'x' }, allowedAnnotations: ['b'] },
    { maxPerDay: 0 },
    { maxPerDay: 1.5 },
    { maxLifetime: '10' },
    { windows: [{ days: ['monday'] }] },
    { windows: [{ from: '22:00', to: '06:00' }] },
    { windows: [{ from: '24:01' }] },
    { windows: [{ hours: '8-18' }] },
    { notBefore: 'tomorrow' },
    { notBefore: '2027-01-01', notAfter: '2026-01-01' },
    { requireExisting: 'yes' },
  ]) {
    t.throws(
      () => parseKeyPolicy(bad),
      { code: 'REQUEST_INVALID' },
      JSON.stringify(bad).slice(0, 80),
    )
  }
})

await t.test('a glob costs no more than pattern times text', async (t) => {
  const hostile = key({ repositories: [`${'*a'.repeat(250)}b`] })
  t.equal(ruleOf(hostile, use({ repositories: ['a'.repeat(4_096)] })), 'repositories')
})
