import { execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import {
  cp,
  link,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { judge } from '../../src/cli/bundle-judge.ts'
import { trustReader } from '../../src/operations/index.ts'
import { SENDER_GATE, SILENT, verifyBundleDirectory } from '../../offline-bundles/index.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { codeOf, startPair } from './support/enclaves.ts'

/** Bits that are flipped, each in a copy of its own. */
const FLIPS = Number(process.env['AIRSEAL_BUNDLE_FLIPS'] ?? 400)

const folder = await temporaryDirectory(t)
const registry = await startPlainRegistry()
t.teardown(() => registry.stop())
const { low, high } = await startPair(t, folder)
const to = `${registry.address}/in`

async function image(name: string): Promise<string> {
  const [reference = ''] = await tinyLayout(join(folder, name), [name])
  await low.call('sign', { images: [reference] })
  return reference
}

const first = join(folder, 'first')
const second = join(folder, 'second')
await low.export(first, [await image('one')])
await low.export(second, [await image('two')])
const trust = Buffer.from(await low.trust())

const verify = (path: string) =>
  verifyBundleDirectory({
    paths: [path],
    trust,
    trustReader,
    gate: SENDER_GATE,
    judge,
    now: Date.now(),
    progress: SILENT,
  })

async function filesOf(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .sort()
}

await t.test('the bundle that the attacks start from is good', async () => {
  await verify(first)
})

await t.test(`one bit anywhere is found: ${FLIPS} of them`, async (t) => {
  const files = await filesOf(first)
  const sizes = await Promise.all(files.map(async (path) => (await stat(path)).size))
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const passed: string[] = []
  for (let flip = 0; flip < FLIPS; flip++) {
    let place = randomInt(total)
    // Each file gets its share, however small it is.
    let at = flip < files.length ? flip : sizes.findIndex((size) => (place -= size) < 0)
    if (at === -1) at = 0
    const path = files[at] ?? ''
    const offset = randomInt(sizes[at] ?? 1)
    const bit = 1 << randomInt(8)
    const bytes = await readFile(path)
    const before = Buffer.from(bytes)
    bytes.writeUInt8(bytes.readUInt8(offset) ^ bit, offset)
    await writeFile(path, bytes)
    if ((await codeOf(verify(first))) === null) passed.push(`${path} byte ${offset} bit ${bit}`)
    await writeFile(path, before)
  }
  t.same(passed, [])
  t.equal(await codeOf(verify(first)), null, 'and without a flip it is good again')
})

/** Attacks on a copy of the first bundle. What each does, and the code that it must end in. */
const ATTACKS: Readonly<
  Record<string, readonly [code: string, attack: (copy: string) => Promise<unknown>]>
> = {
  'a file that is not listed': ['MEDIUM_INVALID', (copy) => writeFile(join(copy, 'extra'), 'x')],
  'a file beside the blobs': [
    'MEDIUM_INVALID',
    (copy) => writeFile(join(copy, 'images/0001/blobs/sha256', 'f'.repeat(64)), 'x'),
  ],
  'a twin in upper case': ['MEDIUM_INVALID', (copy) => writeFile(join(copy, 'Contents.json'), 'x')],
  'a twin in another Unicode form': [
    'MEDIUM_INVALID',
    (copy) => writeFile(join(copy, 'policies\u0301'), 'x'),
  ],
  'a directory that the format does not know': [
    'MEDIUM_INVALID',
    (copy) => mkdir(join(copy, 'more')),
  ],
  'directories a hundred deep': [
    'MEDIUM_INVALID',
    (copy) => mkdir(join(copy, 'log', ...Array<string>(100).fill('d')), { recursive: true }),
  ],
  'a missing file': ['MEDIUM_DAMAGED', (copy) => rm(join(copy, 'log', 'checkpoint'))],
  'a missing header': ['MEDIUM_INVALID', (copy) => rm(join(copy, 'header.json'))],
  'missing sums': ['MEDIUM_DAMAGED', (copy) => rm(join(copy, 'SHA256SUMS'))],
  'a file cut off': ['MEDIUM_DAMAGED', (copy) => truncate(join(copy, 'contents.json'), 10)],
  'a file that grew': [
    'MEDIUM_DAMAGED',
    async (copy) => writeFile(join(copy, 'contents.json'), '\n', { flag: 'a' }),
  ],
  'a link in the place of a file': [
    'MEDIUM_INVALID',
    async (copy) => {
      await rename(join(copy, 'contents.json'), join(folder, 'elsewhere.json'))
      await symlink(join(folder, 'elsewhere.json'), join(copy, 'contents.json'))
    },
  ],
  'a link in the place of the header': [
    'MEDIUM_INVALID',
    async (copy) => {
      await rm(join(copy, 'header.json'))
      await symlink(join(first, 'header.json'), join(copy, 'header.json'))
    },
  ],
  'a link in the place of a directory': [
    'MEDIUM_INVALID',
    async (copy) => {
      await rm(join(copy, 'log'), { recursive: true })
      await symlink(join(first, 'log'), join(copy, 'log'))
    },
  ],
  'a link to a device': ['MEDIUM_INVALID', (copy) => symlink('/dev/zero', join(copy, 'policies'))],
  'a hard link that nobody listed': [
    'MEDIUM_INVALID',
    (copy) => link(join(copy, 'contents.json'), join(copy, 'passwd')),
  ],
  'a pipe in the place of a file': [
    'MEDIUM_INVALID',
    async (copy) => {
      await rm(join(copy, 'contents.json'))
      execFileSync('mkfifo', [join(copy, 'contents.json')])
    },
  ],
  'a pipe in the place of the header': [
    'MEDIUM_INVALID',
    async (copy) => {
      await rm(join(copy, 'header.json'))
      execFileSync('mkfifo', [join(copy, 'header.json')])
    },
  ],
  'a socket': [
    'MEDIUM_INVALID',
    (copy) =>
      new Promise((resolve) => {
        const server = createServer().listen(join(copy, 's'), () => resolve(server))
        server.unref()
      }),
  ],
  'a sparse file of a terabyte': [
    'MEDIUM_DAMAGED',
    (copy) => truncate(join(copy, 'log', 'consistency.json'), 1e12),
  ],
  'a header of a terabyte': ['MEDIUM_INVALID', (copy) => truncate(join(copy, 'header.json'), 1e12)],
  'sums of a terabyte': ['MEDIUM_INVALID', (copy) => truncate(join(copy, 'SHA256SUMS'), 1e12)],
  'another bundle\u2019s contents': [
    'MEDIUM_DAMAGED',
    (copy) => cp(join(second, 'contents.json'), join(copy, 'contents.json')),
  ],
  'another bundle\u2019s sums': [
    'MEDIUM_DAMAGED',
    (copy) => cp(join(second, 'SHA256SUMS'), join(copy, 'SHA256SUMS')),
  ],
  'another bundle\u2019s header': [
    'MEDIUM_DAMAGED',
    (copy) => cp(join(second, 'header.json'), join(copy, 'header.json')),
  ],
  'another bundle\u2019s log': [
    'MEDIUM_INVALID',
    async (copy) => {
      await rm(join(copy, 'log'), { recursive: true })
      await cp(join(second, 'log'), join(copy, 'log'), { recursive: true })
    },
  ],
}

await t.test('hostile media are refused', async (t) => {
  for (const [what, [code, attack]] of Object.entries(ATTACKS)) {
    const copy = await mkdtemp(join(folder, 'attack-'))
    await cp(first, copy, { recursive: true })
    await attack(copy)
    const codes = [await codeOf(verify(copy)), await codeOf(high.import(copy, to))]
    // A log of another length may be caught by its size first; another header by its number.
    const others = what.endsWith('log')
      ? ['MEDIUM_DAMAGED']
      : what.endsWith('header')
        ? ['TRANSFER_GAP']
        : []
    const expected = [code, ...others]
    t.ok(
      codes.every((one) => expected.includes(one ?? '')),
      `${what}: ${codes.join(', ')}`,
    )
    await rm(copy, { recursive: true })
  }
  t.same(
    [...registry.manifests.keys()].filter((name) => !name.includes('staging')),
    [],
    'nothing was imported',
  )
})

await t.test('many small files cost no more than one', async (t) => {
  const copy = join(folder, 'many')
  await cp(first, copy, { recursive: true })
  const many = Number(process.env['AIRSEAL_BUNDLE_FILES'] ?? 20_000)
  for (let at = 0; at < many; at++) await (await open(join(copy, 'log', `f${at}`), 'w')).close()
  const before = process.memoryUsage().rss
  t.equal(await codeOf(verify(copy)), 'MEDIUM_INVALID')
  t.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024, 'memory stays where it was')
})

await t.test('volumes', async (t) => {
  const parts = join(folder, 'parts')
  const [reference = ''] = await tinyLayout(join(folder, 'large'), ['large'])
  // A layer that fits on no volume.
  const { layer, manifest } = await withLayer(join(folder, 'large'), 9_000_000)
  const large = `${reference.split('@')[0] ?? ''}@${manifest}`
  await low.call('sign', { images: [large] })
  const request = { capacity: 5 * 1024 * 1024, target: 'high.example' }
  const { header } = await low.export(parts, [large], request)
  t.ok(header.volumes.length >= 3, `${header.volumes.length} volumes`)
  const volumes = header.volumes.map((_, at) =>
    join(parts, `volume-${String(at + 1).padStart(4, '0')}`),
  )
  const [one = '', two = '', ...others] = volumes

  await t.test(
    'each is checked by sha256sum alone, and none is larger than asked for',
    async (t) => {
      for (const volume of volumes) {
        execFileSync('sha256sum', ['-c', '--quiet', 'SHA256SUMS'], { cwd: volume })
        const sizes = await Promise.all(
          (await filesOf(volume)).map(async (path) => (await stat(path)).size),
        )
        t.ok(sizes.reduce((sum, size) => sum + size, 0) <= request.capacity)
      }
    },
  )

  await t.test('each is verified alone, and a bad one is named', async (t) => {
    t.equal(await codeOf(verify(parts)), null, 'all together')
    t.equal(await codeOf(verify(two)), 'MEDIUM_INCOMPLETE')
    const bad = (await filesOf(two)).find((path) => path.includes(layer)) ?? ''
    const bytes = await readFile(bad)
    bytes.writeUInt8(bytes.readUInt8(1000) ^ 1, 1000)
    await writeFile(bad, bytes)
    const named = { code: 'MEDIUM_DAMAGED', message: /on volume 2 of / }
    await t.rejects(verify(two), named)
    await t.rejects(verify(parts), named)
    await t.rejects(high.import(parts, to), named)
    bytes.writeUInt8(bytes.readUInt8(1000) ^ 1, 1000)
    await writeFile(bad, bytes)
  })

  await t.test('volumes of two bundles do not mix', async (t) => {
    const mixed = await mkdtemp(join(folder, 'mixed-'))
    await cp(one, join(mixed, 'volume-0001'), { recursive: true })
    await cp(first, join(mixed, 'volume-0002'), { recursive: true })
    t.equal(await codeOf(high.import(mixed, to)), 'MEDIUM_INVALID')
  })

  await t.test(
    'one after the other they go through a single drive, in any order after the first',
    async (t) => {
      await t.rejects(high.import(two, to), { code: 'MEDIUM_INCOMPLETE', message: /1, / })
      await t.rejects(high.import(one, to), { code: 'MEDIUM_INCOMPLETE' })
      const [last = '', ...rest] = [...others].reverse()
      for (const volume of rest)
        await t.rejects(high.import(volume, to), { code: 'MEDIUM_INCOMPLETE' })
      const { result } = await high.import(last, to)
      t.match(result, { images: [{ digest: manifest }] })
      t.same(await readdir(join(high.data, 'bundles')), [], 'nothing is kept afterwards')
      t.equal(registry.blobs.get(`sha256:${layer}`)?.length, 9_000_000)
    },
  )
})

/** Adds an image with one layer of so many bytes to a layout. */
async function withLayer(
  layout: string,
  size: number,
): Promise<{ layer: string; manifest: string }> {
  const { createHash, randomBytes } = await import('node:crypto')
  const put = async (bytes: Uint8Array): Promise<{ digest: string; size: number }> => {
    const hex = createHash('sha256').update(bytes).digest('hex')
    await writeFile(join(layout, 'blobs', 'sha256', hex), bytes)
    return { digest: `sha256:${hex}`, size: bytes.length }
  }
  const layer = await put(randomBytes(size))
  const config = await put(
    Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: 'amd64',
        rootfs: { type: 'layers', diff_ids: [layer.digest] },
      }),
    ),
  )
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = await put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }],
      }),
    ),
  )
  return { layer: layer.digest.slice(7), manifest: manifest.digest }
}
