import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { digestOf, parseDigest, utf8 } from '../../src/core/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  DEFAULT_REGISTRY_SETTINGS,
  initLayout,
  legacyTag,
  MEDIA_TYPES,
  openRepository,
  parseReference,
  readBundles,
  readLegacyLayers,
  type Repository,
} from '../../src/oci/index.ts'
import { program } from '../support/programs.ts'
import { pushImage } from './support/images.ts'
import { REAL_REGISTRIES, startRegistry } from './support/real-registries.ts'

const WRITER = fileURLToPath(new URL('support/writer.ts', import.meta.url))
const UNKNOWN = parseDigest(`sha256:${'0'.repeat(64)}`)

interface Place {
  readonly name: string
  readonly fallback: boolean
  /** Why the place can't be had here. */
  readonly skip?: string
  start: () => Promise<{ reference: string; stop: () => Promise<void> }>
}

const places: Place[] = REAL_REGISTRIES.map((kind) => ({
  name: kind.name,
  fallback: !kind.listsReferrers,
  ...(program(kind.program) === null ? { skip: `${kind.program} is absent: ${kind.install}` } : {}),
  start: async () => {
    const { host, stop } = await startRegistry(kind)
    return { reference: `${host}/team/app`, stop }
  },
}))
places.push({
  name: 'layout on disk',
  fallback: false,
  start: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'airseal-layout-'))
    await initLayout(directory)
    return {
      reference: `oci:${directory}`,
      stop: () => rm(directory, { recursive: true, force: true }),
    }
  },
})

// Racing processes take longer than tap's half minute.
t.setTimeout(300_000)

for (const place of places) {
  const options = place.skip === undefined ? {} : { skip: place.skip }
  await t.test(place.name, options, async (t) => {
    const { reference, stop } = await place.start()
    t.teardown(stop)
    const repository = await openRepository(parseReference(reference), DEFAULT_REGISTRY_SETTINGS)
    await readsAndWrites(t, repository)
    await keepsReferrers(t, repository, place.fallback)
    await keepsSignatures(t, repository)
    await losesNothingInRaces(t, repository, reference)
  })
}

type Test = Pick<typeof t, 'test'>

async function readsAndWrites(t: Test, repository: Repository): Promise<void> {
  await t.test('returns what was stored, and says what is not there', async (t) => {
    const image = await pushImage(repository, 'v1')
    t.equal((await repository.resolveTag('v1')).digest, image.digest)
    const stored = await repository.readManifest(image.digest)
    t.equal(digestOf(stored.bytes), image.digest)
    t.equal(stored.manifest.kind, 'image')
    t.equal(await repository.hasManifest(image.digest), true)
    t.equal(await repository.hasManifest(UNKNOWN), false)
    t.equal(await repository.readManifestByTag('absent'), null)
    await t.rejects(repository.resolveTag('absent'), { code: 'IMAGE_NOT_FOUND' })
    await t.rejects(repository.readManifest(UNKNOWN), { code: 'IMAGE_NOT_FOUND' })
    const blob = await repository.writeBlob(utf8('hello'))
    t.same(await repository.writeBlob(utf8('hello')), blob, 'twice is once')
    t.equal(Buffer.from(await repository.readBlob(blob, 5)).toString(), 'hello')
    t.equal(await repository.hasBlob(blob.digest), true)
    t.equal(await repository.hasBlob(UNKNOWN), false)
    await t.rejects(repository.readBlob(blob, 4), { code: 'TOO_LARGE' })
    await t.rejects(repository.readBlob({ ...blob, size: 6 }, 100), { code: 'DIGEST_MISMATCH' })
    await t.rejects(repository.readBlob({ ...blob, digest: UNKNOWN }, 100), {
      code: 'IMAGE_NOT_FOUND',
    })
    await t.rejects(repository.writeManifest(stored.bytes, MEDIA_TYPES.ociManifest, UNKNOWN), {
      code: 'REFERENCE_INVALID',
    })
  })
}

