import { isObject } from '../core/index.ts'
import type { Json, JsonObject } from '../core/index.ts'
import type { LoggedEntry, TransparencyLog } from '../log/index.ts'
import { canonicaliseEntry } from './entry.ts'
import { type EntryName, parseEntryName } from './parameters.ts'
import { SCHEMA, schemaError } from './problems.ts'
import type { VerifierCache } from './verifier.ts'

/** In one array, and over all three. */
const MAX_QUERIES = 10

interface Query {
  readonly names: readonly EntryName[]
  readonly logIndexes: readonly number[]
  readonly entries: readonly Json[]
}

/**
 * Looks entries up by id, by index and by proposed entry. The order is Rekor's: full ids, then leaf hashes, then entries, then indexes.
 * What is not found is left out; repeats stay.
 */
export async function retrieveEntries(
  body: Json,
  log: TransparencyLog,
  verifiers: VerifierCache,
): Promise<readonly LoggedEntry[]> {
  const query = parseQuery(body)
  // Verified one after the other: one request must not fill the thread pool.
  const leafHashes: Uint8Array[] = []
  for (const entry of query.entries)
    leafHashes.push((await canonicaliseEntry(entry, 'query', verifiers)).leafHash)
  const full = query.names.filter(({ treeId }) => treeId !== null)
  const bare = query.names.filter(({ treeId }) => treeId === null)
  const found = await Promise.all([
    ...full.map(({ leafHash, treeId }) => log.entryByLeafHash(leafHash, treeId ?? undefined)),
    ...bare.map(({ leafHash }) => log.entryByLeafHash(leafHash)),
    ...leafHashes.map((leafHash) => log.entryByLeafHash(leafHash)),
    ...query.logIndexes.map((index) => log.entryByIndex(index)),
  ])
  return found.filter((entry) => entry !== null)
}

function parseQuery(body: Json): Query {
  if (body === null) throw schemaError(SCHEMA.required, 'entry in body is required')
  if (!isObject(body)) throw schemaError(SCHEMA.type, 'entry in body must be of type object')
  const ids = list(body, 'entryUUIDs')
  const indexes = list(body, 'logIndexes')
  const entries = list(body, 'entries')
  if (ids.length + indexes.length + entries.length > MAX_QUERIES) {
    throw schemaError(SCHEMA.plain, `more than max allowed ${MAX_QUERIES} entries in request`)
  }
  return {
    names: ids.map((id, index) => {
      if (typeof id !== 'string')
        throw schemaError(
          SCHEMA.type,
          `entryUUIDs.${index} in body must be of type string: "${typeof id}"`,
        )
      return parseEntryName(id, `entryUUIDs.${index}`, 'body')
    }),
    logIndexes: indexes.map((value, index) => {
      if (typeof value !== 'number' || !Number.isInteger(value)) {
        throw schemaError(SCHEMA.type, `logIndexes.${index} in body must be of type integer`)
      }
      if (value < 0)
        throw schemaError(
          SCHEMA.minimum,
          `logIndexes.${index} in body should be greater than or equal to 0`,
        )
      return value
    }),
    entries,
  }
}

function list(body: JsonObject, name: string): readonly Json[] {
  const value = body[name] ?? []
  if (!Array.isArray(value)) throw schemaError(SCHEMA.type, `${name} in body must be of type array`)
  if (value.length > MAX_QUERIES) {
    throw schemaError(
      SCHEMA.tooManyItems,
      `${name} in body should have at most ${MAX_QUERIES} items`,
    )
  }
  return value
}
