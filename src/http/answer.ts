import type { AirsealError, ErrorCode } from '../core/index.ts'
import { schemaCodeOf } from '../rekor/index.ts'

export type HeaderValues = Readonly<Record<string, string | number>>

/** What is sent back. */
export interface Answer {
  readonly status: number
  /** null: no Content-Type, and an empty body. */
  readonly contentType: string | null
  readonly body: string | Uint8Array
  readonly headers?: HeaderValues
}

/** How a route tells its errors: as Rekor does, or with airseal's codes. */
export type Dialect = 'airseal' | 'rekor'

/** Seconds after which a refused caller may come again. */
const RETRY_AFTER = 1

export function jsonAnswer(status: number, body: string, headers?: HeaderValues): Answer {
  return { status, contentType: 'application/json', body, ...(headers && { headers }) }
}

/** @param prefix - words before a message about malformed JSON, in Rekor's dialect */
export function errorAnswer(error: AirsealError, dialect: Dialect, prefix = ''): Answer {
  const { status, remedy } = error.facts
  const headers = errorHeaders(error.code, status)
  // What a defect says is for the operator's log alone.
  const message =
    error.code === 'INTERNAL' ? 'internal error; the log of the service says more' : error.message
  if (dialect === 'rekor') {
    const text = error.code === 'JSON_INVALID' ? `${prefix}${message}` : message
    return jsonAnswer(
      status,
      JSON.stringify({ code: schemaCodeOf(error) ?? status, message: text }),
      headers,
    )
  }
  const details =
    error.details === undefined || error.details === null ? {} : { details: error.details }
  return jsonAnswer(
    status,
    JSON.stringify({ error: { code: error.code, message, remedy, ...details } }),
    headers,
  )
}

function errorHeaders(code: ErrorCode, status: number): HeaderValues {
  if (code === 'UNAUTHENTICATED') return { 'www-authenticate': 'Bearer' }
  return status === 503 || status === 429 ? { 'retry-after': RETRY_AFTER } : {}
}
