import { generateKeyPairSync } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SerializedBundle } from '@sigstore/bundle'
import { createVerifier } from 'sigstore'
import t, { type Test } from 'tap'
import { needs, requiredProgram } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { run, type Finished } from '../support/site.ts'
import { bundlesOf } from './support/tampering.ts'
import { said, startPlace, type Place, type PushedImage } from './support/place.ts'

/** Unmodified clients get their trust from the TUF repository of a running service, and follow it. */

const COSIGNS = ['cosign2', 'cosign3'] as const
/** What each needs to sign into our log, beyond the key. */
const SIGNS: Readonly<Record<string, readonly string[]>> = {
  cosign2: ['--use-signing-config --new-bundle-format', '--rekor-url'],
  cosign3: [''],
}
const PASSWORD = 'a passphrase of the tests'

/** A client with a home of its own: what one has cached no other sees. */
interface Client {
  /** Version of the root that it trusts. */
  rootVersion(): Promise<number>
  run(args: readonly string[]): Promise<Finished>
}

async function cosignOf(place: Place, name: (typeof COSIGNS)[number]): Promise<Client> {
  const home = join(place.directory, `home-${name}`)
  await mkdir(home, { recursive: true })
  const env = {
    HOME: home,
    TUF_ROOT: join(home, 'tuf'),
    DOCKER_CONFIG: home,
    COSIGN_YES: 'true',
    COSIGN_PASSWORD: PASSWORD,
  }
  return {
    run: (args) => run(requiredProgram(name), args, { env }),
    rootVersion: async () => {
      const [cache = ''] = (await readdir(env.TUF_ROOT)).filter((entry) => !entry.includes('.json'))
      const text = await readFile(join(env.TUF_ROOT, cache, 'root.json'), 'utf8')
      return (JSON.parse(text) as { signed: { version: number } }).signed.version
    },
  }
}

async function signed(place: Place, host: string, format: string): Promise<PushedImage> {
  const image = await place.push(host)
  const done = await place.site.airseal(['sign', '--signatures', format, image.reference])
  if (done.code !== 0) throw new Error(said(done))
  return image
}

await t.test('cosign follows the repository', needs('crane', ...COSIGNS), async (t) => {
  const place = await startPlace(t)
  const { site } = place
  const { host } = await startRegistry(t, 'crane')
  const images = {
    legacy: await signed(place, host, 'legacy'),
    bundle: await signed(place, host, 'bundle'),
    both: await signed(place, host, 'both'),
  }
  const unsigned = await place.push(host)
  const root = join(place.directory, 'root.json')
  await writeRoot(place, root)
  const clients = new Map<string, Client>()
  const verifiesAll = async (t: Test, when: string): Promise<void> => {
    for (const [name, client] of clients) {
      for (const [format, image] of Object.entries(images)) {
        const args = ['verify', '--key', site.file('cosign.pub'), image.reference]
        const done = await client.run(args)
        t.equal(done.code, 0, `${when}, ${name}, ${format}: ${said(done)}`)
      }
    }
  }
  await t.test('is initialised from the mirror, and verifies with the key alone', async (t) => {
    for (const name of COSIGNS) {
      const client = await cosignOf(place, name)
      const done = await client.run(['initialize', '--mirror', `${site.url}/tuf`, '--root', root])
      t.equal(done.code, 0, said(done))
      clients.set(name, client)
      const refused = await client.run([
        'verify',
        '--key',
        site.file('cosign.pub'),
        unsigned.reference,
      ])
      t.not(refused.code, 0, said(refused))
    }
    await verifiesAll(t, 'at first')
  })
  await t.test('signs into the log', async (t) => {
    for (const [name, client] of clients) {
      const key = join(place.directory, name)
      t.equal((await client.run(['generate-key-pair', '--output-key-prefix', key])).code, 0)
      for (const how of SIGNS[name] ?? []) {
        const image = await place.push(host)
        const options = how === '--rekor-url' ? [how, site.url] : how.split(' ').filter(Boolean)
        const done = await client.run(['sign', '--key', `${key}.key`, ...options, image.reference])
        t.equal(done.code, 0, said(done))
        const verified = await client.run(['verify', '--key', `${key}.pub`, image.reference])
        t.equal(verified.code, 0, said(verified))
        const ours = await site.airseal(['verify', '--key', `${key}.pub`, image.reference])
        t.equal(ours.code, 0, said(ours))
      }
    }
  })
  await t.test('follows two rotations of the root, and one of each other key', async (t) => {
    for (const role of ['root', 'root', 'online', 'targets']) {
      const done = await site.airseal(['tuf', 'rotate', role])
      t.equal(done.code, 0, said(done))
    }
    await verifiesAll(t, 'after the rotations')
    for (const [name, client] of clients) t.equal(await client.rootVersion(), 5, name)
  })
})

await t.test('npm sigstore follows the repository', async (t) => {
  const place = await startPlace(t)
  const { site } = place
  const { layout, index } = await place.build()
  const reference = `oci:${layout}@${index}`
  t.equal((await site.airseal(['sign', '--signatures', 'bundle', reference])).code, 0)
  const [text = ''] = await bundlesOf(reference)
  const root = join(place.directory, 'root.json')
  await writeRoot(place, root)
  const key = await readFile(site.file('cosign.pub'), 'utf8')
  const cache = join(place.directory, 'npm-cache')
  const verifies = async (bundle: string, selected: string): Promise<void> => {
    const verifier = await createVerifier({
      tufMirrorURL: `${site.url}/tuf`,
      tufRootPath: root,
      tufCachePath: cache,
      tlogThreshold: 1,
      ctLogThreshold: 0,
      keySelector: () => selected,
    })
    verifier.verify(JSON.parse(bundle) as SerializedBundle)
  }
  await verifies(text, key)
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await t.rejects(verifies(text, publicKey.export({ format: 'pem', type: 'spki' }) as string))
  for (const role of ['root', 'root', 'online', 'targets'])
    t.equal((await site.airseal(['tuf', 'rotate', role])).code, 0)
  await verifies(text, key)
  const [mirror = ''] = await readdir(cache)
  const kept = JSON.parse(await readFile(join(cache, mirror, 'root.json'), 'utf8')) as {
    signed: { version: number }
  }
  t.equal(kept.signed.version, 5)
})

async function writeRoot(place: Place, path: string): Promise<void> {
  const answer = await fetch(`${place.site.url}/tuf/1.root.json`)
  await writeFile(path, await answer.text())
}
