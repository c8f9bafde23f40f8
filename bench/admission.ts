/**
 * Time of one admission review, reviews a second, and the time from a signature to an admitted Pod, beside `kyverno apply` for the same Pod and policy
 * in the same registry, in one run. `npm run bench:admission -- --help`
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { AIRSEAL, startAirseal } from './airseal.ts'
import { pushImage, startRegistry } from './images.ts'
import { program } from './programs.ts'
import { figure, finish, goalLines, quantile, table, type Goal } from './report.ts'
import { Workspace } from './workspace.ts'

const HELP = `npm run bench:admission -- [OPTION…]

  --runs N       reviews of a Pod of 20 containers that are timed (300), and a twentieth of it runs of kyverno
  --seconds N    how long mixed reviews are sent (10; 300 for the figure in the documentation)
  --rate N       mixed reviews a second (100)
  --json FILE    write the figures to FILE as well
  --gate         exit 1 when a goal is missed
  --keep         leave the temporary directory with data and logs
`
const CONTAINERS = 20
const GOAL_P99_MS = 15
const GOAL_SIGNED_MS = 1_000
const SIGNED = 40

interface Answer {
  readonly response: { readonly allowed: boolean; readonly status?: { readonly message: string } }
}

function podOf(images: readonly string[]): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'app', namespace: 'default' },
    spec: { containers: images.map((image, at) => ({ name: `c${at}`, image })) },
  }
}

async function review(url: string, images: readonly string[]): Promise<Answer> {
  const request = {
    uid: crypto.randomUUID(),
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', resource: 'pods' },
    operation: 'CREATE',
    namespace: 'default',
    userInfo: { username: 'bench' },
    object: podOf(images),
  }
  const answer = await fetch(`${url}/admission/validate?timeout=10s`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request }),
  })
  return (await answer.json()) as Answer
}

function policyOf(key: string, rekor: string, url: string, port: number): Record<string, unknown> {
  const keys = { publicKeys: key, rekor: { url, pubkey: rekor }, ctlog: { ignoreSCT: true } }
  return {
    apiVersion: 'kyverno.io/v1',
    kind: 'ClusterPolicy',
    metadata: { name: 'bench' },
    spec: {
      background: false,
      rules: [
        {
          name: 'signed',
          match: { any: [{ resources: { kinds: ['Pod'] } }] },
          verifyImages: [
            {
              imageReferences: [`127.0.0.1:${port}/*`],
              failureAction: 'Enforce',
              attestors: [{ entries: [{ keys }] }],
            },
          ],
        },
      ],
    },
  }
}

/** Sends so many reviews a second, whatever the answers take; counts those that are wrong. */
async function mixed(
  url: string,
  rate: number,
  seconds: number,
  signed: readonly string[],
  unsigned: readonly string[],
): Promise<{ readonly times: number[]; readonly wrong: number }> {
  const times: number[] = []
  let wrong = 0
  const pending: Promise<void>[] = []
  const start = performance.now()
  for (let n = 0; n < rate * seconds; n++) {
    const due = start + (n * 1000) / rate
    const wait = due - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const good = n % 4 !== 3
    const pool = good ? signed : unsigned
    const images = [
      pool[n % pool.length] ?? '',
      ...(n % 2 === 0 ? [signed[(n * 7) % signed.length] ?? ''] : []),
    ]
    const begun = performance.now()
    pending.push(
      review(url, images).then(
        ({ response }) => {
          times.push(performance.now() - begun)
          if (response.allowed !== good) wrong++
        },
        () => {
          wrong++
        },
      ),
    )
  }
  await Promise.all(pending)
  return { times: times.sort((a, b) => a - b), wrong }
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '300' },
    seconds: { type: 'string', default: '10' },
    rate: { type: 'string', default: '100' },
    json: { type: 'string' },
    gate: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const [runs, seconds, rate] = [values.runs, values.seconds, values.rate].map(Number)
