import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { access, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { codeOf, startPair } from '../offline-bundles/support/enclaves.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { program } from '../support/programs.ts'
import { AIRSEAL, run, temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'

/** Exports and imports that are killed, each. */
const KILLS = Number(process.env['AIRSEAL_BUNDLE_KILLS'] ?? 3)
/** The whole command takes about this long, milliseconds. */
const SPAN = 1_500

const folder = await temporaryDirectory(t)
const registry = await startPlainRegistry()
t.teardown(() => registry.stop())
const { low, high } = await startPair(t, folder)
const images: string[] = []
for (let at = 0; at < 4; at++) {
  const [image = ''] = await tinyLayout(join(folder, `app${at}`), [`app${at}`])
  await low.call('sign', { images: [image] })
  images.push(image)
}
// From here on the directories belong to the commands.
await low.close()
await high.close()
const env = { AIRSEAL_PASSPHRASE: 'correct horse' }

/** Runs a command again and again, killed at random moments, then once to its end. */
async function killed(args: readonly string[]): Promise<string> {
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(AIRSEAL, args, { env: { ...process.env, ...env }, stdio: 'ignore' })
    const timer = setTimeout(() => child.kill('SIGKILL'), randomInt(SPAN))
    await new Promise((resolve) => child.once('close', resolve))
    clearTimeout(timer)
  }
  const done = await run(AIRSEAL, args, { env })
  // One that was not hit has made its bundle: making it again is then refused.
  if (done.code !== 0) t.match(done.stderr, 'exists: a bundle gets a directory of its own')
  return done.stdout
}

await t.test(
  'an export that is killed is finished by the next run, under the same number',
  async (t) => {
    const bundle = join(folder, 'bundle')
    await killed(['bundle', 'export', ...images, '--output', bundle, '--data', low.data])
    const trust = join(low.data, 'public', 'trust-bundle.json')
    const verified = await run(AIRSEAL, [
      'bundle',
      'verify',
      bundle,
      '--trust',
      trust,
      '-o',
      'json',
    ])
    t.equal(verified.code, 0, verified.stderr)
    t.match(JSON.parse(verified.stdout), { sequence: 1, images: { length: images.length } })
  },
)

await t.test('an import that is killed is finished by the next run, with one result', async (t) => {
  const args = [
    'bundle',
    'import',
    join(folder, 'bundle'),
    '--registry',
    `${registry.address}/in`,
    '--data',
    high.data,
    '-o',
    'json',
  ]
  const first = JSON.parse(await killed(args)) as { images: unknown[]; imported: string }
  t.equal(first.images.length, images.length)
  const again = JSON.parse((await run(AIRSEAL, args, { env })).stdout) as {
    replay: boolean
    imported: string
  }
  t.match(again, { replay: true, imported: first.imported })
  for (const image of images) {
    const digest = image.split('@')[1] ?? ''
    const name = /app\d/.exec(image)?.[0] ?? ''
    t.ok(registry.manifests.has(`in/${name}/${digest}`), name)
    t.ok(registry.manifests.has(`in/${name}/${digest.replace(':', '-')}.sig`), 'with its signature')
  }
})

const isRoot = process.getuid?.() === 0 && program('unshare') !== null

await t.test(
  'a full medium is told, and the export goes on once there is room',
  isRoot ? {} : { skip: 'mounting needs root' },
  async (t) => {
    const medium = join(folder, 'medium')
    await mkdir(medium)
    const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', medium])
    if (mounted.code !== 0) {
      t.pass('no tmpfs here')
      return
    }
    try {
      await low.reopen()
      const output = join(medium, 'bundle')
      t.equal(await codeOf(low.export(output, images, { target: 'high.example' })), 'STORAGE_FULL')
      t.equal(
        await access(output).then(
          () => true,
          () => false,
        ),
        false,
        'nothing has the name of a bundle',
      )
      await run('mount', ['-o', 'remount,size=8m', medium])
      const { header } = await low.export(output, images, { target: 'high.example' })
      t.equal(header.sequence, 1)
    } finally {
      await run('umount', [medium])
    }
  },
)
