/**
 * Receipts a second, latency and processor time of airseal's log beside Rekor v1, in one run, from one load generator.
 * `npm run bench:log -- --help`
 */
import { parseArgs } from 'node:util'
import { startAirseal } from './airseal.ts'
import { KINDS, signEntries } from './entries.ts'
import type { Kind } from './entries.ts'
import { closedLoop, openLoop } from './load.ts'
import type { LoadOptions, LoadResult } from './load.ts'
import { logKey, treeSize } from './log-server.ts'
import type { LogServer } from './log-server.ts'
import { checkReceipts } from './receipts.ts'
import { startRekorV1 } from './rekor-v1.ts'
import { figure, finish, goalLines, median, quantile, spread, table } from './report.ts'
import type { Goal } from './report.ts'
import { ecdsaMicroseconds, machineBusySeconds, ownCpuSeconds, usageOf } from './usage.ts'
import { Workspace } from './workspace.ts'

const HELP = `npm run bench:log -- [OPTION…]

  --seconds N    how long each measurement sends (10)
  --rounds N     both systems are started anew and measured N times, medians are printed (1)
  --clients N    connections, in the closed loop each with one request on its way (64)
  --kinds LIST   hashedrekord,dsse
  --rekor-defaults   leave Trillian at its defaults instead of the faster set-up
  --only NAME    rekor or airseal: measure only that one, no ratios
  --json FILE    write the figures to FILE as well
  --gate         exit 1 when a goal is missed
  --keep         leave the temporary directory with data and logs
`

/** Answers that prove nothing by themselves are proved by checking this many of each measurement. */
const SAMPLES = 200
/** First entries after a start, before anything is compiled or cached. */
const FIRST_ENTRIES = 2000
const GOAL_RATE = 10
const GOAL_P99 = 1 / 5

interface Figures {
  readonly rate: number
  readonly p50: number
  readonly p99: number
  readonly serverCpu: number
  /** Server CPU of one entry in units of one P-256 verification plus one signature, taken in the same minute. */
  readonly cpuInEcdsa: number
  readonly halfRate: number
  readonly halfP50: number
  readonly halfP99: number
  readonly memory: number
  readonly generatorCores: number
  readonly foreignCores: number
  readonly proved: number
}

interface Settings {
  readonly seconds: number
  readonly clients: number
}

type SystemName = 'rekor' | 'airseal'
const SYSTEMS: readonly SystemName[] = ['rekor', 'airseal']

/** Sends what `run` makes of the options; every answer must be 201, and the tree must have grown by as many leaves. */
async function measure(
  server: LogServer,
  settings: Settings & { readonly kind: Kind; readonly entries: number },
  run: (options: LoadOptions) => Promise<LoadResult>,
): Promise<LoadResult> {
  const source = signEntries(settings.kind, settings.entries, server.port)
  const before = await treeSize(server)
  const result = await run({
    port: server.port,
    clients: settings.clients,
    seconds: settings.seconds,
    source,
    wantStatus: 201,
    sampleEvery: Math.max(1, Math.floor(settings.entries / SAMPLES)),
    serverCpu: () => usageOf(server.pids).cpuSeconds,
  })
  const grown = (await treeSize(server)) - before
  if (result.bad.size > 0) {
    const statuses = [...result.bad].map(([status, count]) => `${count} × ${status}`).join(', ')
    throw new Error(`${server.name}, ${settings.kind}: answers other than 201: ${statuses}`)
  }
  if (grown !== result.good) {
    throw new Error(`${server.name}: ${result.good} receipts, but ${grown} new leaves`)
  }
  checkReceipts(result.samples, await logKey(server))
  return result
}

async function measureKind(server: LogServer, kind: Kind, settings: Settings): Promise<Figures> {
  const warmSeconds = Math.min(3, settings.seconds)
  const warm = { kind, clients: settings.clients, seconds: warmSeconds }
  const cold = await measure(server, { ...warm, entries: FIRST_ENTRIES }, closedLoop)
  const known = Math.ceil(1.5 * cold.rate * warmSeconds)
  const warmed = await measure(server, { ...warm, entries: known }, closedLoop)

  const ecdsa = ecdsaMicroseconds()
  const busy = machineBusySeconds()
  const own = ownCpuSeconds() + usageOf(server.pids).cpuSeconds
  const clock = performance.now()
  const enough = Math.ceil(1.6 * warmed.rate * settings.seconds)
  const top = await measure(server, { kind, ...settings, entries: enough }, closedLoop)
  const rate = top.rate / 2
  const entries = Math.ceil(rate * settings.seconds)
  const half = await measure(server, { kind, ...settings, entries }, (options) =>
    openLoop({ ...options, rate }),
  )
  const others =
    machineBusySeconds() - busy - (ownCpuSeconds() + usageOf(server.pids).cpuSeconds - own)
  return {
    rate: top.rate,
    p50: quantile(top.latencies, 0.5),
    p99: quantile(top.latencies, 0.99),
    serverCpu: top.serverCpuMicroseconds,
    cpuInEcdsa: top.serverCpuMicroseconds / ecdsa,
    halfRate: rate,
    halfP50: quantile(half.latencies, 0.5),
    halfP99: quantile(half.latencies, 0.99),
    memory: usageOf(server.pids).residentMiB,
    generatorCores: top.generatorCores,
    foreignCores: Math.max(0, others / ((performance.now() - clock) / 1000)),
    proved: top.samples.length + half.samples.length,
  }
}

