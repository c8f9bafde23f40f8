// How long bundles take beside `cp` and `sha256sum` of the same bytes, in the same run on the same disk.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { cpSync, createWriteStream, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { figure, goalLines, table } from './report.ts'
import { usageOf } from './usage.ts'
import { answers, freePort, Workspace, type Running } from './workspace.ts'

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '256' },
    layers: { type: 'string', default: '8' },
    registry: { type: 'string', default: 'docker-registry' },
    keep: { type: 'boolean', default: false },
  },
})
const AIRSEAL = fileURLToPath(new URL('../bin/airseal', import.meta.url))
const layers = Number(values.layers)
const layerBytes = Math.floor((Number(values.megabytes) * 1e6) / layers)
const workspace = new Workspace({ keep: values.keep })
const at = (...parts: string[]): string => join(workspace.directory, ...parts)

interface Measured {
  readonly seconds: number
  /** Most memory that was resident at once, MiB; of airseal alone, not of the registry. */
  readonly residentMiB: number
  readonly stdout: string
}

/** Runs a program to its end and looks at its memory ten times a second. */
function measure(program: string, args: readonly string[]): Promise<Measured> {
  const started = performance.now()
  const child = spawn(program, args, {
    cwd: workspace.directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let [stdout, stderr, residentMiB] = ['', '', 0]
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const look = setInterval(() => {
    residentMiB = Math.max(residentMiB, usageOf([child.pid ?? 0]).residentMiB)
  }, 100)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      clearInterval(look)
      if (code === 0)
        resolve({ seconds: (performance.now() - started) / 1000, residentMiB, stdout })
      else
        reject(
          new Error(`${program} ${args.join(' ')} ended with ${code ?? 'a signal'}\n${stderr}`),
        )
    })
  })
}

const airseal = (side: string, ...args: readonly string[]): Promise<Measured> =>
  measure(AIRSEAL, [...args, '--data', at(side)])

