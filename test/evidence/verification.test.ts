import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  AirsealError,
  digestHex,
  digestOf,
  toBase64,
  utf8,
  type Digest,
} from '../../src/core/index.ts'
import {
  checkAgainst,
  createVerification,
  type SiteTrust,
  siteTrustOf,
  verifyReference,
  type LocalLog,
} from '../../src/evidence/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  DEFAULT_REGISTRY_SETTINGS,
  initLayout,
  openLayoutRepository,
  type Repository,
} from '../../src/oci/index.ts'
import { DSSE_TYPE, SIMPLE_SIGNING_TYPE, trustedRootText } from '../../src/sigstore/index.ts'
import {
  attest,
  attestationLayer,
  bundleOf,
  legacyLayer,
  NOW,
  signBundle,
  signLegacy,
  testKey,
  TestLog,
  trustIn,
  type Enveloped,
  type LegacySignature,
} from '../support/evidence.ts'

const key = testKey()
const stranger = testKey()
const log = new TestLog()
const sbom = 'https://cyclonedx.org/bom'
const manifestType = 'application/vnd.oci.image.manifest.v1+json'

interface Answer {
  readonly results: readonly Record<string, unknown>[]
}

/** A layout with one image (config only) in it. */
async function image(t: {
  teardown(work: () => Promise<void>): void
}): Promise<{ repository: Repository; directory: string; digest: Digest; size: number }> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-test-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await initLayout(directory)
  const repository = await openLayoutRepository(directory)
  const config = await repository.writeBlob(utf8('{}'))
  const manifest = utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: 'application/vnd.oci.empty.v1+json', ...config },
      layers: [],
      annotations: { made: directory },
    }),
  )
  const digest = digestOf(manifest)
  await repository.writeManifest(manifest, manifestType, 'latest')
  return { repository, directory, digest, size: manifest.length }
}

type Place = Awaited<ReturnType<typeof image>>

const pushLegacy = ({ repository, digest }: Place, signature: LegacySignature) => {
  const { payload, annotations } = legacyLayer(signature)
  const layer = { mediaType: SIMPLE_SIGNING_TYPE, blob: payload, annotations }
  return appendLegacyLayer(repository, digest, 'sig', layer, () => false)
}

const pushAttestation = ({ repository, digest }: Place, signed: Enveloped) => {
  const { payload, annotations } = attestationLayer(signed)
  const layer = { mediaType: DSSE_TYPE, blob: payload, annotations }
  return appendLegacyLayer(repository, digest, 'att', layer, () => false)
}

const pushBundle = ({ repository, digest, size }: Place, bundle: string, predicateType: string) =>
  repository.addReferrer(
    buildBundleReferrer({
      bundle: utf8(bundle),
      subject: { mediaType: manifestType, digest, size },
      predicateType,
      created: new Date(NOW),
    }),
  )

const signType = 'https://sigstore.dev/cosign/sign/v1'

const trust = siteTrustOf({
  version: '1',
  keys: [{ name: 'signing', key: key.publicKey, validFor: null }],
  trustedRoot: utf8(
    trustedRootText({
      baseUrl: 'http://log.test:8470',
      logPublicKey: log.key.publicKey,
      start: '2026-01-01T00:00:00Z',
    }),
  ),
})

function verification(log_: LocalLog | null = null) {
  const made = createVerification({
    trust: () => trust,
    registrySettings: DEFAULT_REGISTRY_SETTINGS,
    log: log_,
    clock: () => NOW,
  })
  return async (body: Parameters<typeof made.verify>[0]): Promise<Answer> =>
    (await made.verify(body)) as unknown as Answer
}

