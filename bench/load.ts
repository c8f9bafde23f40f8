import { Connection } from './connection.ts'
import { bodyOf } from './http-message.ts'
import type { Answer } from './http-message.ts'
import { ownCpuSeconds } from './usage.ts'

/** Requests ready to be written, in order; null when there are no more. */
export type RequestSource = () => Buffer | null

/** A request with the body of its answer, kept to be checked later. */
export interface Sample {
  readonly request: Buffer
  readonly body: Buffer
}

export interface LoadOptions {
  readonly port: number
  readonly clients: number
  /** Longest time during which requests are sent. */
  readonly seconds: number
  readonly source: RequestSource
  /** The one status that counts. */
  readonly wantStatus: number
  /** Every how many answers one is kept as a sample. */
  readonly sampleEvery: number
  /** CPU that the server has used so far, seconds. */
  readonly serverCpu: () => number
}

export interface LoadResult {
  /** Answers with the wanted status over the whole run, those after the deadline included. */
  readonly good: number
  /** Answers with another status: how many of each. */
  readonly bad: ReadonlyMap<number, number>
  /** Good answers a second between the first request and the end of sending. */
  readonly rate: number
  /** Milliseconds of every good answer before the end of sending, ascending. */
  readonly latencies: Float64Array
  /** Seconds during which requests were sent. */
  readonly seconds: number
  /** Microseconds of server CPU for one good answer. */
  readonly serverCpuMicroseconds: number
  /** Processors that the load generator itself kept busy. */
  readonly generatorCores: number
  readonly samples: readonly Sample[]
}

/** What both kinds of load share: the connections and the counting. */
class Tally {
  readonly latencies: number[] = []
  readonly bad = new Map<number, number>()
  readonly samples: Sample[] = []
  good = 0
  goodInTime = 0
  /** Moment after which nothing is sent and nothing counts for the rate. */
  end = Infinity
  readonly #options: LoadOptions
  #seen = 0

  constructor(options: LoadOptions) {
    this.#options = options
  }

  count(request: Buffer, since: number, answer: Answer, bytes: Buffer): void {
    const now = performance.now()
    if (answer.status !== this.#options.wantStatus) {
      this.bad.set(answer.status, (this.bad.get(answer.status) ?? 0) + 1)
      return
    }
    this.good++
    if (now <= this.end) {
      this.goodInTime++
      this.latencies.push(now - since)
    }
    if (this.#seen++ % this.#options.sampleEvery === 0) {
      this.samples.push({ request, body: bodyOf(bytes, answer) })
    }
  }
}

/** Opens the connections, lets `drive` send, and measures processor time around it. @throws Error when a connection breaks */
async function measured(
  options: LoadOptions,
  drive: (connections: Connection[], tally: Tally, start: number) => Promise<void>,
): Promise<LoadResult> {
  let fail: (error: Error) => void = () => undefined
  const broken = new Promise<never>((_, reject) => {
    fail = reject
  })
  broken.catch(() => undefined)
  const opening = Array.from({ length: options.clients }, () => Connection.open(options.port, fail))
  const connections = await Promise.all(opening)
  try {
    const tally = new Tally(options)
    const serverBefore = options.serverCpu()
    const ownBefore = ownCpuSeconds()
    const start = performance.now()
    await Promise.race([drive(connections, tally, start), broken])
    const wall = (performance.now() - start) / 1000
    const ownCores = (ownCpuSeconds() - ownBefore) / wall
    const serverCpu = options.serverCpu() - serverBefore
    const seconds = (tally.end - start) / 1000
    return {
      good: tally.good,
      bad: tally.bad,
      rate: tally.goodInTime / seconds,
      latencies: Float64Array.from(tally.latencies).sort(),
      seconds,
      serverCpuMicroseconds: (serverCpu * 1e6) / tally.good,
      generatorCores: ownCores,
      samples: tally.samples,
    }
  } finally {
    for (const connection of connections) connection.close()
  }
}

/** Every client sends its next request as soon as it has the answer to the last one. */
export function closedLoop(options: LoadOptions): Promise<LoadResult> {
  return measured(options, (connections, tally, start) => {
    const deadline = start + options.seconds * 1000
    tally.end = deadline
    const loop = (connection: Connection, done: () => void): void => {
      const now = performance.now()
      const request = now < deadline ? options.source() : null
      if (request === null) {
        // The requests ran out before the time did: the rest would be measured with fewer clients.
        tally.end = Math.min(tally.end, now)
        done()
        return
      }
      connection.send(request, (answer, bytes) => {
        tally.count(request, now, answer, bytes)
        loop(connection, done)
      })
    }
    const clients = connections.map(
      (connection) =>
        new Promise<void>((resolve) => {
          loop(connection, resolve)
        }),
    )
    return Promise.all(clients).then(() => undefined)
  })
}

/**
 * Requests leave at a steady rate whatever the server does; a latency counts from the scheduled moment, so that a stall delays
 * everything behind it and shows. When all connections are busy a request waits for one, and that wait counts too.
 */
export function openLoop(options: LoadOptions & { readonly rate: number }): Promise<LoadResult> {
  return measured(options, (connections, tally, start) => {
    const gap = 1000 / options.rate
    const planned = Math.floor(options.rate * options.seconds)
    const idle = [...connections]
    const waiting: { readonly request: Buffer; readonly due: number }[] = []
    let sent = 0
    let answered = 0
    return new Promise<void>((resolve) => {
      const write = (connection: Connection, request: Buffer, due: number): void => {
        connection.send(request, (answer, bytes) => {
          tally.count(request, due, answer, bytes)
          answered++
          const next = waiting.shift()
          if (next !== undefined) write(connection, next.request, next.due)
          else idle.push(connection)
          if (sent === planned && answered === planned) finish()
        })
      }
      const finish = (): void => {
        // Here every answer counts, the late ones first of all.
        tally.end = performance.now()
        resolve()
      }
      const tick = (): void => {
        const now = performance.now()
        while (sent < planned && start + sent * gap <= now) {
          const request = options.source()
          if (request === null) throw new Error('fewer requests than the plan needs')
          const due = start + sent * gap
          sent++
          const connection = idle.pop()
          if (connection === undefined) waiting.push({ request, due })
          else write(connection, request, due)
        }
        if (sent < planned) setTimeout(tick, 1)
      }
      tick()
    })
  })
}
