import t from 'tap'
import { readPolicyDocument } from '../../src/admission/index.ts'
import type { JsonObject } from '../../src/core/index.ts'
import { clusterPolicy, keyAttestor, pod } from './support/cluster-policies.ts'
import { digestOfText, judge, newKey } from './support/facts.ts'

const A = newKey().pem
const B = newKey().pem
const APP = 'registry.example/app'
const byKey = (...keys: string[]) => keys.map((key) => keyAttestor(key, null))
const signedByA = clusterPolicy({ attestors: [{ entries: byKey(A) }] })

t.test('signatures', async (t) => {
  await t.test('a signed image is allowed and its tag pinned', async (t) => {
    const verdict = await judge({
      documents: [signedByA],
      object: pod([`${APP}:1`]),
      images: { [APP]: { signedBy: [A] } },
      phase: 'mutate',
    })
    t.equal(verdict.allowed, true, verdict.message ?? '')
    const value = `${APP}:1@${digestOfText(`${APP}:1`)}`
    t.strictSame(verdict.patch, [
      { op: 'test', path: '/spec/containers/0/image', value: `${APP}:1` },
      { op: 'replace', path: '/spec/containers/0/image', value },
    ])
  })
  await t.test('an unsigned one is refused with code, place and remedy', async (t) => {
    const verdict = await judge({
      documents: [signedByA],
      object: pod([`${APP}:1`]),
      phase: 'mutate',
    })
    t.equal(verdict.allowed, false)
    t.match(verdict.message, /^airseal refuses Pod default\/app: policy signed, rule rule: /)
    t.match(
      verdict.message,
      /\.attestors\[0\]\.entries\[0\]\.keys: .* \[NO_SIGNATURES\] \(Sign it\.\)$/,
    )
    t.strictSame(verdict.patch, [])
  })
  await t.test('a registry that is down refuses as an error, not as a bad signature', async (t) => {
    const verdict = await judge({
      documents: [signedByA],
      object: pod([`${APP}:1`]),
      images: { [APP]: { fault: { code: 'REGISTRY_UNREACHABLE' } } },
      phase: 'mutate',
    })
    t.equal(verdict.verdicts[0]?.status, 'error')
    t.equal(verdict.allowed, false)
  })
  await t.test('Audit warns and lets through', async (t) => {
    const policy = clusterPolicy({
      attestors: [{ entries: byKey(A) }],
      entry: { failureAction: 'Audit', mutateDigest: false, verifyDigest: false },
    })
    const verdict = await judge({ documents: [policy], object: pod([`${APP}:1`]) })
    t.equal(verdict.allowed, true)
    t.match(verdict.warnings, [/policy signed\.rule: failed to verify image/])
  })
})

t.test('counts', async (t) => {
  const withCount = (count: number | undefined, ...keys: string[]) =>
    clusterPolicy({
      attestors: [{ ...(count !== undefined && { count }), entries: byKey(...keys) }],
    })
  const allowed = async (policy: object, signedBy: string[], parity = false) =>
    (
      await judge({
        documents: [policy],
        object: pod([`${APP}@${digestOfText('x')}`]),
        images: { [APP]: { signedBy } },
        parity,
      })
    ).allowed
  await t.test('one of two suffices where one is counted', async (t) => {
    t.equal(await allowed(withCount(1, A, B), [B]), true)
  })
  await t.test('without count all must have signed', async (t) => {
    t.equal(await allowed(withCount(undefined, A, B), [A]), false)
    t.equal(await allowed(withCount(undefined, A, B), [A, B]), true)
  })
  await t.test('blocks of PEM in one text are keys of their own', async (t) => {
    t.equal(await allowed(withCount(undefined, `${A}${B}`), [A]), false)
    t.equal(await allowed(withCount(1, `${A}${B}`), [B]), true)
  })
  await t.test('the same key twice is one, except in parity with Kyverno', async (t) => {
    t.equal(await allowed(withCount(2, A, A), [A]), false)
    t.equal(await allowed(withCount(2, A, A), [A], true), true)
  })
  await t.test('sets can be nested', async (t) => {
    const nested = clusterPolicy({
      attestors: [
        { count: 1, entries: [{ attestor: { entries: byKey(A, B) } }, ...byKey(newKey().pem)] },
      ],
    })
    t.equal(await allowed(nested, [A]), false)
    t.equal(await allowed(nested, [A, B]), true)
  })
})

