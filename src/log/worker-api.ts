import { AirsealError, ERRORS, type ErrorCode } from '../core/index.ts'
import type { LogStore, RecordStore } from './store.ts'

/** What the thread that owns the database is asked to do. */
export type WorkerApi = LogStore & RecordStore & { close(): void }

export type WorkerMethod = keyof WorkerApi

export interface WorkerRequest {
  readonly id: number
  readonly method: WorkerMethod
  readonly args: readonly unknown[]
}

/** `poisoned`: the thread will not write again. */
export type WorkerReply =
  | { readonly id: number; readonly value: unknown }
  | {
      readonly id: number
      readonly code: ErrorCode
      readonly message: string
      readonly poisoned: boolean
    }

/** An error crosses threads as code and message: class and cause would be lost anyway. */
export function failureReply(id: number, error: AirsealError, poisoned: boolean): WorkerReply {
  return { id, code: error.code, message: error.message, poisoned }
}

export function errorOfReply(reply: { code: ErrorCode; message: string }): AirsealError {
  return new AirsealError(reply.code in ERRORS ? reply.code : 'INTERNAL', reply.message)
}

/** Methods that write. After the first failure whose outcome is unknown they are refused. */
export const WRITES: ReadonlySet<WorkerMethod> = new Set<WorkerMethod>([
  'claim',
  'commit',
  'saveCheckpoints',
  'audit',
  'beginJob',
  'updateJob',
  'setSetting',
  'putDocuments',
])
