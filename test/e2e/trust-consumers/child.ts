import { generateKeyPairSync } from 'node:crypto'
import { connect } from 'node:net'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { startRegistry } from '../../support/registries.ts'
import type { Finished } from '../../support/site.ts'
import { said, startPlace, type Place } from '../support/place.ts'
import { copyLegacy, LEGACY_FLIPS } from '../support/tampering.ts'

/** Run by trust-consumers.test.ts in a network of its own. */

type Judge = (image: string) => Promise<Finished>

t.setTimeout(600_000)

await t.test('there is no way out of here', async (t) => {
  const code = await new Promise<string>((resolve) => {
    const socket = connect({ host: '192.0.2.1', port: 443 })
    socket.on('connect', () => {
      resolve('connected')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? '')
    })
  })
  t.equal(code, 'ENETUNREACH')
})

const place = await startPlace(t)
const { host } = await startRegistry(t, 'crane')
const { airseal } = place.site
const exported = join(place.directory, 'trust')

async function exportTrust(): Promise<void> {
  const done = await airseal(['trust', 'export', exported])
  if (done.code !== 0) throw new Error(said(done))
  const registries = join(place.directory, 'registries.d')
  await mkdir(registries, { recursive: true })
  await copyFile(join(exported, 'containers-registries.d.yaml'), join(registries, 'airseal.yaml'))
}

const JUDGES: Readonly<Record<string, (place: Place) => Judge>> = {
  Kyverno: (place) => async (image) => {
    const pod = join(place.directory, 'pod.yaml')
    const spec = { containers: [{ name: 'app', image }] }
    await writeFile(
      pod,
      stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'app' }, spec }),
    )
    const policy = join(exported, 'kyverno-clusterpolicy.yaml')
    return place.client('kyverno', ['apply', policy, '--resource', pod, '--registry'])
  },
  'Kyverno, new policies': (place) => async (image) => {
    const pod = join(place.directory, 'pod.yaml')
    const spec = { containers: [{ name: 'app', image }] }
    await writeFile(
      pod,
      stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'app', namespace: 'x' }, spec }),
    )
    const policy = join(exported, 'kyverno-imagevalidatingpolicy.yaml')
    return place.client('kyverno', ['apply', policy, '--resource', pod, '--registry'])
  },
  'policy-controller': (place) => (image) => {
    const policy = join(exported, 'policy-controller-clusterimagepolicy.yaml')
    const root = join(exported, 'policy-controller-trustroot.yaml')
    return place.client('policy-tester', ['-policy', policy, '-trustroot', root, '-image', image])
  },
  'containers/image': (place) => (image) =>
    place.client('containers-policy', [
      join(exported, 'containers-policy.json'),
      join(place.directory, 'registries.d'),
      image,
    ]),
}

async function signed(): Promise<Awaited<ReturnType<Place['push']>>> {
  const image = await place.push(host)
  const done = await airseal(['sign', image.reference])
  if (done.code !== 0) throw new Error(said(done))
  return image
}

const [first, second] = [await signed(), await signed()]
const unsigned = await place.push(host)
/** Signatures moved to another repository, whose name they bear, and changed on the way. */
const copies = new Map<string, string>()
for (const [what, flip] of Object.entries({ control: () => undefined, ...LEGACY_FLIPS })) {
  const from = await place.push(host)
  const to = await place.push(host, from)
  const done = await airseal(['sign', '--identity', to.repository, from.reference])
  if (done.code !== 0) throw new Error(said(done))
  await copyLegacy(from, to, flip)
  copies.set(what, to.reference)
}

await exportTrust()
const names = Object.keys(JUDGES)
const ALL_SEE = ['control', 'payload', 'signed entry timestamp']

async function judgeAll(
  t: { equal(a: unknown, b: unknown, text: string): unknown },
  image: string,
  accepted: boolean,
  what: string,
  judges: readonly string[] = names,
): Promise<void> {
  for (const name of judges) {
    const verdict = await JUDGES[name]?.(place)(image)
    t.equal(verdict?.code === 0, accepted, `${name}: ${what}: ${verdict ? said(verdict) : ''}`)
  }
}

await t.test('what airseal signed is accepted, and nothing else', async (t) => {
  await judgeAll(t, first.reference, true, 'signed')
  await judgeAll(t, unsigned.reference, false, 'unsigned')
  for (const [what, image] of copies) {
    // The admission controllers see each change in their own tests; here two are enough for them.
    const judges = ALL_SEE.includes(what) ? names : ['containers/image']
    await judgeAll(t, image, what === 'control', what, judges)
  }
})

await t.test('an image that was revoked is refused by the files of the next version', async (t) => {
  const done = await airseal(['trust', 'revoke', '--image', second.reference, '--reason', 'broken'])
  t.equal(done.code, 0, said(done))
  await judgeAll(t, second.reference, true, 'by the old files')
  await exportTrust()
  await judgeAll(t, second.reference, false, 'revoked image')
  await judgeAll(t, first.reference, true, 'another image')
})

await t.test('a narrower policy comes on top of the wider one', async (t) => {
  const scope = first.repository
  const key = join(place.directory, 'vendor.pub')
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await writeFile(key, publicKey.export({ format: 'pem', type: 'spki' }))
  for (const args of [
    ['import', key, '--name', 'vendor'],
    ['propose', '--policy', `vendor=${scope}=vendor`],
  ]) {
    const done = await airseal(['trust', ...args])
    t.equal(done.code, 0, said(done))
  }
  await exportTrust()
  await judgeAll(t, first.reference, false, 'not signed by the vendor too')
  t.equal((await airseal(['trust', 'propose', '--remove-policy', 'vendor'])).code, 0)
})

await t.test('a key that was revoked signs nothing any more', async (t) => {
  const done = await airseal(['trust', 'revoke', '--key', 'signing', '--reason', 'stolen'])
  t.equal(done.code, 0, said(done))
  await exportTrust()
  await judgeAll(t, first.reference, false, 'revoked key')
})
