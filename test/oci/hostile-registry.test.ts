import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { digestOf, parseDigest, utf8 } from '../../src/core/index.ts'
import {
  DEFAULT_REGISTRY_SETTINGS,
  MEDIA_TYPES,
  openRegistryRepository,
  readBundles,
  readLegacyLayers,
  type RegistrySettings,
} from '../../src/oci/index.ts'
import { startFakeServer } from './support/hostile-registry.ts'

const config = { mediaType: MEDIA_TYPES.ociConfig, size: 2, digest: digestOf(utf8('{}')) }
const image = (extra: object = {}) =>
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config,
    layers: [],
    ...extra,
  })
const IMAGE = utf8(image())
const DIGEST = digestOf(IMAGE)
const QUICK: RegistrySettings = {
  ...DEFAULT_REGISTRY_SETTINGS,
  timeoutMs: 600,
  idleTimeoutMs: 300,
  connectTimeoutMs: 300,
}

const registry = await startFakeServer()
const other = await startFakeServer()
t.teardown(() => Promise.all([registry.stop(), other.stop()]))
t.beforeEach(() => {
  registry.requests.length = 0
  other.requests.length = 0
})

function open(settings: Partial<RegistrySettings> = {}) {
  return openRegistryRepository(
    { registry: registry.host, repository: 'team/app' },
    { ...QUICK, ...settings },
  )
}

function sends(body: string | Uint8Array, headers: Record<string, string> = {}) {
  registry.answer = (_request, response) => {
    response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest, ...headers }).end(body)
  }
}

await t.test('refuses manifests that are not what was asked for', async (t) => {
  sends(image({ annotations: { changed: 'yes' } }))
  await t.rejects(open().readManifest(DIGEST), { code: 'DIGEST_MISMATCH' })
  sends(IMAGE, { 'docker-content-digest': `sha256:${'1'.repeat(64)}` })
  await t.rejects(open().readManifest(DIGEST), { code: 'DIGEST_MISMATCH' })
  await t.rejects(open().resolveTag('v1'), { code: 'DIGEST_MISMATCH' })
  sends(IMAGE, { 'content-type': MEDIA_TYPES.ociIndex })
  await t.rejects(open().readManifest(DIGEST), { code: 'MANIFEST_INVALID' })
  sends(image({ manifests: [] }))
  await t.rejects(open().resolveTag('v1'), { code: 'MANIFEST_INVALID' })
  sends('<html>', { 'content-type': 'text/html' })
  await t.rejects(open().resolveTag('v1'), { code: 'MANIFEST_INVALID' })
})

await t.test('bounds size and time of answers', async (t) => {
  sends(gzipSync(Buffer.alloc(50_000_000)), { 'content-encoding': 'gzip' })
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_REFUSED' })
  sends(IMAGE, { 'content-length': '5000000' })
  await t.rejects(open().resolveTag('v1'), { code: 'TOO_LARGE' })
  registry.answer = (_request, response) => {
    endless(response)
  }
  await t.rejects(open().readBlob({ digest: DIGEST, size: 10 }, 100), { code: 'TOO_LARGE' })
  registry.answer = (_request, response) => {
    drip(response)
  }
  const before = performance.now()
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_UNREACHABLE' })
  t.ok(performance.now() - before < 1_500, 'ends with the time of the settings')
  registry.answer = () => undefined
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_UNREACHABLE' })
  registry.answer = (_request, response) => response.socket?.destroy()
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_UNREACHABLE' })
  sends(IMAGE.subarray(0, 10), { 'content-length': String(IMAGE.length) })
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_UNREACHABLE' })
})

await t.test('gives up when it is told to', async (t) => {
  registry.answer = () => undefined
  const stop = new AbortController()
  const repository = openRegistryRepository(
    { registry: registry.host, repository: 'team/app' },
    DEFAULT_REGISTRY_SETTINGS,
    { signal: stop.signal },
  )
  setTimeout(() => {
    stop.abort()
  }, 50)
  await t.rejects(repository.resolveTag('v1'), { code: 'REGISTRY_UNREACHABLE' })
})

await t.test('tries again what is worth it, and heeds Retry-After', async (t) => {
  let asked = 0
  registry.answer = (_request, response) => {
    asked++
    if (asked < 3) response.writeHead(503).end()
    else response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest }).end(IMAGE)
  }
  t.equal((await open({ timeoutMs: 5_000 }).resolveTag('v1')).digest, DIGEST)
  registry.answer = (_request, response) => response.writeHead(429, { 'retry-after': '3600' }).end()
  registry.requests.length = 0
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_UNREACHABLE' })
  t.equal(registry.requests.length, 1, 'not before the hour is over')
  registry.answer = (_request, response) =>
    response.writeHead(500).end('{"errors":[{"code":"UNKNOWN"}]}')
  await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_ERROR', message: /500, UNKNOWN/ })
})

