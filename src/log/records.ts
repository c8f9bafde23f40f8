import type { AuditRow, Job, JobState, NewJob, RecordStore, StoredAuditRow } from './store.ts'
import type { WorkerClient } from './worker-client.ts'

/**
 * The tables beside the log: audit trail, signing jobs, settings. A write is durable when its promise resolves; one that fails with
 * STORAGE may have happened all the same. All methods throw AirsealError STORAGE, and STORAGE_FULL when they write.
 */
export interface Records {
  /** Adds a row to the hash-chained audit trail. @throws AirsealError REQUEST_INVALID when it is too large */
  audit(row: AuditRow): Promise<void>
  /** Rows after `seq` (0: from the first), oldest first. */
  auditRows(seq: number, limit: number): Promise<readonly StoredAuditRow[]>
  /** Recomputes the chain; `hash` is its end, to be anchored elsewhere. @throws AirsealError LOG_DAMAGED naming the first bad row */
  verifyAudit(): Promise<{ readonly rows: number; readonly hash: string }>
  jobByIdentity(identity: string): Promise<Job | null>
  /** Adds the job in state `signed` with its audit row, both or neither. An existing job of the identity is returned instead, without audit row. */
  beginJob(job: NewJob): Promise<{ readonly job: Job; readonly existed: boolean }>
  /** `time`: Unix milliseconds. @throws AirsealError NOT_FOUND */
  updateJob(
    id: number,
    change: { readonly state: JobState; readonly document: string; readonly time: number },
  ): Promise<void>
  /** Jobs that are not pushed, oldest first. */
  unfinishedJobs(limit: number): Promise<readonly Job[]>
  jobsByDigest(digest: string): Promise<readonly Job[]>
  setting(name: string): Promise<string | null>
  setSetting(name: string, value: string): Promise<void>
}

export function recordsOf(client: WorkerClient): Records {
  return {
    audit: (row) => client.call('audit', [row]),
    auditRows: (seq, limit) => client.call('auditRows', [seq, limit]),
    verifyAudit: () => client.call('verifyAudit', []),
    jobByIdentity: (identity) => client.call('jobByIdentity', [identity]),
    beginJob: (job) => client.call('beginJob', [job]),
    updateJob: (id, change) => client.call('updateJob', [id, change]),
    unfinishedJobs: (limit) => client.call('unfinishedJobs', [limit]),
    jobsByDigest: (digest) => client.call('jobsByDigest', [digest]),
    setting: (name) => client.call('setting', [name]),
    setSetting: (name, value) => client.call('setSetting', [name, value]),
  } satisfies Records & Record<keyof RecordStore, unknown>
}
