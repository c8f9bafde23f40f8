import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { call } from '../support/call.ts'
import { HONEST, MALICE, startMaliciousRegistry } from '../support/malicious-registry.ts'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { startSite, temporaryDirectory, type Site } from '../support/site.ts'
import { pushTiny } from '../support/tiny-layout.ts'

const MEGABYTE = 1024 * 1024
/** Longest time for one request to a registry, and for all that one image takes. Milliseconds. */
const REQUEST_MS = 2_000
const IMAGE_MS = 12_000

/** Why each is refused; the others are refused for where they lead. */
const REASONS: Readonly<Record<string, string>> = {
  'other bytes for a manifest': 'CONTENT_MISMATCH',
  'other bytes for every blob': 'CONTENT_MISMATCH',
  'a manifest without end': 'TOO_LARGE',
  'blobs without end': 'TOO_LARGE',
  'one byte a time': 'REGISTRY_UNREACHABLE',
  silence: 'REGISTRY_UNREACHABLE',
  'a connection that breaks': 'REGISTRY_UNREACHABLE',
  'referrers without end': 'TOO_LARGE',
  'signatures without end': 'TOO_LARGE',
  'a signature of a gigabyte': 'TOO_LARGE',
}

interface Result {
  readonly digest: string | null
  readonly image: string
  readonly outcome: string
  readonly reason: string | null
}

/** Most memory that the process ever had. Bytes. */
async function peak(site: Site): Promise<number> {
  const status = await readFile(`/proc/${site.process.pid ?? ''}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) * 1024
}

t.setTimeout(180_000)

await t.test(
  'whatever a registry does, the answer is no, in time and in bounded memory',
  needs('referrers-registry'),
  async (t) => {
    const folder = await temporaryDirectory(t)
    const config = join(folder, 'airseal.yaml')
    await writeFile(config, `registries:\n  timeoutMs: ${REQUEST_MS}\n`)
    const site = await startSite(join(folder, 'data'), ['--config', config])
    t.teardown(() => site.stop())
    const { host } = await startRegistry(t, 'referrers-registry')
    const [image = '', unsigned = ''] = await pushTiny(`${host}/app`, ['one', 'two'])
    const digest = image.split('@')[1] ?? ''
    const signed = await site.airseal(['sign', '--signatures', 'legacy', image])
    t.equal(signed.code, 0, signed.stderr)

    // Judged by a service that has not seen the image: what one knows of a digest counts where the registry can't be reached.
    const judge = await startSite(join(folder, 'judge'), ['--config', config])
    t.teardown(() => judge.stop())
    const elsewhere = await startMaliciousRegistry(host, '', HONEST)
    t.teardown(() => elsewhere.stop())
    const start = async (malice: (typeof MALICE)[string]): Promise<string> => {
      const registry = await startMaliciousRegistry(host, elsewhere.host, malice)
      t.teardown(() => registry.stop())
      return `${registry.host}/app@${digest}`
    }
    const verify = async (images: readonly string[]): Promise<readonly Result[]> => {
      const key = await readFile(site.file('cosign.pub'), 'utf8')
      const trustedRoot = await readFile(site.file('trusted_root.json'), 'utf8')
      const body = JSON.stringify({ images, key, trustedRoot, fresh: true })
      const { status, text } = await call(`${judge.url}/v1/verify`, { body })
      t.equal(status, 200, text.slice(0, 300))
      return (JSON.parse(text) as { results: Result[] }).results
    }

    const before = await peak(judge)
    for (const [name, malice] of Object.entries(MALICE)) {
      const malicious = await start(malice)
      const started = performance.now()
      const [result] = await verify([malicious])
      const took = performance.now() - started
      t.not(result?.outcome, 'verified', name)
      t.equal(result?.reason, REASONS[name] ?? 'REGISTRY_REFUSED', name)
      t.ok(took < IMAGE_MS, `${name} took ${Math.round(took)} ms`)
    }
    const grown = (await peak(judge)) - before
    t.ok(grown < 150 * MEGABYTE, `memory grew by ${Math.round(grown / MEGABYTE)} MiB`)
    t.same(elsewhere.requests, [], 'nobody else was asked')
    t.match(await verify([await start(HONEST)]), [{ outcome: 'verified' }], 'an honest one')
    const known = await verify([await start(MALICE['silence'] ?? HONEST)])
    t.match(known, [{ outcome: 'verified', source: 'local' }], 'what is known, and says so')
    const lying = await verify([await start(MALICE['other bytes for a manifest'] ?? HONEST)])
    t.match(lying, [{ outcome: 'rejected' }], 'but not against what the registry says')

    // A tag that names one image to whoever asks first, and another to whoever asks again.
    const manifests = await Promise.all(
      ['one', 'two'].map(async (tag) => {
        const accept = 'application/vnd.oci.image.manifest.v1+json'
        const answer = await fetch(`http://${host}/v2/app/manifests/${tag}`, {
          headers: { accept },
        })
        return { type: accept, bytes: Buffer.from(await answer.arrayBuffer()) }
      }),
    )
    for (const first of [0, 1]) {
      let asked = first
      const flipping = await start((request, response, honest) => {
        if (!request.path.endsWith('/manifests/flips')) {
          honest.send(response)
          return
        }
        const { type, bytes } = manifests[asked++ % 2] ?? { type: '', bytes: Buffer.alloc(0) }
        response.writeHead(200, { 'content-type': type }).end(bytes)
      })
      const [result] = await verify([flipping.replace(/@.*/, ':flips')])
      const right = first === 0 ? digest : unsigned.split('@')[1]
      t.equal(result?.digest, right, 'the digest is the one that was judged')
      t.equal(result?.outcome, first === 0 ? 'verified' : 'rejected')
      t.equal(asked, first + 1, 'the tag is asked for once')
    }

    for (const name of ['other bytes for a manifest', 'redirects inside', 'a bomb', 'silence']) {
      const malicious = await start(MALICE[name] ?? HONEST)
      const trust = [
        '--key',
        site.file('cosign.pub'),
        '--trusted-root',
        site.file('trusted_root.json'),
      ]
      const { code, stdout } = await site.airseal([
        'verify',
        '--config',
        config,
        ...trust,
        malicious,
      ])
      t.not(code, 0, `airseal verify: ${name}`)
      t.equal(stdout, '', name)
    }
  },
)
