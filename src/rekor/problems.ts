import { AirsealError } from '../core/index.ts'

/** Inner codes that Rekor's clients know from its validation framework; HTTP says 422 for all of them. */
export const SCHEMA = {
  type: 601,
  required: 602,
  pattern: 605,
  minimum: 609,
  tooManyItems: 611,
  /** Not of the framework's list: written by Rekor's own handlers. */
  plain: 422,
} as const

/** A parameter or an outer member is not as the interface description says. */
export function schemaError(schemaCode: number, message: string): AirsealError {
  return new AirsealError('ENTRY_SCHEMA', message, { details: { schemaCode } })
}

/** Inner code of an ENTRY_SCHEMA error; null for other errors. */
export function schemaCodeOf(error: AirsealError): number | null {
  if (error.code !== 'ENTRY_SCHEMA') return null
  return (error.details as { schemaCode: number }).schemaCode
}

/** What is inside an entry is wrong. */
export function entryError(message: string, cause?: unknown): AirsealError {
  return new AirsealError('ENTRY_INVALID', message, cause === undefined ? undefined : { cause })
}

/** A request as a whole is wrong. */
export function requestError(message: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', message)
}