async function keepsReferrers(t: Test, repository: Repository, fallback: boolean): Promise<void> {
  await t.test('lists bundles, each once, and nothing that is not one', async (t) => {
    const subject = await pushImage(repository, 'referred')
    t.same((await repository.referrers(subject.digest)).descriptors, [])
    t.same(await readBundles(repository, subject.digest), [])
    const referrers = ['one', 'two'].map((text) =>
      buildBundleReferrer({
        bundle: utf8(`"${text}"`),
        subject,
        predicateType: 'https://example.test/p',
        created: new Date(0),
      }),
    )
    for (const each of [...referrers, ...referrers]) await repository.addReferrer(each)
    const listed = await repository.referrers(subject.digest)
    t.equal(listed.fallback, fallback)
    t.same(
      listed.descriptors.map(({ digest }) => digest).sort(),
      referrers.map((each) => each.descriptor.digest).sort(),
    )
    const found = await readBundles(repository, subject.digest)
    t.same(found.map(({ blob }) => Buffer.from(blob).toString()).sort(), ['"one"', '"two"'])
  })
  if (!fallback) return
  await t.test('leaves an image alone that has the name of the fallback tag', async (t) => {
    const subject = await pushImage(repository, 'copied')
    const tag = subject.digest.replace(':', '-')
    await repository.writeManifest(
      (await repository.readManifest(subject.digest)).bytes,
      MEDIA_TYPES.ociManifest,
      tag,
    )
    t.same(await repository.referrers(subject.digest), { descriptors: [], fallback: true })
    const referrer = buildBundleReferrer({
      bundle: utf8('{}'),
      subject,
      predicateType: 'p',
      created: new Date(0),
    })
    await t.rejects(repository.addReferrer(referrer), { code: 'REGISTRY_REFUSED' })
    t.equal((await repository.resolveTag(tag)).digest, subject.digest)
  })
}

async function keepsSignatures(t: Test, repository: Repository): Promise<void> {
  await t.test(
    'appends signatures, keeps earlier ones as they are, and adds none twice',
    async (t) => {
      const { digest } = await pushImage(repository, 'signed')
      t.same(await readLegacyLayers(repository, digest, 'sig'), [])
      const layer = (signature: string) => ({
        mediaType: MEDIA_TYPES.simpleSigning,
        blob: utf8('{"payload":1}'),
        annotations: { 'dev.cosignproject.cosign/signature': signature },
      })
      const append = (signature: string) =>
        appendLegacyLayer(
          repository,
          digest,
          'sig',
          layer(signature),
          (existing) => existing.annotations['dev.cosignproject.cosign/signature'] === signature,
        )
      t.equal(await append('AA=='), 'added')
      const first = await repository.readManifestByTag(legacyTag(digest, 'sig'))
      t.equal(await append('AA=='), 'present')
      t.equal(await append('AQ=='), 'added')
      const layers = await readLegacyLayers(repository, digest, 'sig')
      t.same(
        layers.map(({ annotations }) => annotations['dev.cosignproject.cosign/signature']),
        ['AA==', 'AQ=='],
      )
      t.same(
        layers.map(({ blob }) => Buffer.from(blob).toString()),
        ['{"payload":1}', '{"payload":1}'],
      )
      const second = await repository.readManifestByTag(legacyTag(digest, 'sig'))
      const layersOf = (stored: typeof first) =>
        (stored?.manifest.kind === 'image' ? stored.manifest.json['layers'] : []) as object[]
      t.same(layersOf(second)[0], layersOf(first)[0])
      t.same(await readLegacyLayers(repository, digest, 'att'), [])
    },
  )
}

async function losesNothingInRaces(
  t: Test,
  repository: Repository,
  reference: string,
): Promise<void> {
  await t.test('two processes that write at once lose nothing', { timeout: 240_000 }, async (t) => {
    const { digest } = await pushImage(repository, 'raced')
    const race = (what: string, count: number) =>
      Promise.all(
        ['a', 'b'].map((prefix) =>
          runWriter([`${reference}@${digest}`, what, String(count), prefix]),
        ),
      )
    await race('sig', 30)
    const signatures = await readLegacyLayers(repository, digest, 'sig')
    t.same(signatures.map(({ blob }) => Buffer.from(blob).toString()).sort(), expected(30))
    await race('bundle', 50)
    const bundles = await readBundles(repository, digest)
    t.same(bundles.map(({ blob }) => Buffer.from(blob).toString()).sort(), expected(50))
  })
}

function expected(count: number): string[] {
  return ['a', 'b']
    .flatMap((from) =>
      Array.from({ length: count }, (_, number) => `{"from":"${from}","number":${number}}`),
    )
    .sort()
}

function runWriter(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [WRITER, ...args],
      { timeout: 200_000 },
      (error, _stdout, stderr) => {
        if (error === null) resolve()
        else reject(new Error(stderr, { cause: error }))
      },
    )
  })
}
