import {
  AirsealError,
  bytesEqual,
  canonicalJson,
  parseJson,
  sha256,
  toHex,
  utf8,
} from '../core/index.ts'
import type { JsonObject } from '../core/index.ts'
import type { Connection } from './database.ts'
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

/** Largest canonical JSON of an audit row's detail, and largest other text, in characters. */
const MAX_DETAIL = 65_536
const MAX_TEXT = 4096
const MAX_DOCUMENT = 16_777_216
const MAX_NAME = 512
/** What a job's document may grow by after it was begun: a job that can't be written any more would never be finished. */
const GROWTH = 65_536

/** Audit, jobs and settings in SQLite. Synchronous: it lives in a worker thread. */
export class SqliteRecordStore implements RecordStore {
  readonly #db: Connection
  readonly #sql: ReturnType<typeof statements>

  constructor(db: Connection) {
    this.#db = db
    this.#sql = statements(db)
  }

  audit(row: AuditRow): void {
    this.#write(() => {
      this.#appendAudit(row)
    })
  }

  #appendAudit(row: AuditRow): void {
    const detail = canonicalJson(row.detail)
    const texts = [row.caller, row.action, row.key ?? '', row.digest ?? '']
    if (detail.length > MAX_DETAIL || texts.some((text) => text.length > MAX_TEXT)) {
      throw new AirsealError('REQUEST_INVALID', 'audit row is too large')
    }
    const head = this.#auditHead()
    const seq = head.seq + 1
    const hash = auditHash(head.hash, { ...row, seq }, detail)
    this.#sql.insertAudit.run(
      seq,
      row.time,
      row.caller,
      row.action,
      row.key ?? null,
      row.digest ?? null,
      detail,
      hash,
    )
    this.#sql.setAuditHead.run(seq, hash)
  }

  #auditHead(): { seq: number; hash: Uint8Array } {
    const row = this.#sql.auditHead.get()
    if (row === undefined)
      throw new AirsealError('LOG_DAMAGED', 'the head of the audit chain is missing')
    return { seq: Number(row.seq), hash: row.hash }
  }

  auditRows(seq: number, limit: number): StoredAuditRow[] {
    return this.#sql.auditRows.all(seq, limit).map(auditRow)
  }

  verifyAudit(): { rows: number; hash: string } {
    let seq = 0
    let hash: Uint8Array = new Uint8Array(32)
    for (const row of this.#sql.auditRows.iterate(0, -1)) {
      seq += 1
      const stored = auditRow(row)
      hash = auditHash(hash, stored, canonicalJson(stored.detail))
      if (stored.seq !== seq || !bytesEqual(hash, row.hash)) {
        throw new AirsealError('LOG_DAMAGED', `audit row ${seq} is missing or was changed`)
      }
    }
    const head = this.#auditHead()
    if (head.seq !== seq || !bytesEqual(head.hash, hash)) {
      throw new AirsealError('LOG_DAMAGED', `audit rows after ${seq} are missing`)
    }
    return { rows: seq, hash: toHex(hash) }
  }

  jobByIdentity(identity: string): Job | null {
    const row = this.#sql.jobByIdentity.get(identity)
    return row === undefined ? null : job(row)
  }

  beginJob({ identity, digest, document, audit }: NewJob): { job: Job; existed: boolean } {
    if (document.length > MAX_DOCUMENT - GROWTH)
      throw new AirsealError('TOO_LARGE', 'the job is too large')
    return this.#write(() => {
      const existing = this.jobByIdentity(identity)
      if (existing !== null) return { job: existing, existed: true }
      this.#sql.insertJob.run(identity, digest ?? null, document, 'signed', audit.time, audit.time)
      this.#appendAudit(audit)
      return { job: this.jobByIdentity(identity) as Job, existed: false }
    })
  }

  updateJob(
    id: number,
    { state, document, time }: { state: JobState; document: string; time: number },
  ): void {
    if (document.length > MAX_DOCUMENT) throw new AirsealError('TOO_LARGE', 'the job is too large')
    const { changes } = this.#write(() => this.#sql.updateJob.run(state, document, time, id))
    if (changes !== 1) throw new AirsealError('NOT_FOUND', `there is no job ${id}`)
  }

  unfinishedJobs(limit: number): Job[] {
    return this.#sql.unfinishedJobs.all(limit).map(job)
  }

  jobsByDigest(digest: string): Job[] {
    return this.#sql.jobsByDigest.all(digest).map(job)
  }

  setting(name: string): string | null {
    return this.#sql.setting.get(name)?.value ?? null
  }

  setSetting(name: string, value: string): void {
    this.#write(() => this.#sql.setSetting.run(name, value))
  }

  document(kind: string, name: string): StoredDocument | null {
    const row = this.#sql.document.get(kind, name)
    return row === undefined ? null : storedDocument(row)
  }

  documents(kind: string, after: string, limit: number): StoredDocument[] {
    return this.#sql.documents.all(kind, after, limit).map(storedDocument)
  }

  putDocuments(changes: readonly DocumentChange[], audit: AuditRow): StoredDocument[] {
    return this.#write(() => {
      const stored = changes.map((change) => this.#putDocument(change, audit.time))
      this.#appendAudit(audit)
      return stored
    })
  }

  #putDocument({ kind, name, expected, text }: DocumentChange, time: number): StoredDocument {
    if (text.length > MAX_DOCUMENT || kind.length > MAX_NAME || name.length > MAX_NAME)
      throw new AirsealError('TOO_LARGE', `the document ${kind}/${name.slice(0, 80)} is too large`)
    const { revision = null } = this.document(kind, name) ?? {}
    if (revision !== expected) {
      throw new AirsealError(
        'CONFLICT',
        `${kind} "${name}" was changed meanwhile: revision ${revision ?? 'none'}, not ${expected ?? 'none'}`,
      )
    }
    const document = { kind, name, revision: (revision ?? 0) + 1, text, time }
    this.#sql.putDocument.run(kind, name, document.revision, text, time)
    return document
  }

  #write<T>(work: () => T): T {
    return this.#db.transaction(work).immediate()
  }
}

