import { fromHex } from '../core/index.ts'
import { requestError, SCHEMA, schemaError } from './problems.ts'

const ENTRY_ID = /^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$/
const MAX_TREE_ID = 2n ** 63n - 1n

/** Where a value stood, in the words of Rekor's messages. */
export type Place = 'query' | 'path' | 'body'

/** Reads a whole number of at least `least`. @throws AirsealError ENTRY_SCHEMA */
export function integerParameter(text: string | null, name: string, least: number): number {
  if (text === null || text === '')
    throw schemaError(SCHEMA.required, `${name} in query is required`)
  if (!/^-?\d{1,19}$/.test(text)) {
    throw schemaError(SCHEMA.type, `${name} in query must be of type int64: "${text.slice(0, 40)}"`)
  }
  // Beyond 2^53 digits are lost; no index or size is that large, so that what is asked for does not exist either way.
  const value = Number(text)
  if (value < least)
    throw schemaError(
      SCHEMA.minimum,
      `${name} in query should be greater than or equal to ${least}`,
    )
  return value
}

export interface EntryName {
  /** null: any tree. */
  readonly treeId: bigint | null
  /** 32 bytes raw. */
  readonly leafHash: Uint8Array
}

/** Reads 64 or 80 hex digits in either case. @throws AirsealError ENTRY_SCHEMA, REQUEST_INVALID for an impossible tree id */
export function parseEntryName(text: string, name: string, place: Place): EntryName {
  if (!ENTRY_ID.test(text))
    throw schemaError(SCHEMA.pattern, `${name} in ${place} should match '${ENTRY_ID.source}'`)
  const digits = text.toLowerCase()
  const leafHash = fromHex(digits.slice(-64), name)
  if (digits.length === 64) return { treeId: null, leafHash }
  const tree = digits.slice(0, 16)
  const treeId = BigInt(`0x${tree}`)
  if (treeId === 0n || treeId > MAX_TREE_ID) {
    throw requestError(
      place === 'path'
        ? `validation error: ${tree} is not a valid TreeID`
        : `invalid entryID ${digits}`,
    )
  }
  return { treeId, leafHash }
}

/** Decimal tree id; null when it is no positive 63-bit number. */
export function parseTreeId(text: string): bigint | null {
  if (!/^\d{1,19}$/.test(text)) return null
  const value = BigInt(text)
  return value > 0n && value <= MAX_TREE_ID ? value : null
}