t.test('attestations', async (t) => {
  const type = 'https://cyclonedx.org/bom'
  const policy = clusterPolicy({
    entry: {
      attestations: [
        {
          type,
          attestors: [{ entries: byKey(A) }],
          conditions: [
            {
              all: [
                {
                  key: '{{ bomFormat }}',
                  operator: 'Equals',
                  value: 'CycloneDX',
                  message: 'no CycloneDX',
                },
              ],
            },
          ],
        },
      ],
    },
  })
  const judged = (attested: readonly { by: string; type: string; predicate: JsonObject }[]) =>
    judge({
      documents: [policy],
      object: pod([`${APP}@${digestOfText('x')}`]),
      images: { [APP]: { attested } },
    })
  await t.test('one that meets the conditions is enough', async (t) => {
    t.equal((await judged([{ by: A, type, predicate: { bomFormat: 'CycloneDX' } }])).allowed, true)
  })
  await t.test(
    'none, another type, another signer, a false condition and a missing member are refused',
    async (t) => {
      const bad: Parameters<typeof judged>[0][] = [
        [],
        [{ by: A, type: 'https://spdx.dev/Document', predicate: { bomFormat: 'CycloneDX' } }],
        [{ by: B, type, predicate: { bomFormat: 'CycloneDX' } }],
        [{ by: A, type, predicate: { bomFormat: 'SPDX' } }],
        [{ by: A, type, predicate: {} }],
      ]
      for (const attested of bad)
        t.equal((await judged(attested)).allowed, false, JSON.stringify(attested))
    },
  )
  await t.test('every statement that verifies must meet them', async (t) => {
    const attested = ['CycloneDX', 'SPDX'].map((bomFormat) => ({
      by: A,
      type,
      predicate: { bomFormat },
    }))
    const verdict = await judged(attested)
    t.equal(verdict.allowed, false)
    t.match(verdict.message, /no CycloneDX/)
  })
  await t.test('a predicate can not pretend to be the request', async (t) => {
    const asksRequest = clusterPolicy({
      entry: {
        attestations: [
          {
            type,
            attestors: [{ entries: byKey(A) }],
            conditions: [
              { all: [{ key: '{{ request.namespace }}', operator: 'Equals', value: 'prod' }] },
            ],
          },
        ],
      },
    })
    const verdict = await judge({
      documents: [asksRequest],
      object: pod([`${APP}@${digestOfText('x')}`]),
      images: {
        [APP]: { attested: [{ by: A, type, predicate: { request: { namespace: 'prod' } } }] },
      },
    })
    t.equal(verdict.allowed, false)
  })
})

t.test('digests', async (t) => {
  const plain = (entry: Record<string, unknown>) => clusterPolicy({ entry })
  const none = { mutateDigest: false, verifyDigest: false, required: false }
  const rows: readonly (readonly [Record<string, unknown>, string, boolean])[] = [
    [{ ...none, verifyDigest: true }, `${APP}:1`, false],
    [{ ...none, verifyDigest: true }, `${APP}@${digestOfText('x')}`, true],
    [{ ...none, required: true }, `${APP}@${digestOfText('x')}`, false],
    [none, `${APP}:1`, true],
  ]
  for (const [entry, image, allowed] of rows) {
    t.equal(
      (await judge({ documents: [plain(entry)], object: pod([image]) })).allowed,
      allowed,
      JSON.stringify([entry, image]),
    )
  }
})