/** An image layout whose layers are noise, written piece by piece. @returns digest of the manifest */
async function makeImage(
  directory: string,
  tag: string,
  kept: readonly object[],
  fresh: readonly number[],
): Promise<{ digest: string; layers: object[] }> {
  const blobs = join(directory, 'blobs', 'sha256')
  mkdirSync(blobs, { recursive: true })
  const all = [...kept]
  for (const size of fresh) {
    const hash = createHash('sha256')
    const temporary = join(directory, 'layer')
    const file = createWriteStream(temporary)
    for (let left = size; left > 0;) {
      const chunk = randomBytes(Math.min(left, 4 * 1024 * 1024))
      hash.update(chunk)
      left -= chunk.length
      if (!file.write(chunk)) await once(file, 'drain')
    }
    file.end()
    await once(file, 'close')
    const hex = hash.digest('hex')
    cpSync(temporary, join(blobs, hex))
    rmSync(temporary)
    all.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${hex}`, size })
  }
  const put = (
    mediaType: string,
    value: object,
  ): { mediaType: string; digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value))
    const hex = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(blobs, hex), bytes)
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length }
  }
  const config = put('application/vnd.oci.image.config.v1+json', {
    os: 'linux',
    architecture: 'amd64',
    created: new Date().toISOString(),
    rootfs: { type: 'layers', diff_ids: [] },
  })
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = put(mediaType, { schemaVersion: 2, mediaType, config, layers: all })
  const annotations = { 'org.opencontainers.image.ref.name': tag }
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  )
  return { digest: manifest.digest, layers: all }
}

/** Until they end, this process does not. */
const registries: Running[] = []

async function startRegistry(name: string): Promise<string> {
  const host = `127.0.0.1:${await freePort()}`
  const config = at(`${name}.yml`)
  writeFileSync(
    config,
    `version: 0.1\nlog: { level: warn }\nstorage: { filesystem: { rootdirectory: ${JSON.stringify(at(name))} } }\nhttp: { addr: "${host}" }\n`,
  )
  const server = workspace.start(name, values.registry, ['serve', config])
  registries.push(server)
  await workspace.waitFor(server, () => answers(`http://${host}/v2/`))
  return host
}

const layout = at('layout')
const first = await makeImage(layout, 'v1', [], Array<number>(layers).fill(layerBytes))
const bytes = layers * layerBytes
await airseal('low', 'init', '--public-url', 'http://low.example:8470')
await airseal(
  'high',
  'init',
  '--public-url',
  'http://high.example:8470',
  '--trust',
  at('low', 'public', 'trust-bundle.json'),
)
await airseal('low', 'bundle', 'peer', at('high', 'public', 'trust-bundle.json'))
await airseal('low', 'sign', `oci:${layout}@${first.digest}`)

const copy = await measure('sh', [
  '-c',
  'cp -r layout copy && sync copy copy/blobs/sha256/* && find copy -type f -exec sha256sum {} + > sums',
])
rmSync(at('copy'), { recursive: true })
const fromLayout = await airseal(
  'low',
  'bundle',
  'export',
  `oci:${layout}:v1`,
  '--output',
  at('one'),
)
rmSync(at('one'), { recursive: true })
const near = await startRegistry('near')
await airseal('low', 'bundle', 'copy', `oci:${layout}:v1`, `${near}/app:v1`)
const fromRegistry = await airseal(
  'low',
  'bundle',
  'export',
  `${near}/app:v1`,
  '--output',
  at('two'),
  '--kind',
  'rebase',
)
const far = await startRegistry('far')
const imported = await airseal('high', 'bundle', 'import', at('two'), '--registry', `${far}/in`)
const receipt = await airseal('high', 'bundle', 'receipt')
await airseal('low', 'bundle', 'receipt', ...receipt.stdout.trim().split(/\s+/))
rmSync(at('two'), { recursive: true })

const small = Math.max(1_000_000, Math.floor(bytes / 100))
const second = await makeImage(layout, 'v2', first.layers, [small])
await airseal('low', 'sign', `oci:${layout}@${second.digest}`)
const delta = await airseal(
  'low',
  'bundle',
  'export',
  `oci:${layout}:v2`,
  '--output',
  at('three'),
  '--kind',
  'delta',
)
const deltaIn = await airseal('high', 'bundle', 'import', at('three'), '--registry', `${far}/in`)
for (const server of registries) await server.stop()

const row = (what: string, { seconds, residentMiB }: Measured, of = bytes): string[] => [
  what,
  figure(seconds),
  figure(of / 1e6 / seconds),
  figure(seconds / copy.seconds),
  residentMiB === 0 ? '' : figure(residentMiB),
]
process.stdout.write(
  `${bytes / 1e6} MB in ${layers} layers; registry: ${values.registry}\n\n${table([
    ['', 'seconds', 'MB/s', 'of cp + sha256sum', 'resident MiB'],
    row('cp, sync, sha256sum', { ...copy, residentMiB: 0 }),
    row('export from a layout', fromLayout),
    row('export from a registry', fromRegistry),
    row('import', imported),
    row(`delta of ${small / 1e6} MB, export`, delta, small),
    row(`delta of ${small / 1e6} MB, import`, deltaIn, small),
  ])}\n\n${goalLines([
    {
      name: 'export from a layout, of cp + sha256sum',
      value: fromLayout.seconds / copy.seconds,
      most: 1.5,
    },
    {
      name: 'export from a registry, of cp + sha256sum',
      value: fromRegistry.seconds / copy.seconds,
      most: 1.5,
    },
    { name: 'import, of cp + sha256sum', value: imported.seconds / copy.seconds, most: 1.5 },
    {
      name: 'resident MiB',
      value: Math.max(fromLayout.residentMiB, fromRegistry.residentMiB, imported.residentMiB),
      most: 300,
    },
  ])}\n`,
)
