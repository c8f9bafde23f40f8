import { AirsealError } from '../core/index.ts'
import type {
  AuditRow,
  DocumentChange,
  Job,
  JobState,
  NewJob,
  RecordStore,
  StoredAuditRow,
  StoredDocument,
} from './store.ts'
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
  /** Small durable state of another folder; null when there is none of that name. */
  document(kind: string, name: string): Promise<StoredDocument | null>
  /** Documents of a kind by name, those after `after`; 1,000 at most unless `limit` says otherwise. */
  documents(
    kind: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<readonly StoredDocument[]>
  /** One change with its audit row, both or neither. @throws AirsealError CONFLICT when the revision is another, TOO_LARGE */
  putDocument(change: DocumentChange & { readonly audit: AuditRow }): Promise<StoredDocument>
  /** Several changes with one audit row, all or nothing. @throws AirsealError CONFLICT, TOO_LARGE */
  putDocuments(
    changes: readonly DocumentChange[],
    audit: AuditRow,
  ): Promise<readonly StoredDocument[]>
}

const MAX_LISTED = 1000

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
    document: (kind, name) => client.call('document', [kind, name]),
    documents: (kind, { after = '', limit = MAX_LISTED } = {}) =>
      client.call('documents', [kind, after, limit]),
    putDocument: async ({ audit, ...change }) => {
      const [stored] = await client.call('putDocuments', [[change], audit])
      if (stored === undefined) throw new AirsealError('INTERNAL', 'no document was stored')
      return stored
    },
    putDocuments: (changes, audit) => client.call('putDocuments', [changes, audit]),
  } satisfies Records & Record<keyof RecordStore, unknown>
}