t.test('where images are', async (t) => {
  const spec = {
    initContainers: [{ name: 'i', image: `${APP}:init` }],
    containers: [{ name: 'c', image: `${APP}:main` }],
    ephemeralContainers: [{ name: 'e', image: `${APP}:debug` }],
    volumes: [
      { name: 'v', image: { reference: `${APP}:volume` } },
      { name: 'w', emptyDir: {} },
    ],
  }
  const template = { metadata: {}, spec }
  const kinds: readonly (readonly [string, string, object])[] = [
    ['v1', 'Pod', spec],
    ['apps/v1', 'Deployment', { template }],
    ['apps/v1', 'StatefulSet', { template }],
    ['apps/v1', 'DaemonSet', { template }],
    ['apps/v1', 'ReplicaSet', { template }],
    ['v1', 'ReplicationController', { template }],
    ['batch/v1', 'Job', { template }],
    ['batch/v1', 'CronJob', { jobTemplate: { spec: { template } } }],
  ]
  for (const [apiVersion, kind, own] of kinds) {
    await t.test(kind, async (t) => {
      const object = { apiVersion, kind, metadata: { name: 'x', namespace: 'default' }, spec: own }
      const good = await judge({
        documents: [signedByA],
        object,
        images: { [APP]: { signedBy: [A] } },
        phase: 'mutate',
        uncovered: 'deny',
      })
      t.equal(good.allowed, true, good.message ?? '')
      t.equal(good.patch.filter(({ op }) => op === 'replace').length, 4)
      t.equal((await judge({ documents: [signedByA], object, phase: 'mutate' })).allowed, false)
    })
  }
  await t.test('volumes are left out in parity with Kyverno', async (t) => {
    const object = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'x' },
      spec: { containers: [], volumes: spec.volumes },
    }
    t.equal((await judge({ documents: [signedByA], object, parity: true })).allowed, true)
    t.equal((await judge({ documents: [signedByA], object })).allowed, false)
  })
  await t.test(
    'images without a policy are allowed or denied by the setting, and named',
    async (t) => {
      const policy = clusterPolicy({
        references: ['other.example/*'],
        attestors: [{ entries: byKey(A) }],
      })
      const asked = { documents: [policy], object: pod([`${APP}:1`]) }
      const allowed = await judge({ ...asked, uncovered: 'allow' })
      t.equal(allowed.allowed, true)
      t.match(allowed.warnings, [/no policy speaks of registry\.example\/app:1/])
      const denied = await judge({ ...asked, uncovered: 'deny' })
      t.equal(denied.allowed, false)
      t.match(denied.message, /IMAGE_NOT_COVERED/)
    },
  )
})

t.test('updates', async (t) => {
  const before = pod([`${APP}:1`]) as { metadata: object; spec: { containers: object[] } }
  const changed = (metadata: object, spec: object = before.spec) => ({
    ...before,
    metadata: { ...before.metadata, ...metadata },
    spec,
  })
  await t.test('a change of labels alone is let through', async (t) => {
    const verdict = await judge({
      documents: [signedByA],
      object: changed({ labels: { a: 'b' } }),
      oldObject: before,
      uncovered: 'deny',
    })
    t.equal(verdict.allowed, true, verdict.message ?? '')
  })
  await t.test('a change of labels that brings it below a rule is judged', async (t) => {
    const match = {
      any: [{ resources: { kinds: ['Pod'], selector: { matchLabels: { tier: 'prod' } } } }],
    }
    const policy = clusterPolicy({ attestors: [{ entries: byKey(A) }], rule: { match } })
    const verdict = await judge({
      documents: [policy],
      object: changed({ labels: { tier: 'prod' } }),
      oldObject: before,
      phase: 'mutate',
    })
    t.equal(verdict.allowed, false)
  })
  await t.test('a changed image is judged, also while it is being deleted', async (t) => {
    const spec = { containers: [{ name: 'c0', image: 'registry.example/evil:1' }] }
    const object = changed({ deletionTimestamp: '2026-11-24T00:00:00Z' }, spec)
    t.equal((await judge({ documents: [signedByA], object, oldObject: before })).allowed, false)
  })
  await t.test('an image that an update leaves alone is verified, and not pinned', async (t) => {
    const spec = { ...before.spec, tolerations: [{ operator: 'Exists' }] }
    const verdict = await judge({
      documents: [signedByA],
      object: changed({}, spec),
      oldObject: before,
      images: { [APP]: { signedBy: [A] } },
      phase: 'mutate',
    })
    t.equal(verdict.allowed, true)
    t.strictSame(verdict.patch, [])
  })
})

t.test('what a policy refers to', async (t) => {
  const map = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'keys', namespace: 'default' },
    data: { prod: A },
  }
  const policy = clusterPolicy({
    attestors: [{ entries: byKey('{{ keys.data.{{ request.namespace }} }}') }],
    rule: { context: [{ name: 'keys', configMap: { name: 'keys', namespace: 'default' } }] },
  })
  const asked = {
    object: pod([`${APP}@${digestOfText('x')}`], 'app', 'prod'),
    images: { [APP]: { signedBy: [A] } },
  }
  t.equal((await judge({ ...asked, documents: [policy, map] })).allowed, true)
  const without = await judge({ ...asked, documents: [policy] })
  t.equal(without.allowed, false)
  t.match(
    without.message,
    /ConfigMap default\/keys was not given to airseal \[POLICY_FACTS_MISSING\]/,
  )

  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 's', namespace: 'n' },
    stringData: { 'cosign.pub': A, password: 'x' },
  }
  const bySecret = clusterPolicy({
    attestors: [
      {
        entries: [
          {
            keys: {
              secret: { name: 's', namespace: 'n' },
              rekor: { url: 'https://r.invalid', ignoreTlog: true },
            },
          },
        ],
      },
    ],
  })
  t.equal((await judge({ ...asked, documents: [bySecret, secret] })).allowed, true)
  const read = readPolicyDocument(secret, { parity: false })
  t.notMatch(JSON.stringify(read), /password/, 'nothing but public keys is kept of a Secret')
})