void t.test(
  'an image signed in both formats verifies, and the answer is what cosign prints',
  async (t) => {
    const place = await image(t)
    const legacy = signLegacy(place.digest, key, log, { annotations: { env: 'prod' } })
    await pushLegacy(place, legacy)
    await pushBundle(place, bundleOf(signBundle(place.digest, key, log, { env: 'prod' })), signType)
    const reference = `oci:${place.directory}@${place.digest}`
    const { results } = await verification()({
      images: [reference, `oci:${place.directory}:latest`],
    })
    t.equal(results.length, 2)
    for (const result of results) {
      t.match(result, {
        digest: place.digest,
        outcome: 'verified',
        reason: null,
        exitCode: 0,
        keyName: 'signing',
        keyId: key.publicKey.id,
        logIndex: legacy.entry.logIndex,
        integratedTime: legacy.entry.integratedTime,
        evidence: [
          { format: 'legacy', outcome: 'verified' },
          { format: 'bundle', outcome: 'verified' },
        ],
      })
      t.match(result['signatures'], [
        {
          critical: {
            identity: { 'docker-reference': 'registry.test/team/app' },
            image: { 'docker-manifest-digest': place.digest },
            type: 'cosign container image signature',
          },
          optional: {
            env: 'prod',
            Bundle: {
              SignedEntryTimestamp: toBase64(legacy.entry.set),
              Payload: { logIndex: legacy.entry.logIndex },
            },
          },
        },
        {
          critical: { image: { 'docker-manifest-digest': place.digest }, type: signType },
          optional: { env: 'prod' },
        },
      ])
    }
  },
)

void t.test('refusals have their reason and cosign’s exit code', async (t) => {
  const unsigned = await image(t)
  const foreign = await image(t)
  await pushLegacy(foreign, signLegacy(foreign.digest, stranger, log))
  const named = await image(t)
  await pushLegacy(named, signLegacy(named.digest, key, log))
  const ask = verification()
  const judged = async (
    place: Place,
    more: Record<string, string | boolean | Record<string, string>> = {},
  ) => (await ask({ images: [`oci:${place.directory}@${place.digest}`], ...more })).results[0]
  t.match(await judged(unsigned), {
    outcome: 'rejected',
    reason: 'NO_SIGNATURES',
    exitCode: 10,
    signatures: [],
  })
  t.match(await judged(foreign), {
    outcome: 'rejected',
    reason: 'KEY_MISMATCH',
    exitCode: 12,
    keyId: null,
  })
  t.match(await judged(foreign, { key: stranger.publicKey.pem }), {
    outcome: 'verified',
    keyName: 'given key',
  })
  t.match(await judged(named, { key: stranger.publicKey.pem }), { reason: 'KEY_MISMATCH' })
  t.match(await judged(named, { annotations: { a: 'b' } }), {
    reason: 'ANNOTATION_MISMATCH',
    exitCode: 12,
  })
  t.match(await judged(named, { identity: 'registry.test/other' }), { reason: 'IDENTITY_MISMATCH' })
  t.match(await judged(named, { identity: 'registry.test/team/app' }), { outcome: 'verified' })
  t.match(await judged(named, { type: 'cyclonedx' }), { reason: 'NO_ATTESTATIONS', exitCode: 1 })
  for (const place of [unsigned, foreign]) {
    const remedy = (await judged(place))?.['remedy']
    t.ok(typeof remedy === 'string' && remedy.length > 10)
  }
})

void t.test('a request that cannot be understood verifies nothing', async (t) => {
  const ask = verification()
  const images = ['oci:/nowhere']
  for (const [code, body] of [
    ['REQUEST_INVALID', null],
    ['REQUEST_INVALID', {}],
    ['REQUEST_INVALID', { images: [] }],
    ['REQUEST_INVALID', { images: [7] }],
    ['REQUEST_INVALID', { images: 'oci:/nowhere' }],
    ['REQUEST_INVALID', { images, anotations: { a: 'b' } }],
    ['REQUEST_INVALID', { images, annotations: { a: 1 } }],
    ['REQUEST_INVALID', { images, requireLog: 'no' }],
    ['REQUEST_INVALID', { images, identity: [] }],
    ['PREDICATE_INVALID', { images, type: 'nonsense' }],
    ['KEY_UNKNOWN', { images, key: 'nobody' }],
    ['KEY_INVALID', { images, key: '-----BEGIN PUBLIC KEY-----' }],
  ] as const) {
    await t.rejects(ask(body as Parameters<typeof ask>[0]), { code }, JSON.stringify(body))
  }
})

