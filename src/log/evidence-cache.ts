import { Worker } from 'node:worker_threads'
import { AirsealError } from '../core/index.ts'
import type { CacheReply, CacheRequest, CachedPiece } from './evidence-cache-api.ts'

/** Pieces of evidence by digest, in a file that may be deleted at any time. */
export interface EvidenceDatabase {
  /** @throws AirsealError STORAGE when it can't be read: then nothing is known */
  pieces(digest: string): Promise<readonly CachedPiece[]>
  /** Adds pieces; those that are there stay. Digests that were not asked about for longest leave. @throws AirsealError STORAGE, STORAGE_FULL */
  keep(digest: string, pieces: readonly CachedPiece[]): Promise<void>
  close(): Promise<void>
}

interface Waiting {
  readonly resolve: (value: readonly CachedPiece[]) => void
  readonly reject: (error: AirsealError) => void
}

/** Calls under way at most: evidence comes from outside, faster than a disk may take it. */
const MAX_WAITING = 1_000

/**
 * Opens the file at `path`, in a thread of its own that starts with the first call: neither the event loop nor the log waits for it. A file that
 * can't be read as a cache of this version is replaced.
 * @param maxBytes - of all pieces together
 */
export function openEvidenceDatabase(path: string, maxBytes: number): EvidenceDatabase {
  const waiting = new Map<number, Waiting>()
  let worker: Worker | null = null
  let ended: AirsealError | null = null
  let nextId = 0

  const end = (error: AirsealError): void => {
    ended ??= error
    for (const { reject } of waiting.values()) reject(error)
    waiting.clear()
  }
  const start = (): Worker => {
    const own = import.meta.url
    const file = own.endsWith('.ts') ? './evidence-cache-worker.ts' : './evidence-cache-worker.js'
    const started = new Worker(new URL(file, own), { workerData: { path, maxBytes } })
    started.on('message', (reply: CacheReply) => {
      const asked = waiting.get(reply.id)
      waiting.delete(reply.id)
      if ('pieces' in reply) asked?.resolve(reply.pieces)
      else asked?.reject(new AirsealError(reply.code, reply.message))
      // A process with nothing else to do may end.
      if (waiting.size === 0) started.unref()
    })
    started.on('error', (cause) => {
      end(new AirsealError('STORAGE', 'the thread of the evidence cache ended', { cause }))
    })
    return started
  }
  const call = (request: Omit<CacheRequest, 'id'>): Promise<readonly CachedPiece[]> => {
    if (ended !== null) return Promise.reject(ended)
    if (waiting.size >= MAX_WAITING)
      return Promise.reject(new AirsealError('OVERLOADED', 'the evidence cache is busy'))
    return new Promise((resolve, reject) => {
      const id = nextId++
      waiting.set(id, { resolve, reject })
      worker ??= start()
      worker.ref()
      worker.postMessage({ ...request, id } satisfies CacheRequest)
    })
  }
  return {
    pieces: (digest) => call({ method: 'pieces', digest, pieces: [] }),
    keep: async (digest, pieces) => {
      await call({ method: 'keep', digest, pieces })
    },
    close: async () => {
      if (worker !== null && ended === null) {
        await call({ method: 'close', digest: '', pieces: [] }).catch(() => undefined)
      }
      end(new AirsealError('SHUTTING_DOWN', 'the evidence cache is closed'))
      await worker?.terminate()
    },
  }
}
