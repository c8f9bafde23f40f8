import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { digestOf, parseDigest, utf8 } from '../../src/core/index.ts'
import {
  buildBundleReferrer,
  copyImage,
  DEFAULT_REGISTRY_SETTINGS,
  initLayout,
  legacyTag,
  MEDIA_TYPES,
  openLayoutRepository,
  openRegistryRepository,
  readBundles,
  readLegacyLayers,
  readReferredEvidence,
  appendLegacyLayer,
  type StreamingRepository,
} from '../../src/oci/index.ts'
import { buildImage } from '../support/image.ts'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { startFakeServer } from './support/hostile-registry.ts'

async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'airseal-transfer-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

async function emptyLayout(t: Test): Promise<StreamingRepository> {
  const path = await folder(t)
  await initLayout(path)
  return openLayoutRepository(path)
}

const layer = (text: string) => ({
  mediaType: MEDIA_TYPES.simpleSigning,
  blob: utf8(text),
  annotations: { 'dev.cosignproject.cosign/signature': Buffer.from(text).toString('base64') },
})

/** An image of two platforms with signatures in both formats, on the index and on a child. */
async function signed(
  t: Test,
): Promise<{ from: StreamingRepository; index: string; manifests: readonly string[] }> {
  const built = await buildImage(await folder(t), `${Math.random()}`)
  const from = await openLayoutRepository(built.layout)
  for (const text of [built.index, built.manifests[0] ?? '']) {
    const digest = parseDigest(text)
    const { descriptor } = await from.readManifest(digest)
    await appendLegacyLayer(from, digest, 'sig', layer(`signature of ${text}`), () => false)
    await from.addReferrer(
      buildBundleReferrer({
        bundle: utf8(`{"of":"${text}"}`),
        subject: descriptor,
        predicateType: 'https://sigstore.dev/cosign/sign/v1',
        created: new Date(0),
      }),
    )
  }
  return { from, index: built.index, manifests: built.manifests }
}

async function checkWhole(
  t: Test,
  to: StreamingRepository,
  digests: readonly string[],
): Promise<void> {
  for (const text of digests) {
    const digest = parseDigest(text)
    t.match(
      await readLegacyLayers(to, digest, 'sig'),
      [{ blob: utf8(`signature of ${text}`) }],
      text,
    )
    t.match(await readBundles(to, digest), [{ blob: utf8(`{"of":"${text}"}`) }], text)
  }
}

await t.test('an image goes with its platforms, signatures and bundles', async (t) => {
  const { from, index, manifests } = await signed(t)
  const to = await emptyLayout(t)
  const digest = parseDigest(index)
  const said: string[] = []
  const options = { tag: 'v1', onProgress: (what: string) => void said.push(what) }
  t.equal((await copyImage(from, to, digest, options)).digest, index)
  t.equal((await to.resolveOnly()).digest, index)
  t.equal((await to.resolveTag('v1')).digest, index)
  await checkWhole(t, to, [index, manifests[0] ?? ''])
  for (const each of manifests) {
    const { manifest } = await to.readManifest(parseDigest(each))
    if (manifest.kind !== 'image') throw new Error('no image')
    for (const blob of [manifest.config, ...manifest.layers])
      t.ok(await to.hasBlob(blob.digest), blob.digest)
  }
  t.ok(said.some((what) => what.startsWith('blob ')))
  await copyImage(from, to, digest, options)
  await checkWhole(t, to, [index])
})

await t.test('what the target has already stays', async (t) => {
  const { from, index } = await signed(t)
  const to = await emptyLayout(t)
  const digest = parseDigest(index)
  await appendLegacyLayer(to, digest, 'sig', layer('an older one'), () => false)
  await copyImage(from, to, digest)
  const layers = await readLegacyLayers(to, digest, 'sig')
  t.same(
    layers.map(({ blob }) => Buffer.from(blob).toString()),
    ['an older one', `signature of ${index}`],
  )
  await copyImage(from, to, digest)
  t.equal((await readLegacyLayers(to, digest, 'sig')).length, 2, 'added once')
})

