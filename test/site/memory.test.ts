import { createPrivateKey } from 'node:crypto'
import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DescribeKeyCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms'
import t from 'tap'
import { createKey } from '../../keys/index.ts'
import { decryptKeyFile } from '../../keys/cosign-key-file.ts'
import { PIN, softhsmPlace } from '../keys/support/softhsm.ts'
import { call } from '../support/call.ts'
import { memoryOf } from '../support/memory.ts'
import { needs } from '../support/programs.ts'
import { AIRSEAL, freePort, run, startSite, temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'

/** What a heap dump and a core dump of the service at work show: keys/README.md promises it. */

t.setTimeout(180_000)

const PASSPHRASE = 'an-unmistakable-passphrase-KW93'
const TOKEN = 'an-unmistakable-token-0123456789'
const [ACCESS_KEY, SECRET] = ['AKIDOFTHETEST', 'AnUnmistakableAwsSecret0123456789xyz']
const ENTRY = new URL('../../src/main.ts', import.meta.url).pathname

/** As it is, in UTF-16, and as hex and base64. */
function formsOf(secret: Buffer): Buffer[] {
  const texts = [
    secret.toString('hex'),
    ...['base64', 'base64url'].map((as) => secret.toString(as as 'base64')),
  ]
  return [
    secret,
    Buffer.from(secret.toString('latin1'), 'utf16le'),
    // The end of base64 depends on what comes after.
    ...texts.map((text) => Buffer.from(text.replace(/.{0,4}$/, ''))),
  ]
}

/** Names of the secrets that stand in any of the pieces. */
function foundIn(pieces: Iterable<Buffer>, secrets: ReadonlyMap<string, Buffer>): string[] {
  const forms = new Map([...secrets].map(([name, secret]) => [name, formsOf(secret)] as const))
  const found = new Set<string>()
  for (const piece of pieces) {
    for (const [name, ways] of forms) if (ways.some((form) => piece.includes(form))) found.add(name)
  }
  return [...found].sort()
}

await t.test('secrets in the memory of the service', needs('softhsm2-util'), async (t) => {
  const place = softhsmPlace(t)
  place.initialise('site')
  const hsm = place.uri('site', 'hsm')
  await createKey(hsm, 'ecdsa-p256', { limits: { attempt: 60_000, deadline: 60_000 } })
  const directory = await temporaryDirectory(t)
  const data = join(directory, 'data')
  const [port, door] = [await freePort(), await freePort()]
  const file = (name: string, text: string): string => {
    const path = join(directory, name)
    writeFileSync(path, `${text}\n`, { mode: 0o600 })
    return path
  }
  const passphrase = file('passphrase', PASSPHRASE)
  file('tokens', `ci ${TOKEN}`)
  file('credentials', `${ACCESS_KEY} ${SECRET}`)
  const config = file(
    'airseal.yaml',
    `tokensFile: tokens
layoutRoots: [${directory}]
passphraseFile: ${passphrase}
doors: { aws: { listen: "127.0.0.1:${door}", aliases: { file: signing, hsm: hsm }, credentialsFile: credentials } }`,
  )
  const site = ['--data', data, '--config', config]
  t.match(await run(AIRSEAL, ['init', ...site]), { code: 0 })

  // As the launcher starts it, and with a signal that writes a heap dump.
  const dumps = ['--heapsnapshot-signal=SIGUSR2', `--diagnostic-dir=${directory}`]
  const flags = ['--disable-sigusr1', '--disable-proto=delete', ...dumps]
  const listen = ['--listen', `127.0.0.1:${port}`]
  const service = spawn(process.execPath, [...flags, ENTRY, 'serve', ...site, ...listen], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => service.kill('SIGKILL'))
  await said(service, 'airseal serves')

  const airseal = (...args: string[]) => run(AIRSEAL, [...args, ...site])
  t.match(await airseal('key', 'import', 'hsm', hsm), { code: 0 })
  const policy = file('policy.yaml', 'payloads: [sign, attest, digest]')
  for (const name of ['signing', 'hsm']) {
    t.match(await airseal('key', 'policy', name, policy), { code: 0 })
  }
  const [image = ''] = await tinyLayout(join(directory, 'layout'), ['a'])
  const authorization = `Bearer ${TOKEN}`
  for (const key of ['signing', 'hsm']) {
    const body = { images: [image], key }
    const url = `http://127.0.0.1:${port}/v1/sign`
    t.match(await call(url, { body, headers: { authorization } }), { status: 200 })
    t.match(await call(url, { body, headers: { authorization: `${authorization}x` } }), {
      status: 401,
    })
  }
  const kms = new KMSClient({
    endpoint: `http://127.0.0.1:${door}`,
    region: 'us-east-1',
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET },
  })
  for (const name of ['file', 'hsm']) {
    const KeyId = `alias/${name}`
    await kms.send(new DescribeKeyCommand({ KeyId }))
    const input = {
      Message: Buffer.alloc(32, name),
      MessageType: 'DIGEST',
      SigningAlgorithm: 'ECDSA_SHA_256',
    } as const
    t.ok((await kms.send(new SignCommand({ KeyId, ...input }))).Signature)
  }
  kms.destroy()

  const secrets = new Map<string, Buffer>([
    ['PIN', Buffer.from(PIN)],
    ['passphrase', Buffer.from(PASSPHRASE)],
    ['token', Buffer.from(TOKEN)],
    ['AWS secret', Buffer.from(SECRET)],
  ])
  for (const name of ['cosign.key', 'rekor.key']) {
    const text = readFileSync(join(data, 'keys', name), 'utf8')
    const pkcs8 = Buffer.from(await decryptKeyFile(text, PASSPHRASE))
    const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    secrets.set(`${name}, encoded`, pkcs8)
    secrets.set(`${name}, scalar`, Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url'))
  }

  await t.test('a heap dump shows none of them', async (t) => {
    service.kill('SIGUSR2')
    const dump = await heapDump(directory)
    t.ok(dump.includes('/v1/sign'), 'it is a dump of the service')
    t.same(foundIn([dump], secrets), [])
  })

  await t.test('a core dump shows no token and no encoded key', async (t) => {
    service.kill('SIGSTOP')
    const found = foundIn(memoryOf(service.pid ?? 0), secrets)
    service.kill('SIGCONT')
    t.ok(found.includes('AWS secret'), 'what is in use is there: the search finds it')
    const promised = ['token', 'cosign.key, encoded', 'rekor.key, encoded']
    t.same(
      found.filter((name) => promised.includes(name)),
      [],
    )
  })

  await t.test('nor is any of them in a file, but in those that were given', async (t) => {
    const given = ['passphrase', 'tokens', 'credentials', 'pin']
    const entries = readdirSync(directory, { recursive: true, withFileTypes: true })
    const files = entries.filter((entry) => entry.isFile() && !given.includes(entry.name))
    t.ok(files.some(({ name }) => name === 'airseal.db'))
    const pieces = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name)))
    t.same(foundIn(pieces, secrets), [])
  })
})

await t.test('the launcher allows no core dump', async (t) => {
  const site = await startSite(join(await temporaryDirectory(t), 'data'))
  t.teardown(() => site.stop())
  const limits = readFileSync(`/proc/${site.process.pid}/limits`, 'utf8')
  t.match(limits, /^Max core file size +0 +0 /m)
})

function said(child: ChildProcess, words: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = ''
    const hear = (chunk: Buffer): void => {
      text += chunk.toString()
      if (text.includes(words)) resolve()
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.once('exit', () => {
      reject(new Error(text))
    })
  })
}

/** The dump that was asked for, as soon as it is whole. */
async function heapDump(directory: string): Promise<Buffer> {
  for (;;) {
    const name = readdirSync(directory).find((one) => one.endsWith('.heapsnapshot'))
    if (name !== undefined) {
      const dump = readFileSync(join(directory, name))
      if (dump.subarray(-4).toString().trimEnd().endsWith(']}')) return dump
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
