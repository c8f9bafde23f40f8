import { join } from 'node:path'
import t from 'tap'
import { temporaryDirectory } from '../support/site.ts'
import { pushTiny, tinyLayout } from '../support/tiny-layout.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { quantile, runCampaign } from './campaign.ts'
import { allJobs, fsckFaults, holdInquest } from './inquest.ts'
import { Oracle } from './oracle.ts'
import { campaignSeed, campaignSize, seededRandom } from './random.ts'
import { MortalService } from './service.ts'
import { Workload } from './workload.ts'

// Reliability row L2. Larger campaigns: AIRSEAL_KILLS=1000 AIRSEAL_SEED=7 tap --timeout=3600 test/faults/kill.test.ts
const kills = campaignSize('AIRSEAL_KILLS', 200)
const seed = campaignSeed()
/** Layouts share their images among them, since the index of a layout grows with each signature. */
const LAYOUTS = 12
const IMAGES_EACH = 30

t.setTimeout(60_000 + kills * 4_000)

await t.test(`after ${kills} kills at random moments, every promise still holds`, async (t) => {
  t.comment(`seed ${seed} (AIRSEAL_SEED)`)
  const directory = await temporaryDirectory(t)
  const random = seededRandom(seed)
  const registry = await startPlainRegistry()
  t.teardown(() => registry.stop())
  const images = await makeImages(directory, registry.address)

  const service = await MortalService.at(join(directory, 'data'))
  t.teardown(async () => {
    await service.end('SIGKILL')
  })
  const oracle = new Oracle(join(directory, 'oracle.jsonl'))
  t.teardown(() => oracle.close())
  const workload = new Workload(service, oracle, images, random)
  workload.start()
  const comment = (text: string): void => t.comment(text)
  const starts = await runCampaign({ kills, random, service, oracle, workload, comment })
  await workload.stop()
  t.equal(oracle.all('killed').length, kills, 'so many were killed')
  t.same(unexpected(oracle), [], 'every refusal was one that a client can handle')

  // A clean end waits for what an earlier process left; the next start finds nothing to do.
  t.equal(await service.end('SIGTERM'), 0, 'the service ends cleanly')
  const unfinished = allJobs(service.data).filter(({ state }) => state !== 'pushed')
  t.same(
    unfinished.map(({ digest, state }) => `${digest} ${state}`),
    [],
    'no job is half done',
  )
  t.same(await fsckFaults(service.data), [], 'fsck finds nothing')

  t.ok(await service.start().ready, 'the service comes back')
  const inquest = await holdInquest(service, oracle, (proposal) => workload.repeat(proposal))
  t.same(inquest.faults.slice(0, 20), [], 'every promise holds')
  t.ok(inquest.receipts > kills, 'the campaign promised enough to break')
  t.comment(
    `${inquest.entries} entries, ${inquest.receipts} receipts, ${inquest.checkpoints} checkpoints, ` +
      `${inquest.images} images of ${images.length}; ${JSON.stringify(inquest.unanswered)} without answer; ` +
      `start p50 ${quantile(starts, 0.5)} ms, p99 ${quantile(starts, 0.99)} ms, longest ${Math.max(...starts)} ms`,
  )
  t.equal(await service.end('SIGTERM'), 0)
  t.same(await fsckFaults(service.data), [], 'fsck finds nothing at the very end')
})

/** Half of them in layouts, half in a registry, in turn. */
async function makeImages(directory: string, registry: string): Promise<string[]> {
  const names = (place: string): string[] =>
    Array.from({ length: IMAGES_EACH }, (_, at) => `${place}-${at}`)
  const places: string[][] = []
  for (let place = 0; place < LAYOUTS; place++) {
    places.push(await tinyLayout(join(directory, `layout-${place}`), names(`layout-${place}`)))
    places.push(await pushTiny(`${registry}/test/place-${place}`, names(`place-${place}`)))
  }
  return Array.from({ length: IMAGES_EACH }, (_, at) => places.map((place) => place[at]!)).flat()
}

/** Errors are answers too: only those that say "try again" may come from a service that is killed and nothing else. */
function unexpected(oracle: Oracle): string[] {
  return oracle
    .all('error')
    .filter(({ status, text }) => status !== 503 && !text.includes('PUSH_PENDING'))
    .map(({ status, text }) => `${status} ${text}`)
}
