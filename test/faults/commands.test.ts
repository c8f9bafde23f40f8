import { spawn } from 'node:child_process'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { AIRSEAL, run, temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { allJobs, fsckFaults } from './inquest.ts'
import { campaignSeed, campaignSize, seededRandom } from './random.ts'

const seed = campaignSeed()
const initKills = campaignSize('AIRSEAL_INIT_KILLS', 50)
const signKills = campaignSize('AIRSEAL_SIGN_KILLS', 20)

/** Images of one command; and the longest wait after a result until the kill, about what an image takes. */
const IMAGES_EACH = 4
const MOST_DELAY_MS = 60

t.setTimeout(60_000 + (initKills + signKills) * 4_000)

/**
 * Runs a command and kills it, when it still runs: some milliseconds after it printed so many results, or after its start.
 * @returns what it printed until then, and its exit code (null: killed)
 */
function runAndKill(
  args: readonly string[],
  milliseconds: number,
  results = 0,
): Promise<{ code: number | null; stdout: string }> {
  return new Promise((resolve) => {
    const child = spawn(AIRSEAL, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    let stdout = ''
    let dying = false
    const look = (): void => {
      if (dying || (stdout.match(/^ {2}digest/gm)?.length ?? 0) < results) return
      dying = true
      void sleep(milliseconds).then(() => child.kill('SIGKILL'))
    }
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      look()
    })
    child.on('close', (code) => {
      resolve({ code, stdout })
    })
    look()
  })
}

await t.test(
  `init, killed ${initKills} times, starts over and leaves a usable directory`,
  async (t) => {
    t.comment(`seed ${seed} (AIRSEAL_SEED)`)
    const directory = await temporaryDirectory(t)
    const random = seededRandom(seed)
    // How long one takes here says where the kills have to fall.
    const times: number[] = []
    for (const name of ['first', 'second', 'third']) {
      const from = performance.now()
      t.equal((await run(AIRSEAL, ['init', '--data', join(directory, name)])).code, 0)
      times.push(performance.now() - from)
    }
    const usual = Math.min(...times)
    const [image = ''] = await tinyLayout(join(directory, 'layout'), ['a'])
    const data = join(directory, 'data')
    let finished = 0
    for (let kill = 0; kill < initKills; kill++) {
      const { code } = await runAndKill(['init', '--data', data], random() * usual * 1.1)
      // Now and then what is left is completed at once, else killed again on top of it.
      const complete = code === 0 || random() < 0.3 || kill === initKills - 1
      if (!complete) continue
      if (code === 0) finished++
      else if (!(await initialised(data))) {
        const again = await run(AIRSEAL, ['init', '--data', data])
        if (again.code !== 0)
          t.fail(`init after kill ${kill} ended with ${String(again.code)}: ${again.stderr}`)
      }
      if (kill % 10 < 3 || kill === initKills - 1) {
        const signed = await run(AIRSEAL, ['sign', '--data', data, image])
        if (signed.code !== 0) t.fail(`signing after kill ${kill}: ${signed.stderr}`)
        t.same(await fsckFaults(data), [], `directory after kill ${kill} is sound`)
      }
      await rm(data, { recursive: true })
    }
    t.comment(
      `an init takes ${Math.round(usual)} ms here; ${finished} of ${initKills} were done before the kill`,
    )
    t.end()
  },
)

/** True when the kill came after the last step: then a second init changes nothing, and says so. */
async function initialised(data: string): Promise<boolean> {
  const { code, stderr } = await run(AIRSEAL, ['init', '--data', data])
  if (code === 0) return true
  return code === 3 && stderr.includes('initialised already')
}

await t.test(
  `sign without a service, killed ${signKills} times, keeps what it printed`,
  async (t) => {
    const directory = await temporaryDirectory(t)
    const random = seededRandom(seed + 1)
    const names = Array.from({ length: signKills * IMAGES_EACH }, (_, at) => `image-${at}`)
    const images = await tinyLayout(join(directory, 'layout'), names)
    const data = join(directory, 'data')
    t.equal((await run(AIRSEAL, ['init', '--data', data])).code, 0)
    const printed = new Set<string>()
    let killed = 0
    for (let kill = 0; kill < signKills; kill++) {
      // New ones, behind some that may be done already.
      const first = Math.max(0, kill * IMAGES_EACH - 2)
      const some = images.slice(first, (kill + 1) * IMAGES_EACH)
      const results = Math.floor(random() * some.length)
      const args = ['sign', '--data', data, ...some]
      const { code, stdout } = await runAndKill(args, random() * MOST_DELAY_MS, results)
      if (code === null) killed++
      for (const line of linesOf(stdout)) printed.add(line)
    }
    const last = await run(AIRSEAL, ['sign', '--data', data, ...images])
    t.equal(last.code, 0, last.stderr)
    const lines = new Set(linesOf(last.stdout))
    t.same(
      [...printed].filter((line) => !lines.has(line)),
      [],
      'each printed index is still that of its artefact',
    )
    t.same(
      allJobs(data).filter(({ state }) => state !== 'pushed'),
      [],
      'no job is half done',
    )
    t.equal(allJobs(data).length, 2 * images.length, 'each image was signed once in each format')
    const verified = await run(AIRSEAL, ['verify', '--data', data, ...images])
    t.equal(verified.code, 0, verified.stderr)
    t.same(await fsckFaults(data), [])
    // The next command may not have needed the layout's lock, so it need not have swept.
    const left = (await readdir(join(directory, 'layout'))).filter((name) => name.endsWith('.tmp'))
    t.ok(
      left.length <= 1,
      `what killed commands left in the layout is cleared away: ${left.join()}`,
    )
    t.ok(printed.size > signKills, 'enough was promised')
    t.comment(`${killed} killed; ${printed.size} promises were printed before`)
  },
)

/** `digest format index artefact` of each whole result that was printed. */
function linesOf(stdout: string): string[] {
  const lines: string[] = []
  let digest = ''
  for (const line of stdout.split('\n').slice(0, -1)) {
    const named = /^ {2}digest {2}(\S+)/.exec(line)
    if (named?.[1] !== undefined) digest = named[1]
    const found = /^ {2}(\w+) +log index (\d+) {2}(?:already there|pushed) {2}(\S+)/.exec(line)
    if (found !== null) lines.push(`${digest} ${found.slice(1).join(' ')}`)
  }
  return lines
}
