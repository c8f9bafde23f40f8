import { parentPort, workerData } from 'node:worker_threads'
import { openEvidenceCacheStore, type EvidenceCacheStore } from './evidence-cache-store.ts'
import type { CacheReply, CachedPiece, CacheRequest } from './evidence-cache-api.ts'
import { storageError } from './storage-error.ts'

// A thread of its own: what is kept for convenience must not hold up the log, which has its own.

let store: EvidenceCacheStore | undefined

function run({ method, digest, pieces }: CacheRequest): readonly CachedPiece[] {
  const { path, maxBytes } = workerData as { path: string; maxBytes: number }
  if (method === 'close') {
    store?.close()
    return []
  }
  store ??= openEvidenceCacheStore(path, maxBytes)
  if (method === 'pieces') return store.pieces(digest)
  store.keep(digest, pieces)
  return []
}

parentPort?.on('message', (request: CacheRequest) => {
  let reply: CacheReply
  try {
    reply = { id: request.id, pieces: run(request) }
  } catch (thrown) {
    const { code, message } = storageError(thrown)
    reply = { id: request.id, code, message }
  }
  parentPort?.postMessage(reply)
})