const workspace = new Workspace({ keep: values.keep })
try {
  const registry = await startRegistry(workspace)
  const data = workspace.path('data')
  const server = await startAirseal(workspace, 'airseal', data)
  const url = `http://127.0.0.1:${server.port}`
  const [key, rekor] = ['cosign.pub', 'rekor.pub'].map((name) =>
    readFileSync(`${data}/public/${name}`, 'utf8'),
  )
  const policy = workspace.path('policy.yaml')
  writeFileSync(policy, stringify(policyOf(key ?? '', rekor ?? '', url, registry.port)))
  const airseal = (...args: readonly string[]): Promise<string> =>
    workspace.run(AIRSEAL, [args[0] ?? '', '--data', data, ...args.slice(1)])
  const push = (count: number): Promise<string[]> =>
    Promise.all(Array.from({ length: count }, () => pushImage(registry)))
  const [signed, unsigned] = [await push(SIGNED), await push(SIGNED / 4)]
  await airseal('sign', ...signed)
  await airseal('policy', 'add', policy)

  // One Pod of 20 containers, warm.
  const images = signed.slice(0, CONTAINERS)
  const times: number[] = []
  for (let run = -20; run < (runs ?? 300); run++) {
    const begun = performance.now()
    const { response } = await review(url, images)
    if (!response.allowed) throw new Error(response.status?.message ?? 'denied')
    if (run >= 0) times.push(performance.now() - begun)
  }
  times.sort((a, b) => a - b)

  // The peer, on the same Pod.
  const manifest = workspace.path('pod.yaml')
  writeFileSync(manifest, stringify(podOf(images)))
  const kyverno = program('kyverno', 'run .ci/install-clients kyverno')
  const peer: number[] = []
  for (let run = -1; run < Math.max(3, (runs ?? 300) / 20); run++) {
    const begun = performance.now()
    await workspace.run(kyverno, ['apply', policy, '--resource', manifest, '--registry'], {
      environment: { HOME: workspace.path('home') },
    })
    if (run >= 0) peer.push(performance.now() - begun)
  }
  peer.sort((a, b) => a - b)

  const load = await mixed(url, rate ?? 100, seconds ?? 10, signed, unsigned)

  // From the signature of an image that was just refused to its Pod.
  const fresh: number[] = []
  for (const image of await push(5)) {
    await review(url, [image])
    await airseal('sign', image)
    const begun = performance.now()
    while (!(await review(url, [image])).response.allowed) {
      if (performance.now() - begun > 10_000) throw new Error('a signed image is not admitted')
    }
    fresh.push(performance.now() - begun)
  }
  fresh.sort((a, b) => a - b)

  const row = (name: string, list: readonly number[]): string[] => [
    name,
    ...[0.5, 0.99].map((share) => figure(quantile(list, share))),
  ]
  process.stdout.write(
    `${table([
      ['milliseconds', 'p50', 'p99'],
      row(`airseal, Pod of ${CONTAINERS} containers, warm`, times),
      row('kyverno apply, the same Pod, whole process', peer),
      row(`airseal, ${rate ?? 100} mixed reviews/s for ${seconds ?? 10} s`, load.times),
      row('from `airseal sign` to admitted', fresh),
    ])}\n\nwrong answers: ${load.wrong} of ${load.times.length}\n`,
  )
  const goals: readonly Goal[] = [
    {
      name: 'Pod of 20 containers, warm, p99, ms',
      value: quantile(times, 0.99),
      most: GOAL_P99_MS,
    },
    { name: 'wrong answers', value: load.wrong, most: 0 },
    { name: 'from signature to admitted, ms', value: fresh.at(-1) ?? NaN, most: GOAL_SIGNED_MS },
  ]
  process.stdout.write(`${goalLines(goals)}\n`)
  finish(goals, { times, peer, load, fresh }, { json: values.json, gate: values.gate })
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(2)
}
