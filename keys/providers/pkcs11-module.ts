import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { AirsealError } from '../../src/core/index.ts'
import { transient } from '../backend.ts'
import type { Pkcs11Answer, Pkcs11Request } from './pkcs11-model.ts'

/** The worker of one module, shared by all keys of this process that live behind that module. */
export interface Pkcs11Module {
  /** Waits for its turn. A request that is aborted before its turn is never sent. Rejects with a transient fault when the worker dies. */
  ask(request: Pkcs11Request, signal: AbortSignal): Promise<Pkcs11Answer>
  /** The last user ends the worker. */
  release(): Promise<void>
}

interface Waiting {
  readonly request: Pkcs11Request
  readonly signal: AbortSignal
  resolve(answer: Pkcs11Answer): void
  reject(error: unknown): void
}

/** Workers that are ending: the next one for the same module waits, or it would find the module finalised under its feet. */
const endings = new Map<string, Promise<void>>()
const modules = new Map<
  string,
  { readonly module: Pkcs11Module; readonly initReserved: string | null; users: number }
>()

/**
 * The shared worker for a module; started when it is not running.
 * @throws AirsealError KEY_REFERENCE when it is in use with another `initReserved`: a process initialises a module once
 */
export function useModule(path: string, initReserved: string | null): Pkcs11Module {
  let entry = modules.get(path)
  if (entry !== undefined && entry.initReserved !== initReserved) {
    throw new AirsealError(
      'KEY_REFERENCE',
      `${path} is in use with another x-init-reserved: all keys behind a module must name the same`,
    )
  }
  if (entry === undefined) {
    const { ask, end } = startModule(path, initReserved)
    const release = async (): Promise<void> => {
      const current = modules.get(path)
      if (current === undefined || (current.users -= 1) > 0) return
      modules.delete(path)
      const ending = end()
      endings.set(path, ending)
      await ending
    }
    entry = { module: { ask, release }, initReserved, users: 0 }
    modules.set(path, entry)
  }
  entry.users += 1
  return entry.module
}

function startModule(
  path: string,
  initReserved: string | null,
): { ask: Pkcs11Module['ask']; end: () => Promise<void> } {
  const queue: Waiting[] = []
  let current: Waiting | null = null
  let worker: Worker | null = null
  const before = endings.get(path)

  function start(): Worker {
    // Sources run as they are in a clone; an installed package holds compiled files.
    const name = import.meta.url.endsWith('.ts') ? './pkcs11-worker.ts' : './pkcs11-worker.js'
    const started = new Worker(new URL(name, import.meta.url), {
      workerData: { modulePath: path, initReserved },
    })
    started.unref()
    started.on('message', (answer: Pkcs11Answer) => {
      current?.resolve(answer)
      current = null
      next()
    })
    started.on('error', died)
    started.on('exit', () => {
      died(undefined)
    })
    return started
  }

  function died(cause: unknown): void {
    worker = null
    current?.reject(transient('the thread of the PKCS#11 module ended', cause))
    current = null
    next()
  }

  function next(): void {
    if (current !== null) return
    current = queue.shift() ?? null
    if (current === null) {
      worker?.unref()
      return
    }
    if (current.signal.aborted) {
      if ('pin' in current.request) current.request.pin?.fill(0)
      current.reject(transient('the PKCS#11 module was busy', current.signal.reason))
      current = null
      next()
      return
    }
    worker ??= start()
    worker.ref()
    const { request } = current
    const pin = 'pin' in request ? request.pin : null
    worker.postMessage(request, pin === null ? [] : [pin.buffer])
  }

  return {
    async ask(request, signal) {
      if (!existsSync(path)) throw transient(`there is no PKCS#11 module ${path}`, undefined)
      await before
      return new Promise((resolve, reject) => {
        queue.push({ request, signal, resolve, reject })
        next()
      })
    },
    async end() {
      const ending = worker
      worker = null
      if (ending === null) return
      const ended = new Promise((resolve) => ending.once('exit', resolve))
      ending.ref()
      ending.postMessage(null)
      await ended
    },
  }
}
