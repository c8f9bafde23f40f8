/**
 * Time of one verdict and verdicts a second of airseal beside `cosign verify`, in one run, on the same images in one registry.
 * `npm run bench:verify -- --help`
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { AIRSEAL, startAirseal } from './airseal.ts'
import { postRequest } from './http-message.ts'
import { pushImage, startRegistry } from './images.ts'
import { closedLoop, openLoop } from './load.ts'
import type { LoadResult } from './load.ts'
import type { LogServer } from './log-server.ts'
import { program } from './programs.ts'
import { figure, finish, goalLines, median, quantile, table } from './report.ts'
import type { Goal } from './report.ts'
import { ecdsaMicroseconds, usageOf, verifyMicroseconds } from './usage.ts'
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

const GOAL_PROCESS = 4
const GOAL_COLD = 1 / 5
const GOAL_WARM = 20_000
const GOAL_WARM_P99 = 5
/** CPU of a full verification in P-256 verifications: the signature's and the signed entry timestamp's, with everything around them. */
const GOAL_FULL = 1.7 * 2
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

/** Latencies at a steady part of the top rate, from the moment each request was due. */
async function atSteadyRate(
  server: LogServer,
  images: readonly string[],
  options: { readonly rate: number; readonly clients: number; readonly seconds: number },
): Promise<LoadResult> {
  const requests = images.map((image) =>
    postRequest(server.port, '/v1/verify', JSON.stringify({ images: [image] })),
  )
  let next = 0
  return openLoop({
    port: server.port,
    ...options,
    source: () => requests[next++ % requests.length] ?? null,
    wantStatus: 200,
    sampleEvery: 1000,
    serverCpu: () => usageOf(server.pids).cpuSeconds,
  })
}

/**
 * Every request is a question of its own about images whose evidence is known: all of it is judged, and nothing kept serves. The images have one
 * legacy signature each, so it is two verifications.
 */
async function askInFull(
  server: LogServer,
  images: readonly string[],
  options: { readonly clients: number; readonly seconds: number },
): Promise<LoadResult> {
  let next = 0
  return closedLoop({
    port: server.port,
    ...options,
    source: () => {
      const image = images[next++ % images.length] ?? ''
      const identity = [image.slice(0, image.indexOf('@')), `question-${next}`]
      return postRequest(server.port, '/v1/verify', JSON.stringify({ images: [image], identity }))
    },
    wantStatus: 200,
    sampleEvery: 500,
    serverCpu: () => usageOf(server.pids).cpuSeconds,
  }).then((result) => {
    for (const { body } of result.samples) mustBeVerified(body.toString())
    return result
  })
}

async function sign(
  server: LogServer,
  images: readonly string[],
  signatures: 'both' | 'legacy' = 'both',
): Promise<void> {
  for (let at = 0; at < images.length; at += SIGN_AT_ONCE) {
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/sign`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ images: images.slice(at, at + SIGN_AT_ONCE), signatures }),
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
  readonly steady: LoadResult
  readonly full: LoadResult
  /** Microseconds of one P-256 verification in the minute of `full`. */
  readonly verification: number
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
  const legacy: string[] = []
  for (let n = 0; n < 20; n++) legacy.push(await pushImage(registry))
  await sign(signer, legacy, 'legacy')
  await signer.stop()
  // Started anew without its cache, the service knows nothing of what it signed.
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(join(data, `cache.db${suffix}`), { force: true })
  }
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
  const steady = await atSteadyRate(server, unseen, {
    rate: warm.rate * 0.7,
    clients: settings.clients * 4,
    seconds: settings.seconds,
  })
  // Seen once, the rest is known.
  await ask(server, legacy, { clients: 1, seconds: 60, repeat: false })
  const verification = verifyMicroseconds()
  const full = await askInFull(server, legacy, settings)
  await server.stop()
  const stopped = await timeProcesses(workspace, contenders, settings.runs)
  await registry.server.stop()
  return { processes, stopped, cold, warm, steady, full, verification, ecdsa }
}

/** The faster of the two cosigns is the one to compare with, median in milliseconds. */
function cosignMilliseconds(times: ReadonlyMap<string, readonly number[]>): number {
  return Math.min(
    ...['cosign2', 'cosign3'].map((name) => median(times.get(`${name} verify`) ?? [])),
  )
}

function print(measured: Measured): void {
  const { processes, stopped, cold, warm, steady, full, verification, ecdsa } = measured
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
  console.log(
    `at 70 % of that: p50 ${figure(quantile(steady.latencies, 0.5))} ms, p99 ${figure(quantile(steady.latencies, 0.99))} ms`,
  )
  console.log(
    `full verifications, everything known, nothing kept: ${figure(full.rate)}/s, ${figure(full.serverCpuMicroseconds)} µs of CPU each ` +
      `(${figure(full.serverCpuMicroseconds / verification)} × one P-256 verification, ${figure(verification)} µs)`,
  )
}

function goalsOf(measured: Measured): Goal[] {
  const { processes, stopped, cold, warm, steady, full, verification } = measured
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
    { name: 'warm verdicts a second', value: warm.rate, least: GOAL_WARM },
    {
      name: 'warm p99 at 70 %, ms',
      value: quantile(steady.latencies, 0.99),
      most: GOAL_WARM_P99,
    },
    {
      name: 'full verification, CPU / one P-256 verification',
      value: full.serverCpuMicroseconds / verification,
      most: GOAL_FULL,
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
  const { processes, stopped, cold, warm, steady, full, verification, ecdsa } = measured
  const results = {
    settings,
    ecdsa,
    processes: Object.fromEntries(processes),
    stopped: Object.fromEntries(stopped),
    cold: [...cold.latencies],
    warm: { rate: warm.rate, cpu: warm.serverCpuMicroseconds },
    steady: { p99: quantile(steady.latencies, 0.99) },
    full: { rate: full.rate, cpu: full.serverCpuMicroseconds, verification },
  }
  finish(goals, results, values)
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exit(2)
})