void t.test('attestations verify by type, and come out once as envelopes', async (t) => {
  const place = await image(t)
  const signed = attest(place.digest, sbom, key, log)
  await pushAttestation(place, signed)
  await pushBundle(place, bundleOf(signed), sbom)
  await pushBundle(place, bundleOf(signBundle(place.digest, key, log)), signType)
  const ask = verification()
  const images = [`oci:${place.directory}@${place.digest}`]
  const [found] = (await ask({ images, type: 'cyclonedx' })).results
  t.match(found, { outcome: 'verified', exitCode: 0, signatures: [] })
  t.same(found?.['attestations'], [
    {
      payload: toBase64(signed.envelope.payload),
      payloadType: signed.envelope.payloadType,
      signatures: signed.envelope.signatures.map(({ sig, keyid }) => ({
        sig: toBase64(sig),
        keyid,
      })),
    },
  ])
  t.match((await ask({ images, type: 'vuln' })).results, [
    { reason: 'PREDICATE_TYPE_MISMATCH', exitCode: 1, attestations: [] },
  ])
})

void t.test('an attestation alone is no signature', async (t) => {
  const place = await image(t)
  await pushBundle(place, bundleOf(attest(place.digest, sbom, key, log)), sbom)
  const [result] = (await verification()({ images: [`oci:${place.directory}@${place.digest}`] }))
    .results
  t.match(result, { outcome: 'rejected', reason: 'PREDICATE_TYPE_MISMATCH', exitCode: 12 })
})

void t.test('bad evidence beside good evidence spoils nothing', async (t) => {
  const place = await image(t)
  await pushLegacy(place, signLegacy(place.digest, stranger, log))
  await pushBundle(place, '{"mediaType":', signType)
  await pushBundle(place, bundleOf(signBundle(place.digest, key, log)), signType)
  const [result] = (await verification()({ images: [`oci:${place.directory}@${place.digest}`] }))
    .results
  t.match(result, { outcome: 'verified', evidence: { length: 3 } })
})

void t.test(
  'a changed manifest is refused; a missing image and a missing layout are errors',
  async (t) => {
    const place = await image(t)
    await pushLegacy(place, signLegacy(place.digest, key, log))
    const file = join(place.directory, 'blobs', 'sha256', digestHex(place.digest))
    const manifest = await readFile(file)
    manifest[manifest.length - 3]! ^= 1
    await writeFile(file, manifest)
    const ask = verification()
    const { results } = await ask({
      images: [
        `oci:${place.directory}@${place.digest}`,
        `oci:${place.directory}@${digestOf(utf8('absent'))}`,
        `oci:${place.directory}/absent`,
        'not a reference',
      ],
    })
    t.match(results, [
      { outcome: 'rejected', reason: 'CONTENT_MISMATCH', exitCode: 12 },
      { outcome: 'error', reason: 'IMAGE_NOT_FOUND', exitCode: 11 },
      { outcome: 'error', reason: 'LAYOUT_INVALID' },
      { outcome: 'error', reason: 'REFERENCE_INVALID', digest: null, exitCode: 2 },
    ])
  },
)

void t.test('a place that can’t be read is an error, unless the rest suffices', async (t) => {
  const place = await image(t)
  await pushLegacy(place, signLegacy(place.digest, key, log))
  const broken = (method: 'referrers' | 'readManifestByTag'): Repository =>
    new Proxy(place.repository, {
      get: (target, name) => {
        if (name === method) {
          return () => Promise.reject(new AirsealError('REGISTRY_UNREACHABLE', 'no answer'))
        }
        const member: unknown = Reflect.get(target, name, target)
        return typeof member === 'function' ? (member.bind(target) as unknown) : member
      },
    })
  const question = {
    kind: 'signature',
    trust: trustIn([key], [log]),
    policy: {},
    now: NOW,
  } as const
  t.match(await verifyReference(broken('referrers'), place.digest, question), {
    outcome: 'verified',
  })
  t.match(await verifyReference(broken('readManifestByTag'), place.digest, question), {
    outcome: 'error',
    reason: 'REGISTRY_UNREACHABLE',
  })
})