await t.test('only what is asked for goes', async (t) => {
  const { from, index } = await signed(t)
  const to = await emptyLayout(t)
  const digest = parseDigest(index)
  await copyImage(from, to, digest, { attached: new Set(['sig']) })
  t.equal((await readLegacyLayers(to, digest, 'sig')).length, 1)
  t.same(await readBundles(to, digest), [])
  const bare = await emptyLayout(t)
  await copyImage(from, bare, digest, { attached: new Set(['referrers']), image: false })
  t.notOk(await bare.hasManifest(digest), 'the image itself is not copied')
  t.equal((await readBundles(bare, digest)).length, 1)
})

for (const kind of ['crane', 'referrers-registry', 'docker-registry'] as const) {
  await t.test(`to ${kind} and back`, needs(kind), async (t) => {
    const { host } = await startRegistry(t, kind)
    const { from, index, manifests } = await signed(t)
    const open = () =>
      openRegistryRepository({ registry: host, repository: 'team/app' }, DEFAULT_REGISTRY_SETTINGS)
    const digest = parseDigest(index)
    await copyImage(from, open(), digest, { tag: 'v1' })
    const back = await emptyLayout(t)
    await copyImage(open(), back, (await open().resolveTag('v1')).digest)
    await checkWhole(t, back, [index, manifests[0] ?? ''])
  })
}

await t.test('damaged or endless blobs are not kept', async (t) => {
  const registry = await startFakeServer()
  t.teardown(() => registry.stop())
  const blob = utf8('a layer')
  const wanted = { digest: digestOf(blob), size: blob.length }
  const path = await folder(t)
  await initLayout(path)
  const to = await openLayoutRepository(path)
  const from = openRegistryRepository(
    { registry: registry.host, repository: 'app' },
    { ...DEFAULT_REGISTRY_SETTINGS, idleTimeoutMs: 300 },
  )
  const fetch = () => to.writeBlobFrom({ ...wanted, open: () => from.streamBlob(wanted) })
  registry.answer = (_request, response) => response.writeHead(200).end('another')
  await t.rejects(fetch(), { code: 'DIGEST_MISMATCH' })
  registry.answer = (_request, response) => response.writeHead(200).end('a lay')
  await t.rejects(fetch(), { code: 'DIGEST_MISMATCH' })
  let sent = 0
  registry.answer = (_request, response) => {
    response.writeHead(200)
    const more = () => {
      if (response.destroyed) return
      sent++
      response.write(Buffer.alloc(65_536), more)
    }
    more()
  }
  await t.rejects(fetch(), { code: 'DIGEST_MISMATCH' })
  t.ok(sent < 200, 'read no further than the size')
  registry.answer = (_request, response) => {
    response.writeHead(200, { 'content-length': '7' }).write('a ')
    setTimeout(() => response.destroy(), 20)
  }
  await t.rejects(fetch(), { code: 'REGISTRY_UNREACHABLE' })
  registry.answer = (_request, response) => {
    response.writeHead(200, { 'content-length': '7' }).write('a ')
  }
  await t.rejects(fetch(), { code: 'REGISTRY_UNREACHABLE' }, 'silence')
  registry.answer = (_request, response) => response.writeHead(404).end()
  await t.rejects(fetch(), { code: 'IMAGE_NOT_FOUND' })
  t.same(await readdir(join(path, 'blobs', 'sha256')), [], 'not even a part')
  registry.answer = (_request, response) => response.writeHead(200).end(blob)
  await fetch()
  t.same(await readFile(join(path, 'blobs', 'sha256', wanted.digest.slice(7))), Buffer.from(blob))
})

