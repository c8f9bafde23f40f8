import { createHash, verify } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GetPublicKeyCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms'
import Database from 'better-sqlite3'
import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { publicKeyFromPem } from '../../src/core/index.ts'
import { call } from '../support/call.ts'
import {
  AIRSEAL,
  freePort,
  run,
  startSite,
  temporaryDirectory,
  type Finished,
  type Site,
} from '../support/site.ts'

t.setTimeout(120_000)

const PLUGIN = AIRSEAL.replace(/airseal$/, 'sigstore-kms-airseal')
const [ACCESS_KEY, SECRET] = ['AKIDOFTHETEST', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYofthetest']
const TOKEN = 'a-token-of-the-test-0123456789'
const MESSAGE = 'a message'
const DIGEST = createHash('sha256').update(MESSAGE).digest()

interface Row {
  readonly caller: string
  readonly action: string
  readonly digest: string | null
  readonly detail: Readonly<Record<string, unknown>>
}

function audited(site: Site): Row[] {
  const database = new Database(join(site.data, 'airseal.db'), { readonly: true })
  try {
    const rows = database.prepare('SELECT * FROM audit ORDER BY seq').all() as Record<
      string,
      string
    >[]
    return rows.map((row) => ({ ...row, detail: JSON.parse(row['detail'] ?? '{}') }) as never)
  } finally {
    database.close()
  }
}

await t.test('the doors of a site', async (t) => {
  const directory = await temporaryDirectory(t)
  const port = await freePort()
  await writeFile(join(directory, 'credentials'), `${ACCESS_KEY} ${SECRET}\n`, { mode: 0o600 })
  await writeFile(join(directory, 'tokens'), `ci ${TOKEN}\n`, { mode: 0o600 })
  const config = join(directory, 'airseal.yaml')
  await writeFile(
    config,
    `tokensFile: tokens
doors:
  plugin: { keys: [signing, default], signsPerMinute: 12 }
  aws: { listen: "127.0.0.1:${port}", aliases: { k: signing, now: default }, credentialsFile: credentials }
`,
  )
  const site = await startSite(join(directory, 'data'), ['--config', config])
  t.teardown(() => site.stop())
  const kms = new KMSClient({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET },
    maxAttempts: 1,
  })
  t.teardown(() => {
    kms.destroy()
  })
  const signing = publicKeyFromPem(await readFile(site.file('cosign.pub'), 'utf8'))

  const plugin = (method: string, args: object, key: string, env = {}): Promise<Finished> => {
    const initOptions = { protocolVersion: 'v1', keyResourceID: key, hashFunc: 5, rpcOptions: {} }
    const text = JSON.stringify({ initOptions, methodName: method, [method]: args })
    // The message is there, and the plugin may or may not want it.
    return run(PLUGIN, ['v1', text], { input: MESSAGE, env: { AIRSEAL_DATA: site.data, ...env } })
  }
  const signByPlugin = (key: string, env = {}): Promise<Finished> =>
    plugin('signMessage', { signOptions: {} }, key, env)
  const signByAws = (alias: string) =>
    kms.send(
      new SignCommand({
        KeyId: `alias/${alias}`,
        Message: DIGEST,
        MessageType: 'DIGEST',
        SigningAlgorithm: 'ECDSA_SHA_256',
      }),
    )
  const isGood = (signature: Uint8Array, key = signing): boolean =>
    verify('sha256', Buffer.from(MESSAGE), key.handle, signature)
  const signatureIn = ({ stdout }: Finished): Buffer => {
    const answer = JSON.parse(stdout) as { signMessage?: { signature: string } }
    return Buffer.from(answer.signMessage?.signature ?? '', 'base64')
  }

  await t.test(
    'no key signs digests until its policy says so, and a refusal is audited',
    async (t) => {
      t.match(await signByPlugin('signing'), { code: 1, stdout: /KEY_POLICY/ })
      await t.rejects(signByAws('k'), { name: 'AccessDeniedException', message: /KEY_POLICY/ })
      const rows = audited(site).filter(({ action }) => action === 'key/refused')
      t.match(rows, [
        { caller: 'operator', digest: `sha256:${DIGEST.toString('hex')}` },
        { caller: `aws:${ACCESS_KEY}`, detail: { code: 'KEY_POLICY' } },
      ])
      // Public keys are public.
      t.match(await plugin('publicKey', { publicKeyOptions: {} }, 'signing'), { code: 0 })
    },
  )

  const policy = join(directory, 'policy.yaml')
  await writeFile(policy, 'payloads: [sign, attest, digest]\nmaxLifetime: 6\n')
  t.match(await site.airseal(['key', 'policy', 'signing', policy]), { code: 0 })

  await t.test(
    'a digest that is signed has its audit row: who, through which door, with what',
    async (t) => {
      const remote = { AIRSEAL_SERVER: site.url, AIRSEAL_TOKEN_FILE: join(directory, 'token') }
      await writeFile(remote.AIRSEAL_TOKEN_FILE, `${TOKEN}\n`, { mode: 0o600 })
      t.ok(isGood(signatureIn(await signByPlugin('signing'))))
      t.ok(isGood(signatureIn(await signByPlugin('default', remote))))
      t.ok(isGood((await signByAws('k')).Signature ?? new Uint8Array()))
      const rows = audited(site).filter(({ action }) => action === 'sign-digest')
      const digest = `sha256:${DIGEST.toString('hex')}`
      const use = { policy: true, keyRevision: 2, keyVersion: String }
      t.match(rows, [
        { caller: 'operator', digest, detail: { door: 'plugin', keyName: 'signing', use } },
        { caller: 'token:ci', digest, detail: { door: 'plugin' } },
        { caller: `aws:${ACCESS_KEY}`, digest, detail: { door: 'aws' } },
      ])
    },
  )

  await t.test('who has no token, or a wrong one, signs nothing', async (t) => {
    const wrong = join(directory, 'wrong')
    await writeFile(wrong, 'another-token-0123456789', { mode: 0o600 })
    for (const env of [{}, { AIRSEAL_TOKEN_FILE: wrong }]) {
      const refused = await signByPlugin('signing', { AIRSEAL_SERVER: site.url, ...env })
      t.match(refused, { code: 1, stdout: /UNAUTHENTICATED/ })
    }
  })

  await t.test('keys that a door does not name are not there', async (t) => {
    t.match(await signByPlugin('log'), { code: 1, stdout: /KEY_UNKNOWN/ })
    t.match(await signByPlugin('k'), { code: 1, stdout: /KEY_UNKNOWN/ })
    await t.rejects(signByAws('signing'), { name: 'NotFoundException' })
  })

  await t.test('the operation itself takes nothing else than it should', async (t) => {
    const authorization = `Bearer ${TOKEN}`
    const post = (body: unknown) =>
      call(`${site.url}/v1/door/sign`, { body: body as never, headers: { authorization } })
    const good = { key: 'signing', hash: 'sha256', digest: DIGEST.toString('base64') }
    const cases: readonly (readonly [unknown, number])[] = [
      [{ ...good, more: 1 }, 400],
      [{ ...good, hash: 'sha512' }, 400],
      [{ ...good, digest: 'AAAA' }, 400],
      [{ ...good, digest: '!' }, 400],
      [{ ...good, keyId: '0'.repeat(64) }, 404],
      [{ ...good, key: '__proto__' }, 404],
      [[], 400],
      ['x', 400],
    ]
    for (const [body, status] of cases) {
      t.equal((await post(body)).status, status, JSON.stringify(body))
    }
  })

  await t.test('caps of the key hold through the doors', async (t) => {
    // Three were used above.
    for (let i = 0; i < 3; i += 1) t.ok(await signByAws(i === 0 ? 'k' : 'now'))
    await t.rejects(signByAws('k'), { name: 'AccessDeniedException', message: /KEY_POLICY/ })
    t.match(await signByPlugin('signing'), { stdout: /KEY_POLICY/ })
  })

  await t.test(
    'after a rotation the old key signs nothing; `default` leads to the new one',
    async (t) => {
      t.match(await site.airseal(['key', 'rotate']), { code: 0 })
      t.match(await signByPlugin('signing'), { code: 1, stdout: /KEY_/ })
      await t.rejects(signByAws('k'), { name: 'DisabledException' })
      const shown = await plugin('publicKey', { publicKeyOptions: {} }, 'signing')
      t.equal(shown.code, 0, 'what it signed is still to be verified')
      const read = async (alias: string): Promise<Buffer> => {
        const { PublicKey } = await kms.send(new GetPublicKeyCommand({ KeyId: `alias/${alias}` }))
        return Buffer.from(PublicKey ?? [])
      }
      t.ok((await read('k')).equals(signing.spki))
      t.notOk((await read('now')).equals(signing.spki))
    },
  )

  await t.test('each caller has its signatures a minute', async (t) => {
    let last = await signByPlugin('default')
    for (let i = 0; i < 12 && !last.stdout.includes('RATE_LIMITED'); i += 1) {
      last = await signByPlugin('default')
    }
    t.match(last, { code: 1, stdout: /RATE_LIMITED/ })
  })
})

