import { Worker } from 'node:worker_threads'
import { AirsealError } from '../core/index.ts'
import {
  errorOfReply,
  type WorkerApi,
  type WorkerMethod,
  type WorkerReply,
  type WorkerRequest,
} from './worker-api.ts'

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: AirsealError) => void
}

/** Calls the thread that owns the database. Requests are served one after the other, in their order. */
export class WorkerClient {
  readonly #worker: Worker
  readonly #waiting = new Map<number, Waiting>()
  readonly #onPoisoned: (error: AirsealError) => void
  #nextId = 0
  #ended: AirsealError | undefined
  #isClosing = false

  /** @param onPoisoned - called at the first failure after which nothing is promised any more */
  constructor(path: string, onPoisoned: (error: AirsealError) => void) {
    this.#onPoisoned = onPoisoned
    const own = import.meta.url
    const file = own.endsWith('.ts') ? './worker.ts' : './worker.js'
    this.#worker = new Worker(new URL(file, own), { workerData: { path } })
    this.#worker.on('message', (reply: WorkerReply) => {
      this.#settle(reply)
    })
    this.#worker.on('error', (cause) => {
      this.#end(cause)
    })
    this.#worker.on('exit', () => {
      this.#end(undefined)
    })
  }

  call<M extends WorkerMethod>(
    method: M,
    args: Parameters<WorkerApi[M]>,
    moved: readonly ArrayBuffer[] = [],
  ): Promise<ReturnType<WorkerApi[M]>> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
      this.#worker.postMessage({ id, method, args } satisfies WorkerRequest, moved)
    })
  }

  /** Closes the database, then the thread. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return
    this.#isClosing = true
    try {
      await this.call('close', [])
    } finally {
      await this.#worker.terminate()
    }
  }

  #settle(reply: WorkerReply): void {
    const asked = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('value' in reply) {
      asked?.resolve(reply.value)
      return
    }
    const error = errorOfReply(reply)
    if (reply.poisoned) this.#onPoisoned(error)
    asked?.reject(error)
  }

  #end(cause: unknown): void {
    if (this.#ended !== undefined) return
    this.#ended = this.#isClosing
      ? new AirsealError('SHUTTING_DOWN', 'the log is closed')
      : new AirsealError('STORAGE', 'the thread of the database ended', { cause })
    if (!this.#isClosing) this.#onPoisoned(this.#ended)
    for (const { reject } of this.#waiting.values()) reject(this.#ended)
    this.#waiting.clear()
  }
}
