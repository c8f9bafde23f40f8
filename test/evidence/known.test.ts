import t from 'tap'
import { canonicalJson, utf8, type Json } from '../../src/core/index.ts'
import {
  createEvidenceStore,
  createVerification,
  parsePolicyDocument,
  siteTrustOf,
  type EvidenceCache,
  type KeptPiece,
  type PolicyFinder,
  type SiteTrust,
} from '../../src/evidence/index.ts'
import { leafHash } from '../../src/tlog/index.ts'
import { trustedRootText } from '../../src/sigstore/index.ts'
import { legacyLayer, NOW, signBundle, signLegacy, testKey, TestLog } from '../support/evidence.ts'
import { startPlainRegistry, type PlainRegistry } from '../support/plain-registry.ts'
import { registryImage, SETTINGS } from '../support/registry-image.ts'

const key = testKey()
const other = testKey()
const log = new TestLog()
const MINUTE = 60_000

function siteTrust(version: string, more: Partial<SiteTrust> = {}): SiteTrust {
  const trust = siteTrustOf({
    version,
    keys: [
      { name: 'signing', key: key.publicKey, validFor: null },
      { name: 'second', key: other.publicKey, validFor: null },
    ],
    trustedRoot: utf8(
      trustedRootText({
        baseUrl: 'http://log.test:8470',
        logPublicKey: log.key.publicKey,
        start: '2026-01-01T00:00:00Z',
      }),
    ),
  })
  return { ...trust, ...more }
}

/** Everything a question needs, with what a test turns by hand. */
function place(policies?: PolicyFinder) {
  const state = { trust: siteTrust('1'), now: NOW, requests: 0 }
  const clock = (): number => state.now
  const store = createEvidenceStore(null, clock)
  const verification = createVerification({
    trust: () => state.trust,
    registrySettings: SETTINGS,
    log: null,
    clock,
    store,
    policies,
  })
  return { state, store, verification }
}

type Place = ReturnType<typeof place>

const ask = async (
  { verification }: Place,
  image: string,
  more: Record<string, Json> = {},
): Promise<Record<string, unknown>> => {
  const answer = (await verification.verify({ images: [image], ...more })) as {
    trustVersion: string
    results: Record<string, unknown>[]
  }
  return answer.results[0] ?? {}
}

/** As the HTTP service does it: known bytes first, and every answer offered for remembering. */
async function post({ verification }: Place, body: Json) {
  const bytes = utf8(JSON.stringify(body))
  const known = verification.known(bytes)
  if (known !== null) return { known: true, text: Buffer.from(known).toString() }
  const answer = await verification.verify(body)
  const text = JSON.stringify(answer)
  verification.remember(bytes, answer, utf8(text))
  return { known: false, text }
}

async function registryOf(t: { teardown(work: () => Promise<void>): void }) {
  const registry = await startPlainRegistry()
  t.teardown(() => registry.stop())
  return { registry, seen: countRequests(registry) }
}

function countRequests(registry: PlainRegistry): () => number {
  let requests = 0
  registry.intercept = () => {
    requests += 1
    return false
  }
  return () => requests
}

void t.test('what was seen once is known without its registry, by digest only', async (t) => {
  const { registry, seen } = await registryOf(t)
  const image = await registryImage(`${registry.address}/team/app:1`)
  await image.pushLegacy(signLegacy(image.digest, key, log))
  await image.pushBundle(signBundle(image.digest, key, log), 'https://sigstore.dev/cosign/sign/v1')
  const here = place()
  t.match(await ask(here, image.reference), {
    outcome: 'verified',
    source: 'registry',
    trustVersion: '1',
  })
  const before = seen()
  // Another question about the same digest: nothing kept answers it, known evidence does.
  t.match(await ask(here, image.reference, { key: 'signing' }), {
    outcome: 'verified',
    source: 'local',
    evidence: { length: 2 },
    unchecked: /registry/,
  })
  t.equal(seen(), before, 'the registry was not asked')
  await registry.stop()
  t.match(await ask(here, image.reference, { requireLog: false }), {
    outcome: 'verified',
    source: 'local',
  })
  t.match(
    await ask(here, `${registry.address}/team/app:1`),
    { outcome: 'error', reason: 'REGISTRY_UNREACHABLE', digest: null },
    'what a tag names is known by the registry alone',
  )
  t.match(await ask(here, image.reference, { fresh: true }), {
    outcome: 'verified',
    source: 'local',
  })
  t.match(await ask(here, image.reference, { fresh: true, key: 'second' }), {
    reason: 'REGISTRY_UNREACHABLE',
  })
  t.match(
    await ask(here, image.reference, { key: 'second' }),
    { outcome: 'error', reason: 'REGISTRY_UNREACHABLE' },
    'known evidence that does not suffice is no refusal while the registry may have more',
  )
  await registry.restart()
  registry.manifests.delete(`team/app/sha256-${image.digest.slice(7)}.sig`)
  registry.manifests.delete(`team/app/sha256-${image.digest.slice(7)}`)
  t.match(
    await ask(here, image.reference, { fresh: true }),
    { outcome: 'rejected', reason: 'NO_SIGNATURES' },
    'asked for what is in the registry, only that counts',
  )
  t.match(await ask(here, image.reference, { keys: ['signing'] }), {
    outcome: 'verified',
    source: 'local',
  })
})