void t.test('an entry that the local log denies refuses the image', async (t) => {
  const place = await image(t)
  const signature = signLegacy(place.digest, key, log)
  await pushLegacy(place, signature)
  await pushBundle(place, bundleOf(signBundle(place.digest, key, log)), signType)
  const images = [`oci:${place.directory}@${place.digest}`]
  const logId = log.key.publicKey.id
  const { body, logIndex } = signature.entry
  const answers = async (entryByIndex: LocalLog['entryByIndex'], id = logId) =>
    (await verification({ logId: id, entryByIndex })({ images })).results[0]
  t.match(await answers(async () => null), {
    outcome: 'rejected',
    reason: 'ENTRY_NOT_IN_LOG',
    exitCode: 12,
    keyId: null,
    signatures: [],
  })
  t.match(await answers(async () => ({ body: utf8('another') })), { reason: 'ENTRY_NOT_IN_LOG' })
  t.match(
    await answers(async (index) => (index === logIndex ? { body } : null)),
    { reason: 'ENTRY_NOT_IN_LOG' },
    'one of two is missing',
  )
  t.match(await answers(() => Promise.reject(new AirsealError('LOG_DAMAGED', 'a bit'))), {
    reason: 'LOG_DAMAGED',
  })
  t.match(await answers(() => Promise.reject(new AirsealError('STORAGE', 'no disk'))), {
    outcome: 'error',
    reason: 'STORAGE',
  })
  t.match(
    await answers(async () => null, '0'.repeat(64)),
    { outcome: 'verified' },
    'entries of another log are not asked for',
  )
  const check = checkAgainst({ logId, entryByIndex: async () => ({ body }) })
  t.equal(await check(signature.entry), 'present')
})

void t.test('a trusted root that can’t be read stops everything', async (t) => {
  for (const trustedRoot of [utf8('{}'), Buffer.from([255])]) {
    t.throws(() => siteTrustOf({ version: '1', keys: [], trustedRoot }), { code: 'TRUST_INVALID' })
  }
})

void t.test('what is trusted is asked for at every request', async (t) => {
  const place = await image(t)
  await pushLegacy(place, signLegacy(place.digest, key, log, {}))
  const images = [`oci:${place.directory}@${place.digest}`]
  let now: SiteTrust = trust
  const { verify } = createVerification({
    trust: () => now,
    registrySettings: DEFAULT_REGISTRY_SETTINGS,
    log: null,
    clock: () => NOW,
  })
  t.match(await verify({ images }), { trustVersion: '1', results: [{ outcome: 'verified' }] })
  const first = trust.keys[0]!
  const ranges = (logId: string, from: number | null, last: number | null): SiteTrust => ({
    ...trust,
    version: '2',
    keys: [{ ...first, validIn: [{ logId, first: from, last }] }],
  })
  const { logId } = trust.believed.logs[0]!
  const answer = await verify({ images })
  const { logIndex } = (answer as unknown as Answer).results[0]! as unknown as { logIndex: number }
  now = ranges(logId, logIndex, logIndex)
  t.match(await verify({ images }), { trustVersion: '2', results: [{ outcome: 'verified' }] })
  const refused = { outcome: 'rejected', reason: 'KEY_NOT_VALID_AT_INDEX' }
  for (const other of [
    ranges(logId, logIndex + 1, null),
    ranges('00'.repeat(32), null, null),
    ...(logIndex === 0 ? [] : [ranges(logId, null, logIndex - 1)]),
  ]) {
    now = other
    t.match(await verify({ images }), { results: [refused] })
  }
  now = ranges(logId, logIndex + 1, null)
  t.match(await verify({ images, requireLog: false }), { results: [refused] })
  now = { ...trust, revoked: { ...trust.revoked, digests: new Map([[place.digest, 'leaked']]) } }
  t.match(await verify({ images }), {
    results: [{ outcome: 'rejected', reason: 'DIGEST_REVOKED', message: /leaked/ }],
  })
})
