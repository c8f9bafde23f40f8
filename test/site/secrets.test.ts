import { createPrivateKey } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { decryptKeyFile } from '../../keys/cosign-key-file.ts'
import { call } from '../support/call.ts'
import { AIRSEAL, run, startSite, temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'

t.setTimeout(300_000)

/** A secret in every form in which it could be written down by mistake. */
function formsOf(secret: Buffer): Buffer[] {
  const texts = [
    secret.toString('hex'),
    secret.toString('base64').replace(/=+$/, ''),
    secret.toString('base64url'),
  ]
  return [secret, ...texts.map((text) => Buffer.from(text)), Buffer.from(texts[0]!.toUpperCase())]
}

async function secretsOf(data: string, passphrase: string): Promise<Buffer[]> {
  const secrets = [Buffer.from(passphrase)]
  for (const name of ['cosign.key', 'rekor.key']) {
    const pkcs8 = Buffer.from(
      await decryptKeyFile(await readFile(join(data, 'keys', name), 'utf8'), passphrase),
    )
    const { d = '' } = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({
      format: 'jwk',
    })
    secrets.push(pkcs8, Buffer.from(d, 'base64url'))
  }
  return secrets.flatMap(formsOf)
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

for (const source of ['made by init', 'from a file', 'from the environment'] as const) {
  await t.test(`no secret is written anywhere: passphrase ${source}`, async (t) => {
    const directory = await temporaryDirectory(t)
    const data = join(directory, 'data')
    const [image = ''] = await tinyLayout(join(directory, 'layout'), ['a'])
    const given = 'an unmistakable passphrase 4711'
    const file = join(directory, 'passphrase')
    if (source === 'from a file') await writeFile(file, given, { mode: 0o600 })
    const args = source === 'from a file' ? ['--passphrase-file', file] : []
    const env: Record<string, string> =
      source === 'from the environment' ? { AIRSEAL_PASSPHRASE: given } : {}

    const site = await startSite(data, args, { env })
    t.teardown(() => site.stop('SIGKILL'))
    const passphrase =
      source === 'made by init'
        ? (await readFile(join(data, 'keys', 'passphrase'), 'utf8')).trim()
        : given
    const commandLine = await readFile(`/proc/${site.process.pid}/cmdline`)
    const printed = [
      await site.airseal(['sign', '-a', 'build=1', image]),
      await site.airseal(['sign', '--output', 'json', image]),
      await site.airseal(['sign', 'oci:/nowhere']),
      await site.airseal(['verify', image]),
      await site.airseal(['fsck']),
    ]
    t.equal(printed[0]?.code, 0, printed[0]?.stderr ?? '')
    // Errors are where secrets get out.
    const answers = [
      await call(`${site.url}/v1/sign`, { body: '{"images":' }),
      await call(`${site.url}/v1/sign`, { body: { images: [image], key: 'other' } }),
      await call(`${site.url}/v1/trust/cosign.key`),
      await call(`${site.url}/readyz`),
    ]
    const wrong = await run(AIRSEAL, ['sign', '--data', data, ...args, image], { env })
    const { code } = await site.stop()
    t.equal(code, 0)
    const direct = await run(AIRSEAL, ['sign', '--data', data, ...args, image], { env })
    t.equal(direct.code, 0, direct.stderr)

    const secrets = await secretsOf(data, passphrase)
    const places = new Map<string, Buffer>([
      ['command line', commandLine],
      ['service', Buffer.from(site.printed())],
    ])
    for (const [at, { stdout, stderr }] of [...printed, wrong, direct].entries())
      places.set(`command ${at}`, Buffer.from(stdout + stderr))
    for (const [at, { text }] of answers.entries()) places.set(`answer ${at}`, Buffer.from(text))
    for (const path of await filesBelow(directory)) {
      if (path !== file && path !== join(data, 'keys', 'passphrase'))
        places.set(path, await readFile(path))
    }
    t.ok(places.has(join(data, 'airseal.db')), 'the database was looked into')
    const found = [...places]
      .filter(([, bytes]) => secrets.some((secret) => bytes.includes(secret)))
      .map(([place]) => place)
    t.same(found, [])
  })
}
