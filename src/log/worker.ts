import { parentPort, workerData } from 'node:worker_threads'
import { AirsealError } from '../core/index.ts'
import { openDatabase } from './database.ts'
import { SqliteLogStore } from './sqlite-log-store.ts'
import { SqliteRecordStore } from './sqlite-record-store.ts'
import { poisons, storageError } from './storage-error.ts'
import {
  failureReply,
  WRITES,
  type WorkerMethod,
  type WorkerReply,
  type WorkerRequest,
} from './worker-api.ts'

// The one thread that touches the database: SQLite is synchronous and would stop the event loop at every fsync.

interface Stores {
  readonly log: SqliteLogStore
  readonly records: SqliteRecordStore
  readonly close: () => void
}

let stores: Stores | undefined
let isPoisoned = false

function open(): Stores {
  const db = openDatabase((workerData as { path: string }).path)
  return {
    log: new SqliteLogStore(db),
    records: new SqliteRecordStore(db),
    close: () => {
      db.close()
    },
  }
}

function run(method: WorkerMethod, args: readonly unknown[]): unknown {
  if (isPoisoned && WRITES.has(method)) {
    throw new AirsealError('STORAGE', 'the writer stopped after a failed write')
  }
  stores ??= open()
  if (method === 'close') {
    // A file that is not written any more opens all the same: the rows are made anew.
    if (!isPoisoned) stores.log.settle()
    stores.close()
    return undefined
  }
  const owner = (method in stores.log ? stores.log : stores.records) as unknown as Record<
    string,
    (...args: readonly unknown[]) => unknown
  >
  return owner[method]?.(...args)
}

parentPort?.on('message', ({ id, method, args }: WorkerRequest) => {
  let reply: WorkerReply
  const moved: ArrayBuffer[] = []
  try {
    const value = run(method, args)
    reply = { id, value }
    if (method === 'commit')
      moved.push((value as { placed: Uint8Array<ArrayBuffer> }).placed.buffer)
  } catch (thrown) {
    const error = storageError(thrown)
    if (WRITES.has(method) && poisons(error)) isPoisoned = true
    reply = failureReply(id, error, isPoisoned && WRITES.has(method))
  }
  parentPort?.postMessage(reply, moved)
})