await t.test(
  'follows redirects only where the settings allow, and without credentials',
  async (t) => {
    const blob = utf8('blob')
    const wanted = { digest: digestOf(blob), size: 4 }
    other.answer = (_request, response) => response.writeHead(200).end(blob)
    const to = (location: string, status = 307) => {
      registry.answer = (_request, response) => response.writeHead(status, { location }).end()
    }
    to(`http://${other.host}/x`)
    await t.rejects(open().readBlob(wanted, 100), { code: 'REGISTRY_REFUSED' })
    await t.rejects(
      open({ allowRedirectHosts: [other.host] }).resolveTag('v1'),
      { code: 'REGISTRY_REFUSED' },
      'blobs only',
    )
    for (const location of [
      'http://169.254.169.254/',
      'http://[::ffff:127.0.0.1]/',
      'file:///etc/passwd',
      'http://u:p@localhost/',
      'http://',
      '',
    ]) {
      to(location)
      await t.rejects(open().readBlob(wanted, 100), { code: 'REGISTRY_REFUSED' }, location)
    }
    t.equal(other.requests.length, 0, 'nobody else was asked')
    to('/v2/again')
    registry.requests.length = 0
    await t.rejects(open().readBlob(wanted, 100), { code: 'REGISTRY_REFUSED' })
    t.equal(registry.requests.length, 4, 'at most three')

    registry.answer = (request, response) => {
      if (request.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      else response.writeHead(302, { location: `http://${other.host}/store` }).end()
    }
    const directory = await dockerConfig(t, {
      auths: { [registry.host]: { auth: Buffer.from('me:secret').toString('base64') } },
    })
    const settings = { allowRedirectHosts: [other.host], dockerConfigDirectory: directory }
    t.equal(Buffer.from(await open(settings).readBlob(wanted, 100)).toString(), 'blob')
    t.equal(other.requests[0]?.authorization, undefined)
  },
)

await t.test('never goes to link-local addresses or past the list of registries', async (t) => {
  for (const host of ['169.254.169.254', '0.0.0.0', '[fe80::1]', '[::ffff:169.254.169.254]']) {
    const repository = openRegistryRepository(
      { registry: host, repository: 'x' },
      { ...QUICK, plainHttp: [host] },
    )
    await t.rejects(repository.resolveTag('v1'), { code: 'REGISTRY_REFUSED' }, host)
  }
  t.throws(() => open({ allowHosts: ['registry.corp'] }), { code: 'REGISTRY_REFUSED' })
  await t.rejects(
    open({ forceHttps: [registry.host] }).resolveTag('v1'),
    { code: 'REGISTRY_TLS' },
    'no way back to http',
  )
})

await t.test(
  'answers Basic and Bearer challenges with the credentials of exactly this host',
  async (t) => {
    registry.answer = (request, response) => {
      const expected = `Basic ${Buffer.from('me:secret:1').toString('base64')}`
      if (request.authorization === expected)
        response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest }).end(IMAGE)
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end()
    }
    const auth = Buffer.from('me:secret:1').toString('base64')
    const right = await dockerConfig(t, { auths: { [`https://${registry.host}/v2/`]: { auth } } })
    t.equal((await open({ dockerConfigDirectory: right }).resolveTag('v1')).digest, DIGEST)
    const wrong = await dockerConfig(t, {
      auths: {
        [`${registry.host}0`]: { auth },
        '127.0.0.1': { auth },
        [`x${registry.host}`]: { auth },
      },
    })
    await t.rejects(open({ dockerConfigDirectory: wrong }).resolveTag('v1'), {
      code: 'REGISTRY_AUTH',
    })
    t.equal(registry.requests.at(-1)?.authorization, undefined)

    other.answer = (request, response) => {
      const token = request.authorization?.startsWith('Basic ') === true ? 'good' : 'anonymous'
      response.writeHead(200).end(JSON.stringify({ token, expires_in: 300 }))
    }
    const challenge = `Bearer realm="http://${other.host}/token",service="registry \\"one\\"",scope="repository:all:*"`
    registry.answer = (request, response) => {
      if (request.authorization === 'Bearer good')
        response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest }).end(IMAGE)
      else response.writeHead(401, { 'www-authenticate': challenge }).end()
    }
    const repository = open({ dockerConfigDirectory: right, allowRealms: [other.host] })
    await repository.resolveTag('v1')
    await repository.resolveTag('v2')
    t.equal(other.requests.length, 1, 'the token is kept')
    const asked = new URL(other.requests[0]?.path ?? '', 'http://x')
    t.equal(
      asked.searchParams.get('scope'),
      'repository:team/app:pull',
      'our scope, not the one of the challenge',
    )
    t.equal(asked.searchParams.get('service'), 'registry "one"')
    await t.rejects(
      open({ allowRealms: [other.host] }).resolveTag('v1'),
      { code: 'REGISTRY_AUTH' },
      'anonymous is not enough',
    )
  },
)

