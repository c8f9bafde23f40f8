import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { AirsealError } from './errors.ts'
import type { PortableAnswer, PortableQuestion } from './portable-worker.ts'

/** One verification takes milliseconds, so this many are seconds of work. */
const MAX_WAITING = 2048

interface Waiting {
  readonly resolve: (good: boolean) => void
  readonly reject: (error: AirsealError) => void
}

interface Seat {
  readonly worker: Worker
  readonly waiting: Map<number, Waiting>
}

const seats: Seat[] = []
let nextId = 0

/**
 * Asks a worker thread, so that the event loop stays free; up to two threads, started when first needed.
 * @throws AirsealError OVERLOADED when too many questions wait, INTERNAL when the thread died
 */
export function askPortable(question: Omit<PortableQuestion, 'id'>): Promise<boolean> {
  const seat = pickSeat()
  if (seat.waiting.size >= MAX_WAITING) {
    return Promise.reject(
      new AirsealError('OVERLOADED', 'too many signatures wait for verification'),
    )
  }
  return new Promise((resolve, reject) => {
    const id = nextId++
    // Waiting questions keep the process alive, an idle thread doesn't.
    if (seat.waiting.size === 0) seat.worker.ref()
    seat.waiting.set(id, { resolve, reject })
    seat.worker.postMessage({
      id,
      curve: question.curve,
      // Copies: a message takes the whole memory behind an array along, which may be a shared pool.
      point: new Uint8Array(question.point),
      digest: new Uint8Array(question.digest),
      signature: new Uint8Array(question.signature),
    } satisfies PortableQuestion)
  })
}

function pickSeat(): Seat {
  const least = seats.toSorted((a, b) => a.waiting.size - b.waiting.size)[0]
  const isFull = seats.length >= Math.min(2, availableParallelism())
  if (least !== undefined && (least.waiting.size === 0 || isFull)) return least
  const seat = startSeat()
  seats.push(seat)
  return seat
}

function startSeat(): Seat {
  const own = import.meta.url
  const file = own.endsWith('.ts') ? './portable-worker.ts' : './portable-worker.js'
  const worker = new Worker(new URL(file, own))
  const seat: Seat = { worker, waiting: new Map() }
  worker.unref()
  worker.on('message', ({ id, good }: PortableAnswer) => {
    const asked = seat.waiting.get(id)
    seat.waiting.delete(id)
    if (seat.waiting.size === 0) worker.unref()
    asked?.resolve(good)
  })
  const leave = (cause: unknown): void => {
    const at = seats.indexOf(seat)
    if (at >= 0) seats.splice(at, 1)
    for (const { reject } of seat.waiting.values()) {
      reject(new AirsealError('INTERNAL', 'the verifying thread ended', { cause }))
    }
    seat.waiting.clear()
  }
  worker.on('error', leave)
  worker.on('exit', leave)
  return seat
}