await t.test('a listed referrer of another image is left alone', async (t) => {
  const { from, index, manifests } = await signed(t)
  const digest = parseDigest(index)
  const stranger = (await from.referrers(parseDigest(manifests[0] ?? ''))).descriptors
  const lying: StreamingRepository = Object.create(from, {
    referrers: { value: () => Promise.resolve({ descriptors: stranger, fallback: false }) },
    readManifest: { value: (each: ReturnType<typeof parseDigest>) => from.readManifest(each) },
    readManifestByTag: { value: () => Promise.resolve(null) },
    streamBlob: {
      value: (each: Parameters<StreamingRepository['streamBlob']>[0]) => from.streamBlob(each),
    },
  }) as StreamingRepository
  const to = await emptyLayout(t)
  await copyImage(lying, to, digest)
  t.same(await readBundles(to, digest), [])
})

await t.test('signatures as referrers count by what they are', async (t) => {
  const { from, index } = await signed(t)
  const digest = parseDigest(index)
  const { descriptor } = await from.readManifest(digest)
  const refer = async (config: string, mediaType: string, text: string, artifactType?: string) => {
    const blob = utf8(text)
    const manifest = utf8(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        config: { mediaType: config, size: 2, digest: digestOf(utf8('{}')) },
        layers: [
          { mediaType, size: blob.length, digest: digestOf(blob), annotations: { a: text } },
        ],
        subject: { mediaType: descriptor.mediaType, size: descriptor.size, digest },
        ...(artifactType === undefined ? {} : { artifactType }),
      }),
    )
    await from.addReferrer({
      descriptor: {
        mediaType: MEDIA_TYPES.ociManifest,
        digest: digestOf(manifest),
        size: manifest.length,
        annotations: {},
      },
      manifest,
      blobs: [utf8('{}'), blob],
      subject: digest,
    })
  }
  const sig = 'application/vnd.dev.cosign.artifact.sig.v1+json'
  await refer(sig, MEDIA_TYPES.simpleSigning, 'by config')
  await refer(MEDIA_TYPES.ociEmpty, MEDIA_TYPES.simpleSigning, 'by artifact type', sig)
  await refer(MEDIA_TYPES.ociEmpty, MEDIA_TYPES.dsseEnvelope, 'att', 'application/vnd.in-toto+json')
  await refer(sig, 'text/plain', 'not a signature')
  const { signatures, attestations, bundles } = await readReferredEvidence(from, digest)
  const texts = (pieces: readonly { annotations: Readonly<Record<string, string>> }[]) =>
    pieces.map(({ annotations }) => annotations['a']).sort()
  t.same(texts(signatures), ['by artifact type', 'by config'])
  t.same(texts(attestations), ['att'])
  t.equal(bundles.length, 1)
})

await t.test('what cosign saved is found only beside its own image', async (t) => {
  const { from, index, manifests } = await signed(t)
  const to = await emptyLayout(t)
  const digest = parseDigest(index)
  await copyImage(from, to, digest)
  const path = join(to.location.slice('oci:'.length), 'index.json')
  interface Entry {
    digest: string
    annotations: Record<string, string>
  }
  const rewrite = async (change: (entries: Entry[]) => Entry[]) => {
    const json = JSON.parse(await readFile(path, 'utf8')) as { manifests: Entry[] }
    await writeFile(path, JSON.stringify({ ...json, manifests: change(json.manifests) }))
  }
  // As cosign leaves it: kinds, no tags, bundles unlisted.
  await rewrite((entries) =>
    entries
      .filter(({ annotations }) => annotations['kind'] !== undefined)
      .map((entry) => ({ ...entry, annotations: { kind: entry.annotations['kind'] ?? '' } })),
  )
  await checkWhole(t, to, [index])
  const child = parseDigest(manifests[0] ?? '')
  t.same(await readLegacyLayers(to, child, 'sig'), [], 'not signatures of another image')
  await rewrite((entries) => [
    ...entries,
    ...entries
      .filter(({ annotations }) => annotations['kind']?.endsWith('sigs'))
      .map((entry) => ({ ...entry, digest: child })),
  ])
  t.equal(await to.readManifestByTag(legacyTag(digest, 'sig')), null, 'two are none')
})
