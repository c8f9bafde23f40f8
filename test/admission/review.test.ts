import t from 'tap'
import { answerReview, parseReview } from '../../src/admission/index.ts'
import type { Json } from '../../src/core/index.ts'
import { createAdmission } from '../../src/admission-service.ts'
import { siteTrustOf } from '../../src/evidence/index.ts'
import { DEFAULT_REGISTRY_SETTINGS } from '../../src/oci/index.ts'
import { clusterPolicy, keyAttestor, pod, yaml } from './support/cluster-policies.ts'
import { newKey } from './support/facts.ts'

const POD = { group: '', version: 'v1', kind: 'Pod' }

function review(request: Record<string, unknown>): Json {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u1',
      kind: POD,
      operation: 'CREATE',
      namespace: 'default',
      object: pod(['registry.example/app:1']),
      userInfo: { username: 'somebody' },
      ...request,
    },
  } as unknown as Json
}

function service(documents = '') {
  const admission = createAdmission({
    settings: { uncoveredImages: 'deny', parity: 'none' },
    trust: () =>
      siteTrustOf({
        version: '1',
        keys: [],
        trustedRoot: Buffer.from(
          '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[],"ctlogs":[],"timestampAuthorities":[]}',
        ),
      }),
    keysByUri: () => [],
    registrySettings: { ...DEFAULT_REGISTRY_SETTINGS, connectTimeoutMs: 60_000 },
    localEntryCheck: undefined,
    clock: () => Date.parse('2026-11-24T00:00:00Z'),
    monotonic: () => performance.now(),
  })
  if (documents !== '') admission.use(admission.read(documents))
  return admission
}

const responseOf = (answer: unknown) =>
  (
    answer as {
      response: { uid: string; allowed: boolean; patch?: string; status?: { message: string } }
    }
  ).response

t.test('what is no review is refused, and nothing is allowed', (t) => {
  const rows: readonly Json[] = [
    null,
    [],
    'review',
    { ...(review({}) as object), apiVersion: 'admission.k8s.io/v1beta1' },
    review({ uid: undefined }),
    review({ uid: '' }),
    review({ uid: 'x'.repeat(200) }),
    review({ operation: 'PATCH' }),
    review({ object: null }),
    review({ object: [] }),
    review({ dryRun: 'yes' }),
    review({ kind: { group: '', version: 'v1', kind: 'Deployment' } }),
    review({ operation: 'UPDATE' }),
  ]
  for (const row of rows)
    t.throws(() => parseReview(row), { code: 'REVIEW_INVALID' }, JSON.stringify(row))
  t.end()
})

t.test('what is deleted or connected to is let through', async (t) => {
  for (const operation of ['DELETE', 'CONNECT']) {
    const answer = responseOf(
      await service().review('validate', review({ operation, object: null }), 1_000),
    )
    t.equal(answer.allowed, true)
    t.equal(answer.uid, 'u1')
  }
})

t.test('the same uid twice is answered twice', async (t) => {
  const admission = service()
  const answers = await Promise.all(
    [1, 2].map(() => admission.review('validate', review({}), 1_000)),
  )
  for (const answer of answers) t.equal(responseOf(answer).allowed, false)
})

t.test(
  'a review of 20 containers and one of 1,000 images are judged, more is refused',
  async (t) => {
    const images = (count: number) =>
      Array.from({ length: count }, (_, at) => `registry.example/app${at}:1`)
    for (const count of [20, 1_000]) {
      const answer = responseOf(
        await service().review('validate', review({ object: pod(images(count)) }), 5_000),
      )
      t.equal(answer.allowed, false)
      t.match(answer.status?.message, /IMAGE_NOT_COVERED/)
    }
    const beyond = responseOf(
      await service().review('validate', review({ object: pod(images(1_001)) }), 5_000),
    )
    t.equal(beyond.allowed, false)
    t.match(beyond.status?.message, /TOO_LARGE/)
  },
)

t.test('a List is judged item by item, and its places are named from the List', async (t) => {
  const object = {
    apiVersion: 'v1',
    kind: 'List',
    items: [pod(['registry.example/a:1']), pod(['registry.example/b:1'], 'b')],
  }
  const { subjects } = parseReview(
    review({ object, kind: { group: '', version: 'v1', kind: 'List' } }),
  )
  t.strictSame(
    subjects.map(({ base, subject }) => [base, subject.kind, subject.name]),
    [
      ['/items/0', 'Pod', 'app'],
      ['/items/1', 'Pod', 'b'],
    ],
  )
})

t.test('a registry that says nothing is a refusal in time', async (t) => {
  const { createServer } = await import('node:net')
  const sockets: { destroy(): void }[] = []
  const silent = createServer((socket) => sockets.push(socket))
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  const host = `127.0.0.1:${(silent.address() as { port: number }).port}`
  const policy = clusterPolicy({ attestors: [{ entries: [keyAttestor(newKey().pem, null)] }] })
  const answer = responseOf(
    await service(yaml(policy)).review(
      'validate',
      review({ object: pod([`${host}/app@sha256:${'a'.repeat(64)}`]) }),
      200,
    ),
  )
  t.equal(answer.allowed, false)
  t.match(answer.status?.message, /DEADLINE/)
})

t.test('a refusal carries no patch, and a patch says its type', (t) => {
  const patch = [{ op: 'replace', path: '/a', value: 'b' }] as const
  const base = { message: null, warnings: [], notes: {}, patch }
  const allowed = responseOf(answerReview('u', { ...base, allowed: true }))
  t.strictSame(JSON.parse(Buffer.from(allowed.patch ?? '', 'base64').toString()), patch)
  t.equal(responseOf(answerReview('u', { ...base, allowed: false })).patch, undefined)
  t.end()
})