await t.test(
  'hands identity tokens and the answers of credential helpers to the token server',
  async (t) => {
    other.answer = (request, response) =>
      response
        .writeHead(request.body.includes('refresh_token=id-1') ? 200 : 401)
        .end('{"access_token":"good"}')
    registry.answer = (request, response) => {
      if (request.authorization === 'Bearer good')
        response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest }).end(IMAGE)
      else
        response
          .writeHead(401, { 'www-authenticate': `Bearer realm="http://${other.host}/token"` })
          .end()
    }
    const plain = await dockerConfig(t, { auths: { [registry.host]: { identitytoken: 'id-1' } } })
    t.equal(
      (await open({ dockerConfigDirectory: plain, allowRealms: [other.host] }).resolveTag('v1'))
        .digest,
      DIGEST,
    )

    const helped = await dockerConfig(t, { credHelpers: { [registry.host]: 'airseal-test' } })
    const helper = join(helped, 'docker-credential-airseal-test')
    await writeFile(
      helper,
      `#!/bin/sh\nread server\n[ "$server" = ${registry.host} ] && echo '{"Username":"<token>","Secret":"id-1"}'\n`,
    )
    await chmod(helper, 0o755)
    const path = process.env['PATH']
    process.env['PATH'] = `${helped}${delimiter}${path}`
    t.teardown(() => {
      process.env['PATH'] = path
    })
    t.equal(
      (await open({ dockerConfigDirectory: helped, allowRealms: [other.host] }).resolveTag('v1'))
        .digest,
      DIGEST,
    )
    const evil = await dockerConfig(t, { credsStore: '../../bin/sh' })
    await t.rejects(
      open({ dockerConfigDirectory: evil, allowRealms: [other.host] }).resolveTag('v1'),
      { code: 'REGISTRY_AUTH' },
    )
  },
)

await t.test(
  'asks no token of a realm elsewhere, without TLS or with credentials in it',
  async (t) => {
    const realms = [
      `http://${other.host}/token`,
      'http://auth.corp/',
      `http://u:p@${registry.host}/`,
      'nowhere',
      `https://${registry.host}.evil/`,
    ]
    for (const realm of realms) {
      registry.answer = (_request, response) =>
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end()
      await t.rejects(
        open({ allowRealms: ['auth.corp'] }).resolveTag('v1'),
        { code: 'REGISTRY_REFUSED' },
        realm,
      )
    }
    t.equal(other.requests.length, 0)
    for (const challenge of ['', 'Digest realm="x"', `Bearer ${'x'.repeat(5_000)}`, 'Basic']) {
      registry.answer = (_request, response) =>
        response.writeHead(401, { 'www-authenticate': challenge }).end()
      await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_AUTH' }, challenge.slice(0, 20))
    }
    registry.answer = (_request, response) =>
      response.writeHead(403).end('{"errors":[{"code":"DENIED"}]}')
    await t.rejects(open().resolveTag('v1'), { code: 'REGISTRY_AUTH' })
  },
)

await t.test('follows pages of referrers on the same path, and bounds them', async (t) => {
  const entry = (n: number) => ({
    mediaType: MEDIA_TYPES.ociManifest,
    size: 1,
    digest: digestOf(utf8(String(n))),
  })
  const page = (manifests: object[]) =>
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })
  const pages = (
    link: (path: string) => string | undefined,
    manifests: (path: string) => object[],
  ) => {
    registry.answer = ({ path }, response) => {
      const next = link(path)
      response.writeHead(200, {
        'content-type': MEDIA_TYPES.ociIndex,
        ...(next === undefined ? {} : { link: next }),
      })
      response.end(page(manifests(path)))
    }
  }
  pages(
    (path) => (path.includes('?') ? undefined : `<${path}?last=1>; rel="next"`),
    (path) => [entry(path.length)],
  )
  t.equal((await open().referrers(DIGEST)).descriptors.length, 2)
  pages(
    (path) => `<${path}>; rel="next"`,
    () => [entry(1)],
  )
  await t.rejects(open().referrers(DIGEST), { code: 'REGISTRY_REFUSED' })
  for (const link of [
    `<http://${other.host}/v2/>; rel="next"`,
    '</v2/other/referrers/x>; rel=next',
    '<http://>; rel="next"',
  ]) {
    pages(
      () => link,
      () => [entry(1)],
    )
    await t.rejects(open().referrers(DIGEST), { code: 'REGISTRY_REFUSED' }, link)
  }
  let n = 0
  pages(
    (path) => `<${path.split('?')[0]}?n=${n++}>; rel="next"`,
    () => [entry(n)],
  )
  await t.rejects(open().referrers(DIGEST), { code: 'TOO_LARGE' })
  pages(
    () => undefined,
    () => Array.from({ length: 1_001 }, (_, each) => entry(each)),
  )
  await t.rejects(open().referrers(DIGEST), { code: 'TOO_LARGE' })
  t.equal(other.requests.length, 0)
})

