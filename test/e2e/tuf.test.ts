import { generateKeyPairSync } from 'node:crypto'
import { mkdir, readdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SerializedBundle } from '@sigstore/bundle'
import { createVerifier } from 'sigstore'
import t, { type Test } from 'tap'
import { needs, requiredProgram } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { run, type Finished, type Site } from '../support/site.ts'
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
    await rotateAll(site)
    await verifiesAll(t, 'after the rotations')
    for (const [name, client] of clients) t.equal(await client.rootVersion(), 5, name)
  })
})

await t.test('npm sigstore follows the repository', async (t) => {
  const { site, key, other, bundle, root, directory } = await signedBundle(t)
  const cache = join(directory, 'npm-cache')
  const verify = async (keyFile: string): Promise<void> => {
    const selected = await readFile(keyFile, 'utf8')
    const verifier = await createVerifier({
      tufMirrorURL: `${site.url}/tuf`,
      tufRootPath: root,
      tufCachePath: cache,
      tlogThreshold: 1,
      ctLogThreshold: 0,
      keySelector: () => selected,
    })
    verifier.verify(JSON.parse(await readFile(bundle, 'utf8')) as SerializedBundle)
  }
  await verify(key)
  await t.rejects(verify(other))
  await rotateAll(site)
  await verify(key)
  const [mirror = ''] = await readdir(cache)
  const text = await readFile(join(cache, mirror, 'root.json'), 'utf8')
  t.match(JSON.parse(text), { signed: { version: 5 } })
})

await t.test(
  'sigstore-go with go-tuf follows the repository',
  needs('sigstore-go-tuf'),
  async (t) => {
    const { site, key, other, bundle, root, directory } = await signedBundle(t)
    const verify = (key: string): Promise<Finished> =>
      run(requiredProgram('sigstore-go-tuf'), [
        ...[`${site.url}/tuf`, root, join(directory, 'go-cache'), key, bundle],
      ])
    t.match(await verify(key), { code: 0, stdout: '1\n' })
    t.match(await verify(other), { code: 1 })
    await rotateAll(site)
    t.match(await verify(key), { code: 0, stdout: '5\n' })
  },
)

await t.test('sigstore-python follows the repository', needs('sigstore'), async (t) => {
  const { site, key, other, bundle, root, directory } = await signedBundle(t)
  const mirror = `${site.url}/tuf`
  const env = { HOME: directory, XDG_DATA_HOME: directory, XDG_CACHE_HOME: directory }
  const sigstore = requiredProgram('sigstore')
  const trusted = await run(sigstore, ['--instance', mirror, 'trust-instance', root], { env })
  t.equal(trusted.code, 0, said(trusted))
  const python = join(dirname(await realpath(sigstore)), 'python')
  const script = fileURLToPath(new URL('../clients/sigstore-python/verify.py', import.meta.url))
  const verify = (key: string): Promise<Finished> =>
    run(python, [script, mirror, key, bundle], { env })
  const first = await verify(key)
  t.match(first, { code: 0, stdout: '1\n' }, said(first))
  t.match(await verify(other), { code: 1, stderr: /InvalidSignature/ })
  await rotateAll(site)
  t.match(await verify(key), { code: 0, stdout: '5\n' })
})

/** A running site, a bundle that it signed as a file, its key and another one, and the root to start from. */
async function signedBundle(t: Test): Promise<{
  directory: string
  site: Site
  key: string
  other: string
  bundle: string
  root: string
}> {
  const place = await startPlace(t)
  const { site, directory } = place
  const { layout, index } = await place.build()
  const reference = `oci:${layout}@${index}`
  const done = await site.airseal(['sign', '--signatures', 'bundle', reference])
  if (done.code !== 0) throw new Error(said(done))
  const [text = ''] = await bundlesOf(reference)
  const at = (name: string): string => join(directory, name)
  await writeFile(at('bundle.json'), text)
  await writeRoot(place, at('root.json'))
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(at('other.pub'), publicKey.export({ format: 'pem', type: 'spki' }))
  return {
    directory,
    site,
    key: site.file('cosign.pub'),
    other: at('other.pub'),
    bundle: at('bundle.json'),
    root: at('root.json'),
  }
}

/** The root twice, every other key once: the root's version is 5 then. */
async function rotateAll(site: Site): Promise<void> {
  for (const role of ['root', 'root', 'online', 'targets']) {
    const done = await site.airseal(['tuf', 'rotate', role])
    if (done.code !== 0) throw new Error(said(done))
  }
}

async function writeRoot(place: Place, path: string): Promise<void> {
  const answer = await fetch(`${place.site.url}/tuf/1.root.json`)
  await writeFile(path, await answer.text())
}
