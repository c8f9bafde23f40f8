import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { delay, limiter } from '../../src/oci/concurrency.ts'
import { digestOf, utf8 } from '../../src/core/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  formatReference,
  initLayout,
  legacyTag,
  MEDIA_TYPES,
  openLayoutRepository,
  parseManifest,
  parseReference,
} from '../../src/oci/index.ts'
import { pushImage } from './support/images.ts'

const HEX = 'a'.repeat(64)

await t.test('reads references, and writes them back', (t) => {
  const good: [string, string, object][] = [
    [
      'alpine',
      'index.docker.io/library/alpine',
      { registry: 'index.docker.io', repository: 'library/alpine' },
    ],
    ['docker.io/alpine:3', 'index.docker.io/library/alpine:3', { tag: '3' }],
    ['team/app', 'index.docker.io/team/app', { repository: 'team/app' }],
    ['localhost/app', 'localhost/app', { registry: 'localhost' }],
    [
      `reg.corp:5000/a/b__c/d-e:v1@sha256:${HEX}`,
      `reg.corp:5000/a/b__c/d-e:v1@sha256:${HEX}`,
      { tag: 'v1', digest: `sha256:${HEX}` },
    ],
    ['[::1]:5000/app', '[::1]:5000/app', { registry: '[::1]:5000' }],
    ['oci:dir', 'oci:dir', { kind: 'layout', directory: 'dir' }],
    ['oci:../a/dir:v1', 'oci:../a/dir:v1', { directory: '../a/dir', tag: 'v1' }],
    [
      `oci:/a/dir@sha256:${HEX}`,
      `oci:/a/dir@sha256:${HEX}`,
      { directory: '/a/dir', digest: `sha256:${HEX}` },
    ],
  ]
  for (const [text, written, parts] of good) {
    const reference = parseReference(text)
    t.match(reference, parts, text)
    t.equal(formatReference(reference), written)
    t.same(parseReference(written), reference)
  }
  t.notOk('tag' in parseReference('alpine'), 'latest is not assumed')
  t.end()
})

await t.test('refuses references with more than one reading', (t) => {
  const bad = [
    '',
    ' ',
    'App',
    'reg.corp/App',
    'Reg.corp/app',
    'http://reg.corp/app',
    'reg.corp//app',
    'reg.corp/../app',
    'reg.corp/app/',
    'reg.corp./app',
    'reg.corp:0/app',
    'reg.corp:65536/app',
    'reg.corp:05/app',
    '0x7f.1/app',
    '127.1/app',
    '[0:0::1]/app',
    'reg.corp/app\n',
    'reg.corp/a b',
    `reg.corp/app@sha256:${HEX.slice(1)}`,
    `reg.corp/app@sha256:${HEX.toUpperCase()}`,
    `reg.corp/app@sha512:${HEX}${HEX}`,
    `reg.corp/app@${HEX}`,
    'reg.corp/app:',
    `reg.corp/app:${'t'.repeat(300)}`,
    `reg.corp/${'a/'.repeat(200)}a`,
    'user@reg.corp/app',
    'reg.corp/app:v1:v2',
    'oci:',
    'oci::v1',
    `oci:dir@sha256:${HEX}@sha256:${HEX}`,
    'oci:a\nb',
  ]
  for (const text of bad)
    t.throws(
      () => parseReference(text),
      { code: 'REFERENCE_INVALID' },
      JSON.stringify(text.slice(0, 60)),
    )
  t.end()
})

await t.test(
  'reads manifests of OCI and Docker, and refuses what could be read in two ways',
  (t) => {
    const config = { mediaType: MEDIA_TYPES.ociConfig, size: 2, digest: `sha256:${HEX}` }
    const parse = (document: object, declared?: string) =>
      parseManifest(utf8(JSON.stringify(document)), declared)
    const image = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers: [config] }
    const index = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.dockerList,
      manifests: [{ ...config, platform: { os: 'linux', architecture: 'arm64' } }],
    }
    t.match(parse(image), { kind: 'image', layers: [{ size: 2 }] })
    t.match(parse(index, MEDIA_TYPES.dockerList), {
      kind: 'index',
      manifests: [{ platform: { architecture: 'arm64' } }],
    })
    t.equal(
      parse({ ...image, mediaType: undefined }, 'application/json; charset=utf-8').mediaType,
      MEDIA_TYPES.ociManifest,
    )
    const bad: [object, string?][] = [
      [{ ...image, manifests: [] }],
      [{ ...index, layers: [] }],
      [image, MEDIA_TYPES.dockerManifest],
      [{ ...image, mediaType: MEDIA_TYPES.ociIndex }],
      [{ ...image, mediaType: 'application/vnd.docker.distribution.manifest.v1+json' }],
      [{ ...image, schemaVersion: 1 }],
      [{ ...image, layers: [{ ...config, size: -1 }] }],
      [{ ...image, layers: [{ ...config, digest: 'sha512:00' }] }],
      [{ ...image, annotations: { a: 1 } }],
      [[]],
    ]
    for (const [document, declared] of bad)
      t.throws(() => parse(document, declared), { code: 'MANIFEST_INVALID' })
    t.throws(() => parse({ ...image, layers: Array(1_001).fill(config) }), { code: 'TOO_LARGE' })
    t.throws(() => parseManifest(new Uint8Array(4 * 1024 * 1024 + 1)), { code: 'TOO_LARGE' })
    t.throws(() => parseManifest(utf8('{"schemaVersion":2,"schemaVersion":2}')), {
      code: 'MANIFEST_INVALID',
    })
    t.end()
  },
)