t.test('namespaces', async (t) => {
  const match = {
    all: [
      {
        resources: {
          kinds: ['Pod'],
          namespaceSelector: {
            matchExpressions: [{ key: 'signed', operator: 'In', values: ['true'] }],
          },
        },
      },
    ],
  }
  const policy = clusterPolicy({ attestors: [{ entries: byKey(A) }], rule: { match } })
  const namespace = (signed: string) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'default', labels: { signed } },
  })
  const object = pod([`${APP}@${digestOfText('x')}`])
  t.equal((await judge({ documents: [policy, namespace('true')], object })).allowed, false)
  t.equal((await judge({ documents: [policy, namespace('no')], object })).allowed, true)
  const unknown = await judge({ documents: [policy], object })
  t.equal(unknown.allowed, false, 'labels that are not known are no reason to let through')
  t.match(unknown.message, /POLICY_FACTS_MISSING/)
})

t.test('what is not acted on is refused when the policy is loaded', async (t) => {
  const entry = { attestors: [{ entries: byKey(A) }] }
  const rows: readonly (readonly [string, object])[] = [
    ['POLICY_INVALID', clusterPolicy({ ...entry, entry: { failureActoin: 'Enforce' } })],
    ['POLICY_INVALID', clusterPolicy({ attestors: [{ count: 2, entries: byKey(A) }] })],
    ['POLICY_INVALID', clusterPolicy({ attestors: [{ entries: [] }] })],
    [
      'POLICY_INVALID',
      clusterPolicy({ attestors: [{ entries: [{ keys: { rekor: { url: 'x' } } }] }] }),
    ],
    ['POLICY_INVALID', clusterPolicy({ ...entry, references: [] })],
    ['POLICY_INVALID', clusterPolicy({ ...entry, references: ['{{ x }}'] })],
    ['POLICY_INVALID', clusterPolicy({ ...entry, entry: { failureAction: 'Audit' } })],
    [
      'POLICY_INVALID',
      clusterPolicy({
        ...entry,
        rule: { preconditions: { all: [{ key: 'a', operator: 'Like', value: 'b' }] } },
      }),
    ],
    [
      'POLICY_INVALID',
      clusterPolicy({
        ...entry,
        rule: { preconditions: { all: [{ key: '{{ a[ }}', operator: 'Equals', value: 'b' }] } },
      }),
    ],
    [
      'POLICY_UNSUPPORTED',
      clusterPolicy({
        ...entry,
        rule: {
          preconditions: { all: [{ key: "{{ random('a') }}", operator: 'Equals', value: 'b' }] },
        },
      }),
    ],
    ['POLICY_UNSUPPORTED', clusterPolicy({ ...entry, entry: { type: 'Notary' } })],
    [
      'POLICY_UNSUPPORTED',
      clusterPolicy({ ...entry, rule: { context: [{ name: 'x', apiCall: { urlPath: '/api' } }] } }),
    ],
    [
      'POLICY_UNSUPPORTED',
      clusterPolicy({
        attestors: [{ entries: [{ keys: { publicKeys: 'https://evil.example/key' } }] }],
      }),
    ],
    [
      'POLICY_UNSUPPORTED',
      clusterPolicy({
        attestors: [{ entries: [{ keys: { publicKeys: A, signatureAlgorithm: 'sha512' } }] }],
      }),
    ],
    [
      'POLICY_INVALID',
      { apiVersion: 'kyverno.io/v1', kind: 'ClusterPolicy', metadata: {}, spec: {} },
    ],
    [
      'POLICY_UNSUPPORTED',
      { apiVersion: 'kyverno.io/v2', kind: 'PolicyException', metadata: { name: 'x' }, spec: {} },
    ],
  ]
  for (const [code, document] of rows) {
    t.throws(
      () => readPolicyDocument(document as JsonObject, { parity: false }),
      { code },
      JSON.stringify(document).slice(0, 400),
    )
  }
})
