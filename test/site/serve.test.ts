import { mkdir, readFile, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { call } from '../support/call.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { AIRSEAL, freePort, run, startSite, temporaryDirectory } from '../support/site.ts'
import { pushTiny, tinyLayout } from '../support/tiny-layout.ts'

t.setTimeout(300_000)
const directory = await temporaryDirectory(t)

await t.test('a service that runs', async (t) => {
  const data = join(directory, 'data')
  const site = await startSite(data)
  t.teardown(() => site.stop('SIGKILL'))

  await t.test('says what to type next', async (t) => {
    const printed = site.printed()
    t.match(printed, `airseal serves ${site.url}`)
    for (const line of [
      'airseal sign --data',
      'airseal verify --data',
      'cosign verify --key',
      'rekor-cli loginfo',
      'Every process of this machine may have images signed here, until tokensFile is set',
    ]) {
      t.match(printed, line)
    }
  })

  await t.test('is alive and ready', async (t) => {
    t.match(await call(`${site.url}/healthz`), {
      status: 200,
      json: { status: 'ok', version: String },
    })
    t.match(await call(`${site.url}/readyz`), {
      status: 200,
      json: { ready: true, checks: { checkpoint: /signed and verified/ } },
    })
  })

  await t.test('serves its trust files, byte for byte those on disk', async (t) => {
    for (const name of ['cosign.pub', 'rekor.pub', 'trusted_root.json', 'signing_config.json']) {
      const { status, text } = await call(`${site.url}/v1/trust/${name}`)
      t.equal(status, 200)
      t.equal(text, await readFile(site.file(name), 'utf8'), name)
    }
    for (const name of [
      'cosign.key',
      '..%2fkeys%2fcosign.key',
      '../keys/passphrase',
      '%2e%2e/keys/rekor.key',
    ]) {
      const { status, text } = await call(`${site.url}/v1/trust/${name}`)
      t.equal(status, 404, name)
      t.notMatch(text, /PRIVATE/)
    }
  })

  await t.test('has a socket that only its user can open', async (t) => {
    const socket = await stat(join(data, 'airseal.sock'))
    t.ok(socket.isSocket())
    t.equal(socket.mode & 0o777, 0o600)
    t.equal(
      (await call('http://localhost/healthz', { socketPath: join(data, 'airseal.sock') })).status,
      200,
    )
  })

  await t.test(
    'keeps a second process out, also by another name and also while it is stopped',
    async (t) => {
      const link = join(directory, 'link')
      await symlink(data, link)
      const second = async (path: string): Promise<void> => {
        const listen = `127.0.0.1:${await freePort()}`
        const { code, stderr } = await run(AIRSEAL, ['serve', '--data', path, '--listen', listen])
        t.equal(code, 3, stderr)
        t.match(stderr, /^airseal: .*\[DATA_LOCKED\]\n.*\n$/)
      }
      await second(data)
      await second(link)
      site.process.kill('SIGSTOP')
      try {
        await second(data)
      } finally {
        site.process.kill('SIGCONT')
      }
      t.equal((await call(`${site.url}/readyz`)).status, 200, 'the first goes on')
    },
  )

  await t.test('refuses the address of another, clearly', async (t) => {
    const { code, stderr } = await run(AIRSEAL, [
      'serve',
      '--init',
      '--data',
      join(directory, 'b'),
      '--listen',
      site.url.slice(7),
    ])
    t.equal(code, 2, stderr)
    t.match(stderr, /already in use \[CONFIG_INVALID\]/)
  })
})

await t.test('a service that is stopped does not hang the commands', async (t) => {
  const data = join(directory, 'stopped')
  const site = await startSite(data)
  t.teardown(() => site.stop('SIGKILL'))
  site.process.kill('SIGSTOP')
  const { code, stderr } = await site.airseal(
    ['sign', `oci:${directory}@sha256:${'0'.repeat(64)}`],
    { timeoutMs: 60_000 },
  )
  t.equal(code, 3)
  t.match(stderr, 'SERVER_UNREACHABLE')
})

await t.test('a path longer than a socket address works', async (t) => {
  const deep = join(directory, 'd'.repeat(60), 'e'.repeat(60))
  await mkdir(deep, { recursive: true })
  const data = join(deep, 'data')
  const [image = ''] = await tinyLayout(join(directory, 'layout'), ['a'])
  const site = await startSite(data)
  t.teardown(() => site.stop('SIGKILL'))
  t.ok(Buffer.byteLength(join(data, 'airseal.sock')) > 108)
  t.equal((await stat(join(data, 'airseal.sock'))).mode & 0o777, 0o600)
  const signed = await site.airseal(['sign', image])
  t.equal(signed.code, 0, signed.stderr)
  t.equal((await site.airseal(['verify', image])).code, 0)
  t.match(await call(`${site.url}/api/v1/log`), { json: { treeSize: 2 } }, 'the service did it')
  t.equal((await site.stop()).code, 0)
})

await t.test('SIGTERM: what is in flight is answered, nothing new is taken', async (t) => {
  const registry = await startPlainRegistry()
  t.teardown(() => registry.stop())
  const [image = ''] = await pushTiny(`${registry.address}/team/app`, ['a'])
  const site = await startSite(join(directory, 'ending'))
  t.teardown(() => site.stop('SIGKILL'))
  // The registry holds the request until the service was told to end.
  let held: () => void = () => undefined
  const holding = new Promise<void>((resolve) => {
    registry.intercept = (_request, response) => {
      registry.intercept = null
      held = () => {
        response.writeHead(503)
        response.end()
      }
      resolve()
      return true
    }
  })
  const answer = call(`${site.url}/v1/sign`, { body: { images: [image] } })
  await holding
  const ended = site.stop('SIGTERM')
  await refusesConnections(site.url)
  held()
  const { status, text } = await answer
  t.equal(status, 200, text)
  t.equal((await ended).code, 0)
})

async function refusesConnections(url: string): Promise<void> {
  while (
    await call(`${url}/healthz`).then(
      () => true,
      () => false,
    )
  );
}
