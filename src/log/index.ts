export { checkLog } from './check.ts'
export type { CheckOptions, LogCheck } from './check.ts'
export { createDatabase } from './database.ts'
export type { NewDatabase } from './database.ts'
export { acquireDirectoryLock } from './directory-lock.ts'
export type {
  AppendResult,
  InclusionProof,
  LoggedEntry,
  NewLeaf,
  SignedHead,
  TransparencyLog,
} from './model.ts'
export { openEvidenceDatabase } from './evidence-cache.ts'
export type { EvidenceDatabase } from './evidence-cache.ts'
export { openLog } from './open-log.ts'
export type { LogOptions } from './open-log.ts'
export type { Records } from './records.ts'
export type {
  AuditRow,
  DocumentChange,
  Job,
  JobState,
  NewJob,
  StoredAuditRow,
  StoredDocument,
} from './store.ts'