await t.test('both doors are closed by default', async (t) => {
  const site = await startSite(join(await temporaryDirectory(t), 'data'))
  t.teardown(() => site.stop())
  const asked = await call(`${site.url}/v1/door/key`, { body: { key: 'signing' } })
  t.equal(asked.status, 403)
  t.match(asked.text, /FORBIDDEN.*doors.plugin/)
})

await t.test('the configuration of the doors is read strictly', async (t) => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'airseal.yaml')
  const aws = (more: string): string =>
    `doors:\n  aws: { aliases: { a: signing }, credentialsFile: c, ${more} }\n`
  const load = async (yaml: string) => {
    await writeFile(path, yaml)
    return loadConfig(path)
  }
  t.match((await load(aws('account: "012345678901"'))).doors, {
    plugin: null,
    aws: {
      listen: { host: '127.0.0.1', port: 8471 },
      account: '012345678901',
      region: null,
      credentialsFile: join(directory, 'c'),
      signsPerMinute: 60,
    },
  })
  const bad: readonly (readonly [string, RegExp])[] = [
    ['doors: { plugin: { keys: [] } }', /at least one key/],
    ['doors: { plugin: { keys: [a], more: 1 } }', /more/],
    ['doors: { door: 1 }', /door/],
    ['doors: { aws: { credentialsFile: c } }', /at least one key/],
    ['doors: { aws: { aliases: { a: b } } }', /credentialsFile/],
    ['doors: { aws: { aliases: { a: 1 }, credentialsFile: c } }', /aliases/],
    ['doors: { aws: { aliases: { aws/x: b }, credentialsFile: c } }', /no name for an alias/],
    ['doors: { aws: { aliases: { "a b": b }, credentialsFile: c } }', /no name for an alias/],
    [aws('account: "12"'), /twelve digits/],
    [aws('region: EU'), /region/],
    [aws('listen: 0.0.0.0:8471'), /tls must be set/],
    [aws('listen: 127.0.0.1'), /HOST:PORT/],
    [aws('signsPerMinute: 0'), /signsPerMinute/],
    [aws('tls: { certFile: x }'), /keyFile/],
  ]
  for (const [yaml, message] of bad) {
    await t.rejects(load(yaml), { code: 'CONFIG_INVALID', message }, yaml)
  }
})
