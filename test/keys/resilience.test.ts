import t from 'tap'
import { transient } from '../../keys/backend.ts'
import { createGuard, DEFAULT_LIMITS, type Limits } from '../../keys/resilience.ts'
import { AirsealError } from '../../src/core/index.ts'

/** A clock that moves only when somebody waits. */
function guardWithClock(limits: Partial<Limits> = {}) {
  let now = 0
  const waits: number[] = []
  const timing = {
    now: () => now,
    wait: (milliseconds: number) => {
      waits.push(milliseconds)
      now += milliseconds
      return Promise.resolve()
    },
    random: () => 0.5,
  }
  const guard = createGuard('k', { ...DEFAULT_LIMITS, ...limits }, timing)
  return { guard, waits, advance: (milliseconds: number) => (now += milliseconds) }
}

const passing = () => Promise.reject(transient('busy', undefined))
const lasting = () => Promise.reject(new AirsealError('KEY_UNKNOWN', 'no such key'))

await t.test('a passing fault is met with a few attempts, further and further apart', async (t) => {
  const { guard, waits } = guardWithClock()
  let calls = 0
  const result = await guard.run(() => ((calls += 1) < 4 ? passing() : Promise.resolve('done')))
  t.equal(result, 'done')
  t.same(waits, [50, 100, 200])
  await t.rejects(guard.run(passing), { code: 'KEY_UNAVAILABLE', message: 'busy' })
  t.equal(waits.length, 6)
})

await t.test('a lasting fault is not tried again', async (t) => {
  const { guard, waits } = guardWithClock()
  await t.rejects(guard.run(lasting), { code: 'KEY_UNKNOWN' })
  t.same(waits, [])
})

await t.test(
  'what the back-end asks to wait is waited, unless the deadline comes first',
  async (t) => {
    const { guard, waits } = guardWithClock()
    let calls = 0
    const asks = (wait: number) => () =>
      (calls += 1) === 1
        ? Promise.reject(transient('wait', undefined, wait))
        : Promise.resolve('done')
    t.equal(await guard.run(asks(3_000)), 'done')
    t.same(waits, [3_000])
    calls = 0
    await t.rejects(guard.run(asks(60_000)), { code: 'KEY_UNAVAILABLE', message: 'wait' })
    t.same(waits, [3_000], 'refused at once, not after a minute')
  },
)

await t.test(
  'after five failed calls nobody is asked, until one call finds the back-end again',
  async (t) => {
    const { guard, advance } = guardWithClock({ attempts: 1 })
    for (let i = 0; i < 5; i += 1) await t.rejects(guard.run(passing), { message: 'busy' })
    t.equal(guard.state(), 'open')
    let asked = 0
    const good = () => Promise.resolve((asked += 1))
    await t.rejects(guard.run(good), { code: 'KEY_UNAVAILABLE', message: /was not asked.*busy/ })
    t.equal(asked, 0)

    advance(12_500)
    t.equal(guard.state(), 'trying')
    await t.rejects(guard.run(passing), { message: 'busy' })
    await t.rejects(guard.run(good), { message: /was not asked/ })

    advance(12_500)
    let release = (): void => undefined
    const held = guard.run(() => new Promise<void>((resolve) => (release = resolve)))
    await t.rejects(guard.run(good), { message: /was not asked/ }, 'one tries, the others wait')
    release()
    await held
    t.equal(guard.state(), 'closed')
    t.equal(await guard.run(good), 1)
  },
)

await t.test('a clear refusal shows that the back-end is there', async (t) => {
  const { guard } = guardWithClock({ attempts: 1 })
  for (let i = 0; i < 4; i += 1) await t.rejects(guard.run(passing))
  await t.rejects(guard.run(lasting), { code: 'KEY_UNKNOWN' })
  for (let i = 0; i < 4; i += 1) await t.rejects(guard.run(passing))
  t.equal(guard.state(), 'closed')
})

await t.test('an attempt that never ends is given up, and told so', async (t) => {
  const guard = createGuard('k', { ...DEFAULT_LIMITS, attempt: 5, attempts: 1 })
  let given: AbortSignal | undefined
  const never = (signal: AbortSignal) => {
    given = signal
    return new Promise<never>(() => undefined)
  }
  await t.rejects(guard.run(never), { code: 'KEY_UNAVAILABLE', message: /did not answer in 5 ms/ })
  t.ok(given?.aborted)
})

await t.test('calls under way are bounded', async (t) => {
  const { guard } = guardWithClock({ inFlight: 2 })
  let release = (): void => undefined
  const held = () => guard.run(() => new Promise<void>((resolve) => (release = resolve)))
  const first = held()
  const releaseFirst = release
  const second = held()
  await t.rejects(guard.run(passing), { code: 'OVERLOADED' })
  release()
  releaseFirst()
  await Promise.all([first, second])
})
