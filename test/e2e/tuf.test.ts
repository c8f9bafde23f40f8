import { generateKeyPairSync } from 'node:crypto'
import { mkdir, readdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SerializedBundle } from '@sigstore/bundle'
import { createVerifier } from 'sigstore'
import t from 'tap'
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
      return versionOf(join(env.TUF_ROOT, cache, 'root.json'))
    },
  }
}

async function signed(place: Place, host: string, format: string): Promise<PushedImage> {
  const image = await place.push(host)
  const done = await place.site.airseal(['sign', '--signatures', format, image.reference])
  if (done.code !== 0) throw new Error(said(done))
  return image
}

/** What every client must do: verify with the key alone, refuse another key, and follow without being initialised again. */
interface Follower {
  /** Throws what the client said when it refused. */
  verify(keyFile: string): Promise<void>
  rootVersion(): Promise<number>
}

const PROGRAMS = ['crane', ...COSIGNS, 'sigstore-go-tuf', 'sigstore'] as const

await t.test('clients follow the repository', needs(...PROGRAMS), async (t) => {
  const place = await startPlace(t)
  const { site, directory } = place
  const { host } = await startRegistry(t, 'crane')
  const images = {
    legacy: await signed(place, host, 'legacy'),
    bundle: await signed(place, host, 'bundle'),
    both: await signed(place, host, 'both'),
  }
  const unsigned = await place.push(host)
  const root = join(directory, 'root.json')
  await writeFile(root, await (await fetch(`${site.url}/tuf/1.root.json`)).text())
  const bundle = join(directory, 'bundle.json')
  await writeFile(bundle, (await bundlesOf(images.bundle.reference))[0] ?? '')
  const other = join(directory, 'other.pub')
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(other, publicKey.export({ format: 'pem', type: 'spki' }))

  const followers = new Map<string, Follower>()
  for (const name of COSIGNS) {
    await t.test(`${name} is initialised, and signs into the log`, async (t) => {
      const client = await cosignOf(place, name)
      const done = await client.run(['initialize', '--mirror', `${site.url}/tuf`, '--root', root])
      t.equal(done.code, 0, said(done))
      const verify = ['verify', '--key', site.file('cosign.pub')]
      t.equal((await client.run([...verify, unsigned.reference])).code, 10)
      const key = join(directory, name)
      t.equal((await client.run(['generate-key-pair', '--output-key-prefix', key])).code, 0)
      for (const how of SIGNS[name] ?? []) {
        const image = await place.push(host)
        const options = how === '--rekor-url' ? [how, site.url] : how.split(' ').filter(Boolean)
        const sign = ['sign', '--key', `${key}.key`, ...options, image.reference]
        const signed = await client.run(sign)
        t.equal(signed.code, 0, said(signed))
        const theirs = await client.run(['verify', '--key', `${key}.pub`, image.reference])
        t.equal(theirs.code, 0, said(theirs))
        const ours = await site.airseal(['verify', '--key', `${key}.pub`, image.reference])
        t.equal(ours.code, 0, said(ours))
      }
      followers.set(name, {
        rootVersion: () => client.rootVersion(),
        verify: async (keyFile) => {
          for (const { reference } of Object.values(images))
            await must(client.run(['verify', '--key', keyFile, reference]))
        },
      })
    })
  }
  followers.set('npm sigstore', npmSigstore(site, root, join(directory, 'npm'), bundle))
  followers.set('sigstore-go', sigstoreGo(site, root, join(directory, 'go'), bundle))
  followers.set('sigstore-python', await sigstorePython(site, root, directory, bundle))

  for (const [name, { verify }] of followers) {
    await t.test(`${name} verifies with the key alone`, async (t) => {
      await t.resolves(verify(site.file('cosign.pub')))
      await t.rejects(verify(other), 'another key')
    })
  }
  // The root twice, every other key once: the root's version is 5 then.
  for (const role of ['root', 'root', 'online', 'targets'])
    await must(site.airseal(['tuf', 'rotate', role]))
  await t.test('a rotated signing key reaches them, and what it signs verifies', async (t) => {
    const old = await readFile(site.file('cosign.pub'), 'utf8')
    t.equal(await publishedKey(site, root, join(directory, 'first')), old)
    await must(site.airseal(['key', 'rotate', 'signing']))
    const renewed = await readFile(site.file('cosign.pub'), 'utf8')
    t.not(renewed, old)
    t.equal(await publishedKey(site, root, join(directory, 'second')), renewed)
    images.bundle = await signed(place, host, 'bundle')
    await writeFile(bundle, (await bundlesOf(images.bundle.reference))[0] ?? '')
    images.legacy = await signed(place, host, 'legacy')
    images.both = await signed(place, host, 'both')
  })
  for (const [name, { verify, rootVersion }] of followers) {
    await t.test(`${name} follows rotations of every key`, async (t) => {
      await t.resolves(verify(site.file('cosign.pub')))
      t.equal(await rootVersion(), 5)
    })
  }
})

/** `cosign.pub` as a client gets it: with our own, behind the command line of the conformance suite. */
async function publishedKey(site: Site, root: string, home: string): Promise<string> {
  await mkdir(home)
  const program = fileURLToPath(new URL('../conformance/tuf-client.ts', import.meta.url))
  const client = [program, '--metadata-dir', home]
  await must(run(process.execPath, [...client, 'init', root]))
  const urls = ['--metadata-url', `${site.url}/tuf`, '--target-base-url', `${site.url}/tuf/targets`]
  const target = ['--target-name', 'cosign.pub', '--target-dir', home]
  await must(run(process.execPath, [...client, ...urls, ...target, 'download']))
  return readFile(join(home, 'cosign.pub'), 'utf8')
}

async function must(work: Promise<Finished>): Promise<Finished> {
  const done = await work
  if (done.code !== 0) throw new Error(said(done))
  return done
}

function npmSigstore(site: Site, root: string, cache: string, bundle: string): Follower {
  return {
    verify: async (keyFile) => {
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
    },
    rootVersion: async () => {
      const [mirror = ''] = await readdir(cache)
      return versionOf(join(cache, mirror, 'root.json'))
    },
  }
}

/** With go-tuf v2: test/clients/sigstore-go-tuf. */
function sigstoreGo(site: Site, root: string, cache: string, bundle: string): Follower {
  let version = 0
  return {
    verify: async (keyFile) => {
      const args = [`${site.url}/tuf`, root, cache, keyFile, bundle]
      version = Number((await must(run(requiredProgram('sigstore-go-tuf'), args))).stdout)
    },
    rootVersion: () => Promise.resolve(version),
  }
}

/** Initialised by its own command line; what that can't verify, test/clients/sigstore-python does. */
async function sigstorePython(
  site: Site,
  root: string,
  home: string,
  bundle: string,
): Promise<Follower> {
  const mirror = `${site.url}/tuf`
  const env = { HOME: home, XDG_DATA_HOME: home, XDG_CACHE_HOME: home }
  const sigstore = requiredProgram('sigstore')
  await must(run(sigstore, ['--instance', mirror, 'trust-instance', root], { env }))
  const python = join(dirname(await realpath(sigstore)), 'python')
  const script = fileURLToPath(new URL('../clients/sigstore-python/verify.py', import.meta.url))
  let version = 0
  return {
    verify: async (keyFile) => {
      const done = await must(run(python, [script, mirror, keyFile, bundle], { env }))
      version = Number(done.stdout)
    },
    rootVersion: () => Promise.resolve(version),
  }
}

async function versionOf(path: string): Promise<number> {
  return (JSON.parse(await readFile(path, 'utf8')) as { signed: { version: number } }).signed
    .version
}
