/**
 * Time of one verdict and verdicts a second of airseal beside `cosign verify`, in one run, on the same images in one registry.
 * `npm run bench:verify -- --help`
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { AIRSEAL, startAirseal } from './airseal.ts'
import { postRequest } from './http-message.ts'
import { pushImage, startRegistry } from './images.ts'
import { closedLoop } from './load.ts'
import type { LoadResult } from './load.ts'
import type { LogServer } from './log-server.ts'
import { program } from './programs.ts'
import { figure, finish, goalLines, median, quantile, table } from './report.ts'
import type { Goal } from './report.ts'
import { ecdsaMicroseconds, usageOf } from './usage.ts'
import { Workspace } from './workspace.ts'

const HELP = `npm run bench:verify -- [OPTION…]

  --runs N       whole processes timed of each program (20)
  --images N     images that the service has never seen, for the cold figure (100)
  --seconds N    how long the warm service is asked (5)
  --clients N    connections that ask the warm service (16)
  --json FILE    write the figures to FILE as well
  --gate         exit 1 when a goal is missed
  --keep         leave the temporary directory with data and logs
`

const GOAL_PROCESS = 8
const GOAL_COLD = 1 / 2
/** Runs before the clock counts: disk cache, compiled code. */
const WARM_UP = 2
/** Images of one sign request, well below the service's limit. */
const SIGN_AT_ONCE = 20

/** One way to get a verdict on one image with one process. */
interface Contender {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
}

/** Milliseconds of `runs` whole processes of each contender, ascending; they take turns, so that all meet the same noise. */
async function timeProcesses(
  workspace: Workspace,
  contenders: readonly Contender[],
  runs: number,
): Promise<Map<string, number[]>> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  // cosign and airseal keep caches below the home directory; the run leaves none and finds none.
  const environment = { HOME: workspace.path('home') }
  for (let run = -WARM_UP; run < runs; run++) {
    for (const contender of contenders) {
      const start = performance.now()
      // An exit code other than 0 throws: every run is an accepted signature.
      await workspace.run(contender.program, contender.args, { environment })
      if (run >= 0) times.get(contender.name)?.push(performance.now() - start)
    }
  }
  for (const list of times.values()) list.sort((a, b) => a - b)
  return times
}

/** @throws Error unless `text` is the answer to `POST /v1/verify` for one image and that is verified */
function mustBeVerified(text: string): void {
  const { results } = JSON.parse(text) as { results?: { outcome: string }[] }
  if (results?.length !== 1 || results[0]?.outcome !== 'verified') {
    throw new Error(`not one verified image: ${text.slice(0, 500)}`)
  }
}

/** Asks the service about `images` with `clients` connections and demands that the sampled answers say verified. */
async function ask(
  server: LogServer,
  images: readonly string[],
  options: { readonly clients: number; readonly seconds: number; readonly repeat: boolean },
): Promise<LoadResult> {
  const requests = images.map((image) =>
    postRequest(server.port, '/v1/verify', JSON.stringify({ images: [image] })),
  )
  let next = 0
  const result = await closedLoop({
    port: server.port,
    clients: options.clients,
    seconds: options.seconds,
    source: () => requests[options.repeat ? next++ % requests.length : next++] ?? null,
    wantStatus: 200,
    sampleEvery: options.repeat ? 100 : 1,
    serverCpu: () => usageOf(server.pids).cpuSeconds,
  })
  if (result.bad.size > 0) throw new Error(`verify answered ${[...result.bad.keys()].join(', ')}`)
  for (const { body } of result.samples) mustBeVerified(body.toString())
  return result
}

