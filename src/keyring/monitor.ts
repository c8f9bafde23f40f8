import type { Clock } from '../core/index.ts'
import type { Keyring } from './keyring.ts'

export interface MonitorOptions {
  readonly clock: Clock
  /** A key that signs is tested this often, milliseconds. Default an hour. */
  readonly everyMs?: number
  /** A key that does not sign is tested this often, so that it is back soon after its back-end. Default 15 s. */
  readonly retryMs?: number
  /** Calls again and again; returns what stops it. Default: a timer that keeps no process alive. */
  readonly repeat?: (work: () => void, milliseconds: number) => () => void
  /** Takes a line when a key begins to fail or to sign again. */
  readonly notify: (line: string) => void
}

const HOUR_MS = 3_600_000
const RETRY_MS = 15_000

/**
 * Tests every active key now, and again as long as it is not stopped.
 * @returns what stops it, once the test under way has ended
 */
export function startSelfTests(keyring: Keyring, options: MonitorOptions): () => Promise<void> {
  const { clock, everyMs = HOUR_MS, retryMs = RETRY_MS, repeat = unreferenced, notify } = options
  const tested = new Map<string, number>()
  let round: Promise<void> | null = null

  function isDue(name: string, now: number): boolean {
    const last = tested.get(name)
    if (last === undefined || last > now) return true
    return now - last >= (keyring.health(name)?.isGood === true ? everyMs : retryMs)
  }

  async function testDue(): Promise<void> {
    for (const { name } of keyring.registry.active()) {
      const now = clock()
      if (!isDue(name, now)) continue
      const before = keyring.health(name)
      tested.set(name, now)
      const { isGood, code, findings } = await keyring.selfTest(name)
      if (!isGood && before?.isGood !== false)
        notify(`airseal: key "${name}" does not sign: ${findings[0] ?? ''} [${code ?? ''}]`)
      if (isGood && before?.isGood === false) notify(`airseal: key "${name}" signs again`)
    }
  }

  const begin = (): void => {
    round ??= testDue()
      .catch(() => undefined)
      .finally(() => (round = null))
  }
  begin()
  const stop = repeat(begin, retryMs)
  return async () => {
    stop()
    await round
  }
}

function unreferenced(work: () => void, milliseconds: number): () => void {
  const timer = setInterval(work, milliseconds)
  timer.unref()
  return () => {
    clearInterval(timer)
  }
}
