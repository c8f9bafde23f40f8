import type { JsonObject } from '../core/index.ts'
import type { VerifierCache } from './verifier.ts'

/** `create`: it is to be logged. `query`: it is only looked for, and may be in the form in which the log keeps it. */
export type Purpose = 'create' | 'query'

/** What a kind makes of a spec that it has checked, signatures included. */
export interface CheckedSpec {
  /** Canonical JSON text of the spec (RFC 8785). */
  readonly spec: string
  /** Most important first; repeats are dropped later. */
  readonly searchKeys: readonly string[]
}

/** Checks one attacker-controlled spec. @throws AirsealError ENTRY_INVALID */
export type EntryKind = (
  spec: JsonObject,
  purpose: Purpose,
  verifiers: VerifierCache,
) => Promise<CheckedSpec>