async function sign(server: LogServer, images: readonly string[]): Promise<void> {
  for (let at = 0; at < images.length; at += SIGN_AT_ONCE) {
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/sign`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ images: images.slice(at, at + SIGN_AT_ONCE) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`POST /v1/sign answered ${response.status}: ${text}`)
  }
}

/** The two cosigns with the trust files of `data`, as airseal's documentation has them called. */
function cosigns(data: string, image: string): Contender[] {
  const trust = [
    '--key',
    join(data, 'public', 'cosign.pub'),
    '--trusted-root',
    join(data, 'public', 'trusted_root.json'),
  ]
  return ['cosign2', 'cosign3'].map((name) => ({
    name: `${name} verify`,
    program: program(name, `run .ci/install-clients ${name}`),
    args: ['verify', ...trust, image],
  }))
}

interface Measured {
  readonly processes: ReadonlyMap<string, readonly number[]>
  readonly stopped: ReadonlyMap<string, readonly number[]>
  readonly cold: LoadResult
  readonly warm: LoadResult
  readonly ecdsa: number
}

async function measure(
  workspace: Workspace,
  settings: { runs: number; images: number; seconds: number; clients: number },
): Promise<Measured> {
  mkdirSync(workspace.path('home'), { mode: 0o700 })
  const data = workspace.path('airseal')
  const registry = await startRegistry(workspace)
  const images: string[] = []
  for (let n = 0; n <= settings.images; n++) images.push(await pushImage(registry))
  const [image = '', ...unseen] = images

  const signer = await startAirseal(workspace, 'signing', data)
  await sign(signer, images)
  // Started anew, the service remembers nothing of what it signed.
  await signer.stop()
  const server = await startAirseal(workspace, 'verifying', data)
  const ours: Contender = {
    name: 'airseal verify',
    program: AIRSEAL,
    args: ['verify', '--data', data, image],
  }
  const ecdsa = ecdsaMicroseconds()
  // The first request of a connection and a process is a start-up cost; the other image pays for it.
  await ask(server, [image], { clients: 1, seconds: 60, repeat: false })
  const cold = await ask(server, unseen, { clients: 1, seconds: 600, repeat: false })
  const contenders = [...cosigns(data, image), ours]
  const processes = await timeProcesses(workspace, contenders, settings.runs)
  const warmLoad = { clients: settings.clients, seconds: settings.seconds, repeat: true }
  const warm = await ask(server, unseen, warmLoad)
  await server.stop()
  const stopped = await timeProcesses(workspace, contenders, settings.runs)
  await registry.server.stop()
  return { processes, stopped, cold, warm, ecdsa }
}

/** The faster of the two cosigns is the one to compare with, median in milliseconds. */
function cosignMilliseconds(times: ReadonlyMap<string, readonly number[]>): number {
  return Math.min(
    ...['cosign2', 'cosign3'].map((name) => median(times.get(`${name} verify`) ?? [])),
  )
}

function print({ processes, stopped, cold, warm, ecdsa }: Measured): void {
  const row = (name: string, times: ArrayLike<number>): string[] => {
    const half = quantile(times, 0.5)
    return [name, figure(half), figure(quantile(times, 0.99)), figure(1000 / half)]
  }
  const rows = [
    ['one after another', 'p50 ms', 'p99 ms', 'verdicts/s'],
    ...[...processes].map(([name, times]) => row(`${name}, whole process`, times)),
    row('the same, no service running', stopped.get('airseal verify') ?? []),
    row('POST /v1/verify, digest never seen', cold.latencies),
  ]
  console.log(`\n${table(rows)}`)
  console.log(
    `\nwarm service: ${figure(warm.rate)} verdicts/s, p50 ${figure(quantile(warm.latencies, 0.5))} ms, ` +
      `p99 ${figure(quantile(warm.latencies, 0.99))} ms, ${figure(warm.serverCpuMicroseconds)} µs of CPU each ` +
      `(${figure(warm.serverCpuMicroseconds / ecdsa)} × one P-256 verify + sign)`,
  )
}

function goalsOf({ processes, stopped, cold }: Measured): Goal[] {
  const ratio = (times: ReadonlyMap<string, readonly number[]>): number =>
    median(times.get('airseal verify') ?? []) / cosignMilliseconds(times)
  return [
    {
      name: 'airseal verify / cosign verify, whole process, service running',
      value: ratio(processes),
      most: GOAL_PROCESS,
    },
    {
      name: 'airseal verify / cosign verify, whole process, no service',
      value: ratio(stopped),
      most: GOAL_PROCESS,
    },
    {
      name: 'cold POST /v1/verify p50 / cosign verify',
      value: quantile(cold.latencies, 0.5) / cosignMilliseconds(processes),
      most: GOAL_COLD,
    },
  ]
}

function positive(text: string, name: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} wants a number above 0`)
  return value
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '20' },
      images: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '5' },
      clients: { type: 'string', default: '16' },
      json: { type: 'string' },
      gate: { type: 'boolean' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    console.log(HELP)
    return
  }
  const settings = {
    runs: positive(values.runs, 'runs'),
    images: positive(values.images, 'images'),
    seconds: positive(values.seconds, 'seconds'),
    clients: positive(values.clients, 'clients'),
  }
  const workspace = new Workspace({ keep: values.keep })
  if (values.keep) console.log(`data and logs: ${workspace.directory}`)
  const measured = await measure(workspace, settings)
  print(measured)
  const goals = goalsOf(measured)
  console.log(`\n${goalLines(goals)}`)
  const { processes, stopped, cold, warm, ecdsa } = measured
  const results = {
    settings,
    ecdsa,
    processes: Object.fromEntries(processes),
    stopped: Object.fromEntries(stopped),
    cold: [...cold.latencies],
    warm: { rate: warm.rate, cpu: warm.serverCpuMicroseconds },
  }
  finish(goals, results, values)
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exit(2)
})
