import { fromUtf8, isObject, parseJson } from '../core/index.ts'
import type { Json } from '../core/index.ts'
import { IN_TOTO_TYPE } from '../sigstore/index.ts'

/** Predicate types whose materials name digests worth finding. */
const MATERIALS = new Set(['https://slsa.dev/provenance/v0.1', 'https://slsa.dev/provenance/v0.2'])
const MAX_DIGESTS = 48
const NAME = /^[A-Za-z0-9_-]{1,32}$/
const VALUE = /^[0-9a-fA-F]{32,128}$/

/**
 * Search keys `algorithm:hex` of the digests that an in-toto statement is about. The signed payload is free text to the log: one that can't be
 * read has no such keys, and is no error.
 */
export function statementKeys(payloadType: string, payload: Uint8Array): readonly string[] {
  if (payloadType !== IN_TOTO_TYPE) return []
  let statement: Json
  try {
    statement = parseJson(fromUtf8(payload, 'the statement'), { maxDepth: 128 })
  } catch {
    return []
  }
  if (!isObject(statement)) return []
  const keys = digestsOf(statement['subject'])
  const { predicateType, predicate } = statement
  if (typeof predicateType === 'string' && MATERIALS.has(predicateType) && isObject(predicate)) {
    keys.push(...digestsOf(predicate['materials']))
  }
  return keys.slice(0, MAX_DIGESTS)
}

function digestsOf(list: Json | undefined): string[] {
  if (!Array.isArray(list)) return []
  const keys: string[] = []
  for (const item of list) {
    if (keys.length >= MAX_DIGESTS) break
    const digest = isObject(item) ? item['digest'] : undefined
    if (!isObject(digest)) continue
    for (const [name, value] of Object.entries(digest)) {
      if (NAME.test(name) && typeof value === 'string' && VALUE.test(value))
        keys.push(`${name}:${value}`.toLowerCase())
    }
  }
  return keys
}
