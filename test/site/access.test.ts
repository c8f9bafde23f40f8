import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { call, errorCodeOf } from '../support/call.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import {
  AIRSEAL,
  freePort,
  run,
  startSite,
  temporaryDirectory,
  type Site,
} from '../support/site.ts'
import { pushTiny, tinyLayout } from '../support/tiny-layout.ts'

t.setTimeout(300_000)
const directory = await temporaryDirectory(t)
const registry = await startPlainRegistry()
t.teardown(() => registry.stop())
const images = await pushTiny(`${registry.address}/team/app`, ['a', 'b', 'c', 'd', 'e'])
const [first = '', second = '', third = '', fourth = '', fifth = ''] = images

/** A site with a configuration file in its directory. */
async function configured(name: string, yaml: string, args: readonly string[] = []): Promise<Site> {
  const data = join(directory, name)
  await mkdir(data, { mode: 0o700 })
  await writeFile(join(data, 'airseal.yaml'), yaml)
  const site = await startSite(data, args)
  t.teardown(() => site.stop('SIGKILL'))
  return site
}

const SIGN = '/v1/sign'
const TOKEN = 'a-token-of-more-than-20-characters'

await t.test(
  'without tokens, processes of this machine may sign; what a browser was misled to may not',
  async (t) => {
    const site = await configured('open', '{}')
    const body = { images: [first] }
    const rebound = await call(`${site.url}${SIGN}`, { body, headers: { host: 'evil.example:80' } })
    t.equal(rebound.status, 403)
    t.equal(errorCodeOf(rebound), 'FORBIDDEN')
    for (const host of [
      '127.0.0.1.evil.example',
      'localhost.evil.example:8470',
      '[::2]',
      '0.0.0.0',
    ]) {
      t.equal((await call(`${site.url}${SIGN}`, { body, headers: { host } })).status, 403, host)
    }
    t.equal((await call(`${site.url}/api/v1/log`)).status, 200)
    t.match(await call(`${site.url}/api/v1/log`), { json: { treeSize: 0 } }, 'nothing was signed')
    const forwarded = { 'x-forwarded-for': '10.0.0.1', forwarded: 'for=10.0.0.1' }
    t.equal(
      (await call(`${site.url}${SIGN}`, { body, headers: forwarded })).status,
      200,
      'headers name nobody',
    )
    const port = new URL(site.url).port
    t.equal(
      (await call(`${site.url}${SIGN}`, { body, headers: { host: `localhost:${port}` } })).status,
      200,
    )
  },
)

await t.test(
  'layouts can be named through the socket, over the network only below layoutRoots',
  async (t) => {
    const roots = join(directory, 'roots')
    const outside = join(directory, 'outside')
    await mkdir(roots)
    const [inside = ''] = await tinyLayout(join(roots, 'layout'), ['a'])
    const [beyond = ''] = await tinyLayout(outside, ['b'])
    await symlink(outside, join(roots, 'escape'))
    const digest = beyond.slice(beyond.indexOf('@'))
    const site = await configured('layouts', `layoutRoots: ["${roots}"]\n`)
    for (const image of [
      beyond,
      `oci:${roots}/escape${digest}`,
      `oci:${roots}/../outside${digest}`,
      `oci:${roots}/none${digest}`,
    ]) {
      for (const operation of ['sign', 'verify', 'attest']) {
        const members = operation === 'attest' ? { type: 'custom', predicate: {} } : {}
        const answer = await call(`${site.url}/v1/${operation}`, {
          body: { images: [image], ...members },
        })
        t.equal(answer.status, 403, `${operation} ${image}`)
        t.equal(errorCodeOf(answer), 'LAYOUT_FORBIDDEN')
      }
    }
    t.equal((await call(`${site.url}${SIGN}`, { body: { images: [inside] } })).status, 200)
    t.equal((await site.airseal(['sign', beyond])).code, 0, 'the operator names any')

    const closed = await configured('no-layouts', '{}')
    t.equal(
      errorCodeOf(await call(`${closed.url}${SIGN}`, { body: { images: [inside] } })),
      'LAYOUT_FORBIDDEN',
    )
    const remote = await run(AIRSEAL, ['sign', '--server', closed.url, inside])
    t.equal(remote.code, 1, remote.stderr)
    t.match(remote.stderr, 'LAYOUT_FORBIDDEN')
  },
)