interface StoredRow {
  readonly seq: bigint
  readonly time: bigint
  readonly caller: string
  readonly action: string
  readonly key: string | null
  readonly digest: string | null
  readonly detail: string
  readonly hash: Uint8Array
}

interface JobRow {
  readonly id: bigint
  readonly identity: string
  readonly digest: string | null
  readonly document: string
  readonly state: JobState
  readonly created: bigint
  readonly updated: bigint
}

interface DocumentRow {
  readonly kind: string
  readonly name: string
  readonly revision: bigint
  readonly text: string
  readonly time: bigint
}

function storedDocument(row: DocumentRow): StoredDocument {
  return { ...row, revision: Number(row.revision), time: Number(row.time) }
}

function statements(db: Connection) {
  type Text = string | null
  return {
    insertAudit: db.prepare<[number, number, string, string, Text, Text, string, Uint8Array]>(
      'INSERT INTO audit (seq, time, caller, action, key, digest, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    ),
    auditHead: db.prepare<[], { seq: bigint; hash: Uint8Array }>(
      'SELECT seq, hash FROM audit_head',
    ),
    setAuditHead: db.prepare<[number, Uint8Array]>('UPDATE audit_head SET seq = ?, hash = ?'),
    auditRows: db.prepare<[number, number], StoredRow>(
      'SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?',
    ),
    insertJob: db.prepare<[string, Text, string, JobState, number, number]>(
      'INSERT INTO job (identity, digest, document, state, created, updated) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    updateJob: db.prepare<[JobState, string, number, number]>(
      'UPDATE job SET state = ?, document = ?, updated = ? WHERE id = ?',
    ),
    jobByIdentity: db.prepare<[string], JobRow>('SELECT * FROM job WHERE identity = ?'),
    unfinishedJobs: db.prepare<[number], JobRow>(
      "SELECT * FROM job WHERE state <> 'pushed' ORDER BY id LIMIT ?",
    ),
    jobsByDigest: db.prepare<[string], JobRow>('SELECT * FROM job WHERE digest = ? ORDER BY id'),
    document: db.prepare<[string, string], DocumentRow>(
      'SELECT * FROM document WHERE kind = ? AND name = ?',
    ),
    documents: db.prepare<[string, string, number], DocumentRow>(
      'SELECT * FROM document WHERE kind = ? AND name > ? ORDER BY name LIMIT ?',
    ),
    putDocument: db.prepare<[string, string, number, string, number]>(
      'INSERT INTO document (kind, name, revision, text, time) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET revision = excluded.revision, text = excluded.text, time = excluded.time',
    ),
    setting: db.prepare<[string], { value: string }>('SELECT value FROM setting WHERE name = ?'),
    setSetting: db.prepare<[string, string]>(
      'INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
    ),
  }
}

/** Detail comes as canonical JSON; the rest of the row is put around it. */
function auditHash(
  before: Uint8Array,
  row: AuditRow & { seq: number },
  detail: string,
): Uint8Array {
  const rest = canonicalJson({
    action: row.action,
    caller: row.caller,
    detail,
    digest: row.digest ?? null,
    key: row.key ?? null,
    seq: row.seq,
    time: row.time,
  })
  return sha256(Buffer.concat([before, utf8(rest)]))
}

function auditRow(row: StoredRow): StoredAuditRow {
  const detail = parseJson(row.detail, { code: 'LOG_DAMAGED', what: `audit row ${row.seq}` })
  return {
    seq: Number(row.seq),
    time: Number(row.time),
    caller: row.caller,
    action: row.action,
    ...(row.key === null ? {} : { key: row.key }),
    ...(row.digest === null ? {} : { digest: row.digest }),
    detail: detail as JsonObject,
    hash: toHex(row.hash),
  }
}

function job(row: JobRow): Job {
  return {
    id: Number(row.id),
    identity: row.identity,
    digest: row.digest,
    document: row.document,
    state: row.state,
    created: Number(row.created),
    updated: Number(row.updated),
  }
}
