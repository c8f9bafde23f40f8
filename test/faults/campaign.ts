import { setTimeout as sleep } from 'node:timers/promises'
import type { Oracle } from './oracle.ts'
import type { MortalService } from './service.ts'
import type { Workload } from './workload.ts'

export interface CampaignOptions {
  readonly kills: number
  readonly random: () => number
  readonly service: MortalService
  readonly oracle: Oracle
  readonly workload: Workload
  readonly comment: (text: string) => void
}

/** One kill in this many hits the start instead of the service at work. */
const DURING_START = 6
/** A kill waits for up to so many answers, then for up to so many milliseconds more. */
const MOST_ANSWERS = 16
const MOST_DELAY_MS = 12
/** How long a start may take before it is killed, milliseconds; about what a start takes. */
const START_DELAY_MS = 900
/** A service that answers nothing for so long is killed all the same, and what it left is judged like the rest. Milliseconds. */
const STALL_MS = 20_000

/**
 * Kills the service with SIGKILL, again and again, at moments that the random numbers choose, while the workload runs. At the end the
 * service runs.
 * @returns milliseconds of each start until the service said that it serves
 */
export async function runCampaign(options: CampaignOptions): Promise<readonly number[]> {
  const { kills, random, service, oracle, workload, comment } = options
  const starts: number[] = []
  for (let kill = 0; kill < kills; kill++) {
    const { ready } = service.start()
    if (random() < 1 / DURING_START) {
      await Promise.race([ready, sleep(random() * START_DELAY_MS)])
      await service.end('SIGKILL')
      oracle.record({ kind: 'killed', at: workload.answered, phase: 'starting' })
      continue
    }
    starts.push(await started(options, ready))
    const progress = workload.progress(Math.floor(random() * MOST_ANSWERS))
    await Promise.race([progress, sleep(STALL_MS, undefined, { ref: false })])
    await sleep(random() * MOST_DELAY_MS)
    await service.end('SIGKILL')
    oracle.record({ kind: 'killed', at: workload.answered, phase: 'serving' })
    if ((kill + 1) % 50 === 0) comment(`${kill + 1} kills, ${workload.answered} answers`)
  }
  starts.push(await started(options, service.start().ready))
  return starts
}

async function started(
  { service, oracle }: CampaignOptions,
  ready: Promise<boolean>,
): Promise<number> {
  const from = performance.now()
  if (!(await ready))
    throw new Error(`the service did not come back: ${service.printed.slice(-2000)}`)
  const milliseconds = Math.round(performance.now() - from)
  oracle.record({ kind: 'restarted', milliseconds })
  return milliseconds
}

/** The value below which that share of the sorted values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