await t.test(
  'with tokens, nobody signs without one; reading and verifying stay open',
  async (t) => {
    await writeFile(join(directory, 'tokens'), `# for the pipeline\nci ${TOKEN}\n`, { mode: 0o600 })
    const site = await configured('tokens-site', `tokensFile: ${join(directory, 'tokens')}\n`)
    const sign = (authorization?: string) =>
      call(`${site.url}${SIGN}`, {
        body: { images: [second] },
        headers: authorization === undefined ? {} : { authorization },
      })
    for (const authorization of [
      undefined,
      'Bearer wrong-token-of-more-than-20-characters',
      `Basic ${TOKEN}`,
      'Bearer',
      `Bearer ${TOKEN}x`,
    ]) {
      const answer = await sign(authorization)
      t.equal(answer.status, 401, authorization ?? 'none')
      t.equal(errorCodeOf(answer), 'UNAUTHENTICATED')
      t.equal(answer.headers['www-authenticate'], 'Bearer')
    }
    t.equal(
      (await call(`${site.url}${SIGN}?access_token=${TOKEN}`, { body: { images: [second] } }))
        .status,
      401,
      'not in the URL',
    )
    t.equal((await sign(`Bearer ${TOKEN}`)).status, 200)
    t.equal((await call(`${site.url}/v1/verify`, { body: { images: [second] } })).status, 200)
    t.notMatch(site.printed(), TOKEN)

    const remote = (args: readonly string[], env: Record<string, string> = {}) =>
      run(AIRSEAL, ['sign', '--server', site.url, ...args], { env, cwd: directory })
    const refused = await remote([third])
    t.equal(refused.code, 1)
    t.match(refused.stderr, 'UNAUTHENTICATED')
    t.equal((await remote([third], { AIRSEAL_TOKEN: TOKEN })).code, 0)
    await writeFile(join(directory, 'token'), `${TOKEN}\n`, { mode: 0o600 })
    t.equal((await remote(['--token-file', join(directory, 'token'), fourth])).code, 0)
    t.equal((await run(AIRSEAL, ['verify', '--server', site.url, third, fourth])).code, 0)
  },
)

await t.test('the log may be closed to writers without a token', async (t) => {
  const site = await configured(
    'closed-log',
    `tokensFile: ${join(directory, 'tokens')}\nlogWrites: token\n`,
  )
  const url = `${site.url}/api/v1/log/entries`
  t.equal((await call(url, { body: {} })).status, 401)
  const known = await call(url, { body: {}, headers: { authorization: `Bearer ${TOKEN}` } })
  t.equal(known.status, 422, 'past the door, it is the entry that is wrong')
  t.equal((await call(`${site.url}/api/v1/log`)).status, 200)
})

await t.test(
  'a token file that others can read, or that is malformed, stops the start',
  async (t) => {
    const data = join(directory, 'bad-tokens')
    await mkdir(data, { mode: 0o700 })
    const tokens = join(directory, 'loose-tokens')
    await writeFile(join(data, 'airseal.yaml'), `tokensFile: ${tokens}\n`)
    const start = async () =>
      run(AIRSEAL, ['serve', '--init', '--data', data, '--listen', `127.0.0.1:${await freePort()}`])
    await writeFile(tokens, `ci ${TOKEN}\n`)
    await chmod(tokens, 0o644)
    t.match(await start(), { code: 3, stderr: /DATA_PERMISSIONS/ })
    await chmod(tokens, 0o600)
    await writeFile(tokens, 'ci short\n')
    const { code, stderr } = await start()
    t.equal(code, 2)
    t.match(stderr, /line 1.*\[CONFIG_INVALID\]/)
    t.notMatch(stderr, 'short ')
  },
)