const ROWS: readonly (readonly [title: string, member: keyof Figures])[] = [
  ['receipts/s', 'rate'],
  ['p50 ms', 'p50'],
  ['p99 ms', 'p99'],
  ['server CPU µs per entry', 'serverCpu'],
  ['the same / (P-256 verify + sign)', 'cpuInEcdsa'],
  ['open loop at half that rate, /s', 'halfRate'],
  ['p50 ms', 'halfP50'],
  ['p99 ms', 'halfP99'],
  ['server memory MiB', 'memory'],
  ['load generator, cores', 'generatorCores'],
  ['other load on the machine, cores', 'foreignCores'],
  ['receipts proved', 'proved'],
]

type Results = Partial<Record<SystemName, Partial<Record<Kind, Figures[]>>>>

function print(results: Results, kind: Kind, systems: readonly SystemName[]): void {
  const column = (system: SystemName, member: keyof Figures): string =>
    spread((results[system]?.[kind] ?? []).map((figures) => figures[member]))
  const names = { rekor: 'Rekor v1', airseal: 'airseal' }
  const rows = ROWS.map(([title, member]) => [
    title,
    ...systems.map((system) => column(system, member)),
  ])
  console.log(`\n${table([[kind, ...systems.map((system) => names[system])], ...rows])}`)
}

/** Ratios of rounds, so that both sides of each were taken within minutes. */
function goalsOf(results: Results, kinds: readonly Kind[]): Goal[] {
  return kinds.flatMap((kind) => {
    const ratio = (member: 'rate' | 'halfP99'): number =>
      median(
        (results.airseal?.[kind] ?? []).map(
          (figures, round) => figures[member] / (results.rekor?.[kind]?.[round]?.[member] ?? NaN),
        ),
      )
    return [
      { name: `${kind}: receipts/s, airseal / Rekor v1`, value: ratio('rate'), least: GOAL_RATE },
      {
        name: `${kind}: write p99 at half the own top rate, airseal / Rekor v1`,
        value: ratio('halfP99'),
        most: GOAL_P99,
      },
    ]
  })
}

function positive(text: string, name: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} wants a number above 0`)
  return value
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      rounds: { type: 'string', default: '1' },
      clients: { type: 'string', default: '64' },
      kinds: { type: 'string', default: KINDS.join(',') },
      'rekor-defaults': { type: 'boolean', default: false },
      only: { type: 'string' },
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
  const kinds = KINDS.filter((kind) => values.kinds.split(',').includes(kind))
  const systems = SYSTEMS.filter((name) => values.only === undefined || values.only === name)
  if (kinds.length === 0 || systems.length === 0) throw new Error(`nothing to measure\n\n${HELP}`)
  const settings = {
    seconds: positive(values.seconds, 'seconds'),
    clients: positive(values.clients, 'clients'),
  }
  const rounds = positive(values.rounds, 'rounds')

  const workspace = new Workspace({ keep: values.keep })
  if (values.keep) console.log(`data and logs: ${workspace.directory}`)
  const results: Results = {}
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const system of systems) {
        const name = `${system}-${round}`
        const server =
          system === 'rekor'
            ? await startRekorV1(workspace, name, { tuned: !values['rekor-defaults'] })
            : await startAirseal(workspace, name, workspace.path(name))
        console.error(`round ${round}: ${server.name} is up on port ${server.port}`)
        try {
          for (const kind of kinds) {
            const figures = await measureKind(server, kind, settings)
            ;((results[system] ??= {})[kind] ??= []).push(figures)
            const rate = figure(figures.rate)
            console.error(`round ${round}: ${server.name}, ${kind}: ${rate} receipts/s`)
          }
        } finally {
          await server.stop()
        }
      }
    }
  } catch (error) {
    // What was measured before the failure is still worth seeing; ratios of half a run are not.
    for (const kind of kinds) print(results, kind, systems)
    throw error
  }
  for (const kind of kinds) print(results, kind, systems)
  const goals = systems.length === SYSTEMS.length ? goalsOf(results, kinds) : []
  if (goals.length > 0) console.log(`\n${goalLines(goals)}`)
  finish(goals, { settings, rounds, systems: results }, values)
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exit(2)
})