void t.test('a tag is never kept: the image behind it may be another one', async (t) => {
  const { registry, seen } = await registryOf(t)
  const tag = `${registry.address}/team/app:moving`
  const image = await registryImage(tag)
  await image.pushLegacy(signLegacy(image.digest, key, log))
  const here = place()
  const body = { images: [tag] }
  t.match(JSON.parse((await post(here, body)).text), { results: [{ outcome: 'verified' }] })
  const before = seen()
  t.equal((await post(here, body)).known, false)
  t.ok(seen() > before, 'the tag is resolved each time')
  // The tag moves to an image that nobody signed.
  const unsigned = await registryImage(`${registry.address}/team/app:unsigned`)
  registry.manifests.set('team/app/moving', registry.manifests.get('team/app/unsigned')!)
  t.match(JSON.parse((await post(here, body)).text), {
    results: [{ outcome: 'rejected', reason: 'NO_SIGNATURES', digest: unsigned.digest }],
  })
})

void t.test('answers are kept by their bytes, and only those of verified digests', async (t) => {
  const { registry } = await registryOf(t)
  const image = await registryImage(`${registry.address}/team/app:1`)
  const here = place()
  const body = { images: [image.reference] }
  t.match(JSON.parse((await post(here, body)).text), { results: [{ reason: 'NO_SIGNATURES' }] })
  // A signature that is added later is found at the next question.
  await image.pushLegacy(signLegacy(image.digest, key, log))
  const first = await post(here, body)
  t.match(JSON.parse(first.text), { results: [{ outcome: 'verified' }] })
  const again = await post(here, body)
  t.same(again, { known: true, text: first.text })
  t.equal((await post(here, { images: [image.reference], key: 'signing' })).known, false)
  t.equal(here.verification.known(utf8(`${JSON.stringify(body)} `)), null, 'other bytes')
  const failing = { images: [image.reference, `${registry.address}/team/app:absent`] }
  await post(here, failing)
  t.equal((await post(here, failing)).known, false, 'one of two is not kept')
})