await t.test('an address that others can reach needs TLS and tokens', async (t) => {
  for (const listen of [
    '0.0.0.0:0',
    '[::]:0',
    '192.0.2.1:8470',
    '[::ffff:127.0.0.1]:0',
    'localhost.:0',
  ]) {
    const { code, stderr } = await run(AIRSEAL, [
      'serve',
      '--init',
      '--data',
      join(directory, 'exposed'),
      '--listen',
      listen,
    ])
    t.equal(code, 2, listen)
    t.match(stderr, /tls and tokensFile.*\[CONFIG_INVALID\]/)
  }

  const cert = join(directory, 'cert.pem')
  const key = join(directory, 'key.pem')
  const made = await run('openssl', [
    ...[
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
    ],
    ...[
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-keyout',
      key,
      '-out',
      cert,
    ],
  ])
  t.equal(made.code, 0, made.stderr)
  await chmod(key, 0o600)
  const data = join(directory, 'tls')
  const port = await freePort()
  await mkdir(data, { mode: 0o700 })
  // Loopback all the same, but written so that airseal does not take it for that.
  await writeFile(
    join(data, 'airseal.yaml'),
    [
      `publicUrl: https://localhost:${port}`,
      `tokensFile: ${join(directory, 'tokens')}`,
      `tls: { certFile: ${cert}, keyFile: ${key} }`,
      '',
    ].join('\n'),
  )
  const site = await startSite(data, ['--listen', `[::ffff:127.0.0.1]:${port}`])
  t.teardown(() => site.stop('SIGKILL'))
  const url = `https://127.0.0.1:${port}`
  const ca = await readFile(cert, 'utf8')
  t.match(site.printed(), `airseal serves https://localhost:${port}`)
  t.equal((await call(`${url}/readyz`, { ca })).status, 200)
  await t.rejects(call(`http://127.0.0.1:${port}/readyz`), 'plain HTTP gets nothing')
  t.equal((await call(`${url}${SIGN}`, { ca, body: { images: [fifth] } })).status, 401)
  const authorization = `Bearer ${TOKEN}`
  t.equal(
    (await call(`${url}${SIGN}`, { ca, body: { images: [fifth] }, headers: { authorization } }))
      .status,
    200,
  )
  const remote = ['--server', `https://localhost:${port}`, '--cacert', cert]
  t.equal(
    (await run(AIRSEAL, ['sign', ...remote, fifth], { env: { AIRSEAL_TOKEN: TOKEN } })).code,
    0,
  )
  const untrusted = await run(AIRSEAL, ['sign', '--server', `https://localhost:${port}`, fifth], {
    env: { AIRSEAL_TOKEN: TOKEN },
  })
  t.match(untrusted, { code: 3, stderr: /SERVER_UNREACHABLE/ })
  await chmod(key, 0o644)
  await site.stop()
  const loose = await run(AIRSEAL, [
    'serve',
    '--data',
    data,
    '--listen',
    `[::ffff:127.0.0.1]:${port}`,
  ])
  t.match(loose, { code: 3, stderr: /DATA_PERMISSIONS/ })

  await chmod(key, 0o600)
  for (const [certFile, keyFile] of [
    ['/nowhere', key],
    [key, key],
    [cert, join(directory, 'tokens')],
  ] as const) {
    const config = join(directory, 'wrong-tls.yaml')
    await writeFile(config, `tls: { certFile: ${certFile}, keyFile: ${keyFile} }\n`)
    const wrong = await run(AIRSEAL, [
      ...['serve', '--data', data, '--config', config, '--listen', `127.0.0.1:${port}`],
    ])
    t.match(wrong, { code: 2, stderr: /^airseal: tls: .*\[CONFIG_INVALID\]/ }, wrong.stderr)
  }
})

await t.test(
  'a server that is not there, or is not airseal, is told from one that refuses',
  async (t) => {
    const nobody = await run(AIRSEAL, [
      'sign',
      '--server',
      `http://127.0.0.1:${await freePort()}`,
      first,
    ])
    t.match(nobody, { code: 3, stderr: /SERVER_UNREACHABLE/ })
    const other = await run(AIRSEAL, ['sign', '--server', `http://${registry.address}`, first])
    t.match(other, { code: 3, stderr: /SERVER_UNREACHABLE/ })
    const wrong = await run(AIRSEAL, ['sign', '--server', 'ftp://x', first])
    t.match(wrong, { code: 2, stderr: /USAGE/ })
  },
)
