/** Ends of the queues by name; a name is dropped when its queue is empty. */
const tails = new Map<string, Promise<void>>()

/** Runs `work` after all earlier work of the same name in this process, whether that succeeded or not. */
export async function serialised<T>(name: string, work: () => Promise<T>): Promise<T> {
  const before = tails.get(name) ?? Promise.resolve()
  const run = before.then(work)
  const tail = run.then(
    () => undefined,
    () => undefined,
  )
  tails.set(name, tail)
  try {
    return await run
  } finally {
    if (tails.get(name) === tail) tails.delete(name)
  }
}

/** Results of `work` in the order of `items`, at most `limit` at once. After the first failure nothing new is begun. */
export async function mapLimited<In, Out>(
  items: readonly In[],
  limit: number,
  work: (item: In) => Promise<Out>,
): Promise<Out[]> {
  const results = new Array<Out>(items.length)
  let next = 0
  let failed = false
  const worker = async () => {
    while (next < items.length && !failed) {
      const at = next++
      try {
        results[at] = await work(items[at] as In)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  return results
}

/** Runs work that it is given, at most `limit` at once; the rest waits its turn. */
export function limiter(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async (work) => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      // The place is handed on, so that nobody who comes later takes it.
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

/** Waits `ms` milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