void t.test('trust that changes counts at once, and so does a revocation', async (t) => {
  const { registry } = await registryOf(t)
  const image = await registryImage(`${registry.address}/team/app:1`)
  const signature = signLegacy(image.digest, key, log)
  await image.pushLegacy(signature)
  const here = place()
  const body = { images: [image.reference] }
  const outcome = async () =>
    (JSON.parse((await post(here, body)).text) as { results: Record<string, unknown>[] }).results[0]
  t.match(await outcome(), { outcome: 'verified' })
  t.equal((await post(here, body)).known, true)
  const leaf = Buffer.from(leafHash(signature.entry.body)).toString('hex')
  for (const [revoked, reason] of [
    [{ digests: new Map([[image.digest, 'malware']]), entries: new Map() }, 'DIGEST_REVOKED'],
    [{ digests: new Map(), entries: new Map([[leaf, 'stolen']]) }, 'ENTRY_REVOKED'],
  ] as const) {
    // The same name on purpose: what counts is the trust, not what it is called.
    here.state.trust = siteTrust('1', { revoked })
    t.match(await outcome(), { outcome: 'rejected', reason })
    here.state.trust = siteTrust('1')
    t.match(await outcome(), { outcome: 'verified' })
  }
  here.state.trust = siteTrust('2', { keys: [] })
  t.match(await outcome(), { reason: 'NO_TRUSTED_KEYS', trustVersion: '2' })
  here.state.trust = siteTrust('3', {
    keys: [
      {
        name: 'signing',
        key: key.publicKey,
        validFor: null,
        validIn: [{ logId: log.key.publicKey.id, first: null, last: signature.entry.logIndex - 1 }],
      },
    ],
  })
  t.match(await outcome(), { reason: 'KEY_NOT_VALID_AT_INDEX' })
  t.match(
    await ask(here, image.reference, { key: key.publicKey.pem }),
    { reason: 'KEY_NOT_VALID_AT_INDEX' },
    'giving the key by its PEM does not get round what is known about it',
  )
  here.state.trust = siteTrust('4', {
    revoked: { digests: new Map([[image.digest, 'gone']]), entries: new Map() },
  })
  await registry.stop()
  t.match(await outcome(), { reason: 'DIGEST_REVOKED' }, 'also with the registry down')
  const unknown = `${registry.address}/team/app@sha256:${'0'.repeat(64)}`
  here.state.trust = siteTrust('5', {
    revoked: { digests: new Map([[`sha256:${'0'.repeat(64)}`, 'gone']]), entries: new Map() },
  })
  t.match(await ask(here, unknown), { reason: 'DIGEST_REVOKED' }, 'and for what was never seen')
  await registry.restart()
})

void t.test('a change of trust during a verification is not overtaken by its result', async (t) => {
  const { registry } = await registryOf(t)
  const image = await registryImage(`${registry.address}/team/app:1`)
  await image.pushLegacy(signLegacy(image.digest, key, log))
  const here = place()
  registry.intercept = () => {
    here.state.trust = siteTrust('2', { keys: [] })
    return false
  }
  const body = { images: [image.reference] }
  t.match(JSON.parse((await post(here, body)).text), {
    trustVersion: '1',
    results: [{ outcome: 'verified' }],
  })
  t.match(JSON.parse((await post(here, body)).text), {
    trustVersion: '2',
    results: [{ outcome: 'rejected' }],
  })
})

void t.test('verdicts that rest on the present hold for so long and no longer', async (t) => {
  const { registry, seen } = await registryOf(t)
  const image = await registryImage(`${registry.address}/team/app:1`)
  await image.pushLegacy(signLegacy(image.digest, key, log))
  const here = place()
  const body = { images: [image.reference] }
  await post(here, body)
  here.state.now += 4 * MINUTE
  t.equal((await post(here, body)).known, true)
  here.state.now += MINUTE
  t.equal((await post(here, body)).known, false, 'after five minutes it is judged again')
  here.state.now -= 2 * MINUTE
  t.equal((await post(here, body)).known, false, 'a clock that was set back')
  const requests = seen()
  // Without log entry nothing proves a time, so the key's end counts as of now.
  const unlogged = await registryImage(`${registry.address}/team/app:2`)
  const layer = legacyLayer(signLegacy(unlogged.digest, key, log))
  delete layer.annotations['dev.sigstore.cosign/bundle']
  await here.store.keep(
    unlogged.digest,
    [{ format: 'legacy', kind: 'signature', ...layer }],
    'imported',
    '',
  )
  const end = here.state.now + 1000
  here.state.trust = siteTrust('1', {
    keys: [{ name: 'signing', key: key.publicKey, validFor: { start: 0, end } }],
  })
  const without = { images: [unlogged.reference], requireLog: false }
  t.match(JSON.parse((await post(here, without)).text), {
    results: [
      {
        outcome: 'verified',
        source: 'local',
        unchecked: [/log/, /inclusion/, /repository name/, /registry/],
      },
    ],
  })
  here.state.now = end
  t.equal((await post(here, without)).known, true, 'the end itself is inside')
  here.state.now = end + 1
  const late = await post(here, without)
  t.equal(late.known, false)
  t.match(JSON.parse(late.text), { results: [{ reason: 'KEY_OUTSIDE_VALIDITY' }] })
  t.ok(seen() > requests)
})