await t.test(
  'opens referrers, whatever the list says of them, and passes over those of other subjects',
  async (t) => {
    const bundle = utf8('{"bundle":1}')
    const layer = { mediaType: MEDIA_TYPES.bundle, size: bundle.length, digest: digestOf(bundle) }
    const subject = { mediaType: MEDIA_TYPES.ociManifest, size: 1, digest: DIGEST }
    const stored = [
      image({ layers: [layer], subject }),
      image({ layers: [layer, layer], subject }),
      image({ layers: [layer], subject: { ...subject, digest: digestOf(bundle) } }),
      image({ layers: [{ ...layer, mediaType: 'text/spdx' }], subject }),
      'rubbish',
    ].map(utf8)
    const gone = parseDigest(`sha256:${'2'.repeat(64)}`)
    const manifests = [...stored.map(digestOf), gone].map((digest) => ({
      mediaType: MEDIA_TYPES.ociManifest,
      size: 9,
      digest,
      artifactType: MEDIA_TYPES.ociEmpty,
    }))
    registry.answer = ({ path }, response) => {
      const found = [...stored, bundle].find((bytes) => path.endsWith(digestOf(bytes)))
      if (path.includes('/referrers/')) response.writeHead(404).end()
      else if (path.endsWith(DIGEST.replace(':', '-'))) {
        response
          .writeHead(200, { 'content-type': MEDIA_TYPES.ociIndex })
          .end(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }))
      } else if (found === undefined) response.writeHead(404).end()
      else response.writeHead(200, { 'content-type': 'application/json' }).end(found)
    }
    const found = await readBundles(open({ timeoutMs: 5_000 }), DIGEST)
    t.equal(found.length, 1)
    t.equal(found[0]?.descriptor.digest, layer.digest)
  },
)

await t.test('refuses too many signatures and too much of them', async (t) => {
  const layer = { mediaType: MEDIA_TYPES.simpleSigning, size: 3, digest: digestOf(utf8('one')) }
  sends(image({ layers: Array.from({ length: 1_001 }, () => layer) }))
  await t.rejects(readLegacyLayers(open(), DIGEST, 'sig'), { code: 'TOO_LARGE' })
  sends(image({ layers: [{ ...layer, size: 2 ** 30 }] }))
  await t.rejects(readLegacyLayers(open(), DIGEST, 'sig'), { code: 'TOO_LARGE' })
  sends(image({ layers: [{ ...layer, size: 17 * 2 ** 20 }] }))
  await t.rejects(readLegacyLayers(open(), DIGEST, 'sig'), { code: 'TOO_LARGE' })
  // One blob that every layer names is fetched once and judged once a layer.
  sends(image({ layers: Array.from({ length: 5 }, () => ({ ...layer, size: 15 * 2 ** 20 })) }))
  await t.rejects(readLegacyLayers(open(), DIGEST, 'att'), { code: 'TOO_LARGE' })
  sends(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [] }), {
    'content-type': MEDIA_TYPES.ociIndex,
  })
  await t.rejects(readLegacyLayers(open(), DIGEST, 'sig'), { code: 'MANIFEST_INVALID' })
})

function endless(response: ServerResponse): void {
  response.writeHead(200)
  const more = () => {
    while (!response.destroyed && response.write(Buffer.alloc(65_536)));
  }
  response.on('drain', more)
  more()
}

function drip(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': MEDIA_TYPES.ociManifest })
  const timer = setInterval(() => response.write(' '), 50)
  response.on('close', () => {
    clearInterval(timer)
  })
}

async function dockerConfig(
  t: { teardown(work: () => Promise<void>): void },
  content: object,
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-docker-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await writeFile(join(directory, 'config.json'), JSON.stringify(content))
  return directory
}
