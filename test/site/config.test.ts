import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig, parseListen } from '../../src/config.ts'
import { toPem } from '../../src/core/index.ts'
import { registrySettings } from '../../src/registry-settings.ts'
import { issue } from '../support/certificates.ts'
import { temporaryDirectory } from '../support/site.ts'

const directory = await temporaryDirectory(t)

async function load(yaml: string, overrides = {}): ReturnType<typeof loadConfig> {
  const path = join(directory, 'airseal.yaml')
  await writeFile(path, yaml)
  return loadConfig(path, overrides)
}

await t.test('defaults: loopback, both formats, an open log, 32 MiB bodies', async (t) => {
  t.match(await loadConfig(null), {
    listen: { host: '127.0.0.1', port: 8470 },
    signatures: 'both',
    logWrites: 'open',
    maxBodyBytes: 33554432,
    tls: null,
    tokensFile: null,
  })
})

await t.test('paths are taken relative to the configuration file', async (t) => {
  const config = await load('tokensFile: tokens\nregistries:\n  caFile: /etc/ca.pem\n')
  t.equal(config.tokensFile, join(directory, 'tokens'))
  t.equal(config.registries.caFile, '/etc/ca.pem')
})

await t.test('unknown, misspelt, doubled and mistyped fields are refused, by name', async (t) => {
  for (const [yaml, name] of [
    ['lisen: 127.0.0.1:1', 'lisen'],
    ['registries:\n  plainHTTP: [a]', 'plainHTTP'],
    ['tls:\n  certFile: a', 'keyFile'],
    ['signatures: new', 'signatures'],
    ['maxBodyBytes: "12"', 'maxBodyBytes'],
    ['maxBodyBytes: -1', 'maxBodyBytes'],
    ['layoutRoots: /a', 'layoutRoots'],
    ['listen: 127.0.0.1', 'listen'],
    ['publicUrl: ftp://x', 'publicUrl'],
    ['publicUrl: http://x/path', 'publicUrl'],
    ['listen: 127.0.0.1:1\nlisten: 127.0.0.1:2', 'unique'],
    ['- a', 'set of fields'],
    ['a: &a [1]\nb: *a', ''],
  ] as const) {
    await t.rejects(load(yaml), { code: 'CONFIG_INVALID', message: new RegExp(name) }, yaml)
  }
})

await t.test('an address that others can reach needs TLS and tokens', async (t) => {
  await t.rejects(load('listen: 0.0.0.0:8470'), {
    code: 'CONFIG_INVALID',
    message: /tls and tokensFile/,
  })
  await t.rejects(load('listen: 0.0.0.0:8470\ntokensFile: t'), {
    code: 'CONFIG_INVALID',
    message: /so tls must/,
  })
  await t.rejects(load('{}', { listen: '[::]:8470' }), { code: 'CONFIG_INVALID' })
  t.match(await load('listen: 0.0.0.0:8470\ntokensFile: t\ntls: {certFile: c, keyFile: k}'), {
    listen: { host: '0.0.0.0' },
  })
})

await t.test('the command line beats the file', async (t) => {
  t.match(await load('listen: 127.0.0.1:1', { listen: '127.0.0.2:2' }), {
    listen: { host: '127.0.0.2', port: 2 },
  })
})

await t.test('reads IPv6 addresses in brackets and refuses odd ports', (t) => {
  t.strictSame(parseListen('[::1]:80'), { host: '::1', port: 80 })
  for (const text of ['[::1]', 'host:', 'host:99999', ':80', 'a b:80', '127.0.0.1:0x50']) {
    t.throws(() => parseListen(text), { code: 'CONFIG_INVALID' }, text)
  }
  t.end()
})

await t.test('a file of certificate authorities holds certificates, whole ones', async (t) => {
  const path = join(directory, 'ca.pem')
  const { registries } = await load(
    `registries:\n  caFile: ${path}\n  forceHttps: ['127.0.0.1:1']\n`,
  )
  const { der } = issue({ name: 'root', issuer: null, from: 0, to: 1e12, extensions: [] })
  const good = toPem('CERTIFICATE', der)
  for (const text of [
    '',
    'no certificate',
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    `${good}\n${good.slice(0, 200)}`,
  ]) {
    await writeFile(path, text)
    await t.rejects(registrySettings(registries), { code: 'CONFIG_INVALID', message: /ca\.pem/ })
  }
  await writeFile(path, `${good}${good}`)
  t.match(await registrySettings(registries), { ca: `${good}${good}`, forceHttps: ['127.0.0.1:1'] })
})