void t.test('a policy that changes counts at once', async (t) => {
  const { registry } = await registryOf(t)
  const image = await registryImage(`${registry.address}/team/app:1`)
  await image.pushLegacy(signLegacy(image.digest, key, log))
  const policyOf = (keys: string[]) =>
    parsePolicyDocument({
      apiVersion: 'airseal/v1',
      kind: 'VerificationPolicy',
      metadata: { name: 'release' },
      spec: { signatures: { keys } },
    })
  let policy = await policyOf(['signing'])
  let generation = 0
  const here = place({
    find: async (name) => (name === 'release' ? policy : null),
    get generation() {
      return generation
    },
  })
  const body = { images: [image.reference], policy: 'release' }
  t.match(JSON.parse((await post(here, body)).text), {
    results: [
      {
        outcome: 'verified',
        policy: 'release',
        demands: [{ name: 'signatures', outcome: 'verified' }],
      },
    ],
  })
  t.equal((await post(here, body)).known, true)
  policy = await policyOf(['second'])
  generation += 1
  t.match(JSON.parse((await post(here, body)).text), { results: [{ reason: 'KEY_MISMATCH' }] })
  await t.rejects(here.verification.verify({ images: [image.reference], policy: 'absent' }), {
    code: 'POLICY_UNKNOWN',
  })
})

void t.test(
  'evidence outlives the process in the cache, whose faults are no verdicts',
  async (t) => {
    const kept = new Map<string, KeptPiece[]>()
    let isBroken = false
    const cache: EvidenceCache = {
      pieces: async (digest) => {
        if (isBroken) throw new Error('broken')
        return kept.get(digest) ?? []
      },
      keep: async (digest, pieces) => {
        if (isBroken) throw new Error('broken')
        kept.set(digest, [...(kept.get(digest) ?? []), ...pieces])
      },
    }
    const digest = `sha256:${'a'.repeat(64)}` as const
    const evidence = {
      format: 'legacy',
      kind: 'signature',
      payload: utf8('p'),
      annotations: { b: '1', a: '2' },
    } as const
    const bundle = { format: 'bundle', text: '{"é":1}' } as const
    const first = createEvidenceStore(cache, () => NOW)
    await first.keep(digest, [evidence, bundle], 'signed', 'registry.test/a')
    await first.keep(
      digest,
      [{ ...evidence, annotations: { a: '2', b: '1' } }],
      'seen',
      'registry.test/b',
    )
    t.equal(kept.get(digest)?.length, 2, 'the same piece is kept once')
    const faults: unknown[] = []
    const second = createEvidenceStore(
      cache,
      () => NOW,
      (fault) => faults.push(fault),
    )
    t.same(await second.evidence(digest), [evidence, bundle])
    t.match(await second.list(digest), {
      digest,
      pieces: [
        {
          format: 'legacy',
          kind: 'signature',
          mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
          source: 'signed',
          place: 'registry.test/a',
          seen: '2026-11-24T12:00:00.000Z',
          content: 'cA==',
          size: 1,
        },
        { format: 'bundle', kind: null, mediaType: /bundle/ },
      ],
    })
    isBroken = true
    const third = createEvidenceStore(
      cache,
      () => NOW,
      (fault) => faults.push(fault),
    )
    t.same(await third.evidence(digest), [])
    await third.keep(digest, [evidence], 'seen', '')
    t.same(await third.evidence(digest), [evidence], 'known for as long as the process lives')
    t.ok(faults.length > 0)
  },
)

void t.test(
  'the evidence of one image is bounded, and a listing leaves large contents out',
  async (t) => {
    const store = createEvidenceStore(null, () => NOW)
    const digest = `sha256:${'b'.repeat(64)}` as const
    const piece = (n: number, bytes: number) =>
      ({
        format: 'legacy',
        kind: 'signature',
        payload: Buffer.alloc(bytes, n),
        annotations: {},
      }) as const
    const mebibyte = 1024 * 1024
    await store.keep(
      digest,
      [piece(1, 12 * mebibyte), piece(2, 12 * mebibyte), piece(3, 12 * mebibyte), piece(4, 10)],
      'seen',
      '',
    )
    t.same((await store.evidence(digest)).length, 3)
    const { pieces } = (await store.list(digest)) as { pieces: { content: string | null }[] }
    t.same(
      pieces.map(({ content }) => content === null),
      [false, true, true],
    )
    await store.keep(
      digest,
      Array.from(
        { length: 400 },
        (_, n) => ({ format: 'bundle', text: canonicalJson(n) }) as const,
      ),
      'seen',
      '',
    )
    t.equal((await store.evidence(digest)).length, 256)
  },
)