await t.test('writes the manifests of cosign 3', (t) => {
  const subject = { mediaType: MEDIA_TYPES.ociManifest, size: 7, digest: digestOf(utf8('subject')) }
  const { manifest, descriptor } = buildBundleReferrer({
    bundle: utf8('{"b":1}'),
    subject,
    predicateType: 'https://p',
    created: new Date(1_000),
  })
  const bundle = 'application/vnd.dev.sigstore.bundle.v0.3+json'
  const empty = 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'
  t.equal(
    Buffer.from(manifest).toString(),
    `{"schemaVersion":2,"mediaType":"${MEDIA_TYPES.ociManifest}","config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"${empty}","artifactType":"${bundle}"},` +
      `"layers":[{"mediaType":"${bundle}","size":7,"digest":"${digestOf(utf8('{"b":1}'))}"}],"annotations":{"dev.sigstore.bundle.content":"dsse-envelope",` +
      `"dev.sigstore.bundle.predicateType":"https://p","org.opencontainers.image.created":"1970-01-01T00:00:01Z"},` +
      `"subject":{"mediaType":"${subject.mediaType}","size":7,"digest":"${subject.digest}"},"artifactType":"${bundle}"}`,
  )
  t.equal(descriptor.digest, digestOf(manifest))
  t.end()
})

await t.test('writes signatures into a layout as cosign does, and marks the image', async (t) => {
  const directory = await temporary(t)
  await initLayout(directory)
  const repository = await openLayoutRepository(directory)
  const { digest } = await pushImage(repository, 'v1')
  const payload = utf8(
    `{"critical":{"identity":{"docker-reference":"example.com/test/image"},"image":{"docker-manifest-digest":"sha256:${'d34db33f'.repeat(8)}"},"type":"cosign container image signature"},"optional":null}`,
  )
  const layer = { mediaType: MEDIA_TYPES.simpleSigning, blob: payload, annotations: {} }
  await appendLegacyLayer(repository, digest, 'sig', layer, () => false)
  const stored = await repository.readManifestByTag(legacyTag(digest, 'sig'))
  // Digest of the config that cosign itself writes for this payload.
  t.match(stored?.manifest, {
    config: {
      size: 233,
      digest: 'sha256:ed9f82fd92b3969fa63729a6c6aac99c071191146edaec4256a79ce8c19550b4',
    },
  })
  const index = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8')) as {
    manifests: { annotations: object }[]
  }
  t.same(
    index.manifests.map(({ annotations }) => annotations),
    [
      { 'org.opencontainers.image.ref.name': 'v1', kind: 'dev.cosignproject.cosign/image' },
      {
        'org.opencontainers.image.ref.name': legacyTag(digest, 'sig'),
        kind: 'dev.cosignproject.cosign/sigs',
      },
    ],
  )
  t.equal((await repository.resolveOnly()).digest, digest)
  await pushImage(repository, 'v2')
  await t.rejects(repository.resolveOnly(), { code: 'DIGEST_REQUIRED' })
})

await t.test('refuses layouts that lead elsewhere or are none', async (t) => {
  const directory = await temporary(t)
  await t.rejects(openLayoutRepository(directory), { code: 'LAYOUT_INVALID' })
  await t.rejects(openLayoutRepository(join(directory, 'absent')), { code: 'LAYOUT_INVALID' })
  await initLayout(directory)
  const repository = await openLayoutRepository(directory)
  const { digest, size } = await repository.writeBlob(utf8('inside'))
  const blob = join(directory, 'blobs', 'sha256', digest.slice(7))
  await writeFile(blob, 'others')
  await t.rejects(repository.readBlob({ digest, size }, 100), { code: 'DIGEST_MISMATCH' })
  await rename(blob, join(directory, 'elsewhere'))
  await symlink(join(directory, 'elsewhere'), blob)
  await t.rejects(repository.readBlob({ digest, size }, 100), { code: 'LAYOUT_INVALID' })
  t.equal(await repository.hasBlob(digest), false)
  await rename(join(directory, 'blobs', 'sha256'), join(directory, 'moved'))
  await symlink(join(directory, 'moved'), join(directory, 'blobs', 'sha256'))
  await t.rejects(openLayoutRepository(directory), { code: 'LAYOUT_INVALID' })
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}')
  await t.rejects(openLayoutRepository(directory), { code: 'LAYOUT_INVALID' })
})

await t.test('takes over the lock of a process that has ended', async (t) => {
  const directory = await temporary(t)
  await mkdir(join(directory, 'layout'))
  await initLayout(join(directory, 'layout'))
  const repository = await openLayoutRepository(join(directory, 'layout'))
  const lock = join(directory, 'layout', '.airseal.lock')
  let held = ''
  await repository.exclusively('v1', async () => {
    held = await readFile(lock, 'utf8')
  })
  await writeFile(lock, held.replace(/"started":"[0-9]+"/, '"started":"1"'))
  await pushImage(repository, 'v1')
  t.ok(await repository.resolveTag('v1'))
})

async function temporary(t: { teardown(work: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-layout-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

await t.test(
  'of limited work, no more runs at a time, and a failure frees its place',
  async (t) => {
    const limited = limiter(2)
    let running = 0
    let most = 0
    const results = await Promise.allSettled(
      Array.from({ length: 9 }, (_, n) =>
        limited(async () => {
          running++
          most = Math.max(most, running)
          await delay(2)
          running--
          if (n % 3 === 0) throw new Error('no')
          return n
        }),
      ),
    )
    t.equal(most, 2)
    t.equal(running, 0)
    t.equal(results.filter(({ status }) => status === 'rejected').length, 3)
  },
)
