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

/** Time that passes only when nothing else is left to do: a minute of load takes milliseconds. */
function virtualTime() {
  let now = 0
  const waiting: { at: number; resolve: () => void }[] = []
  const wait = (milliseconds: number): Promise<void> =>
    new Promise((resolve) => {
      waiting.push({ at: now + milliseconds, resolve })
    })
  return {
    timing: { now: () => now, wait, random: Math.random },
    wait,
    async pass(): Promise<void> {
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve))
        waiting.sort((a, b) => a.at - b.at)
        const next = waiting.shift()
        if (next === undefined) return
        now = next.at
        next.resolve()
      }
    },
  }
}

await t.test(
  'a back-end that is down for a minute under load is spared, and used again soon',
  async (t) => {
    const [DOWN, UP, END] = [10_000, 70_000, 120_000]
    const time = virtualTime()
    const guard = createGuard('k', DEFAULT_LIMITS, time.timing)
    const { now } = time.timing
    let askedWhileDown = 0
    let firstGood = Infinity
    let longest = 0
    const outcomes = new Map<string, number>()
    const attempt = (): Promise<string> => {
      if (now() < DOWN || now() >= UP) return Promise.resolve('signed')
      askedWhileDown += 1
      return Promise.reject(transient('down', undefined))
    }
    const call = async (): Promise<void> => {
      const from = now()
      const phase = from < DOWN ? 'before' : from < UP ? 'down' : 'after'
      const outcome = await guard.run(attempt).then(
        () => 'good',
        () => 'refused',
      )
      longest = Math.max(longest, now() - from)
      if (outcome === 'good' && from >= UP) firstGood = Math.min(firstGood, now())
      outcomes.set(`${phase} ${outcome}`, (outcomes.get(`${phase} ${outcome}`) ?? 0) + 1)
    }
    const load = async (): Promise<void> => {
      const calls: Promise<void>[] = []
      while (now() < END) {
        calls.push(call())
        await time.wait(50)
      }
      await Promise.all(calls)
    }
    const done = load()
    await time.pass()
    await done
    t.equal(outcomes.get('before good'), DOWN / 50, 'nothing was wrong before')
    t.notOk(outcomes.has('before refused'))
    t.notOk(outcomes.has('down good'))
    t.ok(longest <= DEFAULT_LIMITS.deadline, `no call took longer than its deadline: ${longest} ms`)
    // 1,200 calls came in that minute; without a breaker they would have been 4,800 attempts.
    t.ok(askedWhileDown < 150, `asked ${askedWhileDown} times while it was down`)
    t.ok(firstGood - UP <= 15_000, `signing again after ${firstGood - UP} ms`)
    t.equal(guard.state(), 'closed')
  },
)
