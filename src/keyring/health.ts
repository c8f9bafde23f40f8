import type { ErrorCode } from '../core/index.ts'

/** What is known of whether a key can sign. */
export interface KeyHealth {
  readonly isGood: boolean
  /** Code of the failure; null when good. */
  readonly code: ErrorCode | null
  /** Of the test signature, milliseconds; null when there was none. */
  readonly milliseconds: number | null
  /** What an operator should know; the first is the failure, where there is one. */
  readonly findings: readonly string[]
  /** When it was found out, Unix milliseconds. */
  readonly time: number
}

/** Codes that tell of the key or its back-end, and not of what was asked. */
const MARKING: ReadonlySet<ErrorCode> = new Set([
  'KEY_UNAVAILABLE',
  'KEY_CHANGED',
  'KEY_UNKNOWN',
  'KEY_PIN',
  'KEY_INVALID',
  'PASSPHRASE',
  'SIGNATURE_FAULT',
  'DATA_PERMISSIONS',
  'RUNTIME',
])

/** True when a failed use with this code shows that the key can't sign. */
export function marksKey(code: ErrorCode): boolean {
  return MARKING.has(code)
}
