import {
  Metadata,
  MetadataKind,
  type Root,
  type Snapshot,
  type Targets,
  type Timestamp,
} from '@tufjs/models'
import {
  AirsealError,
  fromUtf8,
  isObject,
  parseJson,
  type Json,
  type JsonObject,
} from '../core/index.ts'

export type RootFile = Metadata<Root>
export type TimestampFile = Metadata<Timestamp>
export type SnapshotFile = Metadata<Snapshot>
export type TargetsFile = Metadata<Targets>
type AnyFile = RootFile | TimestampFile | SnapshotFile | TargetsFile

/** Largest files that are read, bytes; those of the clients that Sigstore ships. */
export const MAX_BYTES = {
  root: 512_000,
  timestamp: 16_384,
  snapshot: 2_000_000,
  targets: 5_000_000,
} as const

const MAX_DEPTH = 24
const MAX_VALUES = 100_000
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/

/** @throws AirsealError TUF_INVALID */
export function readRoot(bytes: Uint8Array, what: string): RootFile {
  return read(bytes, what, MAX_BYTES.root, (json) => Metadata.fromJSON(MetadataKind.Root, json))
}

/** @throws AirsealError TUF_INVALID */
export function readTimestamp(bytes: Uint8Array, what: string): TimestampFile {
  const file = read(bytes, what, MAX_BYTES.timestamp, (json) =>
    Metadata.fromJSON(MetadataKind.Timestamp, json),
  )
  requireVersion(file.signed.snapshotMeta.version, `${what}: snapshot.json`)
  return file
}

/** @throws AirsealError TUF_INVALID */
export function readSnapshot(bytes: Uint8Array, what: string): SnapshotFile {
  const file = read(bytes, what, MAX_BYTES.snapshot, (json) =>
    Metadata.fromJSON(MetadataKind.Snapshot, json),
  )
  for (const [name, { version }] of Object.entries(file.signed.meta))
    requireVersion(version, `${what}: ${name.slice(0, 80)}`)
  return file
}

/** Also for delegated roles. @throws AirsealError TUF_INVALID */
export function readTargets(bytes: Uint8Array, what: string): TargetsFile {
  return read(bytes, what, MAX_BYTES.targets, (json) =>
    Metadata.fromJSON(MetadataKind.Targets, json),
  )
}

/** Milliseconds since 1970 after which a file must not be used. */
export function expiryOf(file: AnyFile): number {
  return Date.parse(file.signed.expires)
}

/**
 * The document of a metadata file: strict JSON, whole numbers only (canonical JSON has no others), and no member `__proto__`, which the
 * models would lose.
 * @throws AirsealError TUF_INVALID
 */
export function metadataJson(bytes: Uint8Array, what: string): JsonObject {
  const text = fromUtf8(bytes, what, 'TUF_INVALID')
  const json = parseJson(text, {
    maxDepth: MAX_DEPTH,
    maxValues: MAX_VALUES,
    code: 'TUF_INVALID',
    what,
  })
  checkValues(json, what)
  if (!isObject(json)) throw new AirsealError('TUF_INVALID', `${what} is not an object`)
  return json
}

function read<File extends AnyFile>(
  bytes: Uint8Array,
  what: string,
  limit: number,
  parse: (json: JsonObject) => File,
): File {
  if (bytes.length > limit)
    throw new AirsealError('TOO_LARGE', `${what} has ${bytes.length} bytes, ${limit} are read`)
  const json = metadataJson(bytes, what)
  let file: File
  try {
    file = parse(json)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 200) : 'malformed'
    throw new AirsealError('TUF_INVALID', `${what}: ${why}`, { cause })
  }
  requireVersion(file.signed.version, what)
  // The models would take an unreadable date for one that never comes.
  if (!RFC3339.test(file.signed.expires) || Number.isNaN(Date.parse(file.signed.expires)))
    throw new AirsealError('TUF_INVALID', `${what}: expires is not a time`)
  return file
}

function requireVersion(version: number, what: string): void {
  if (!Number.isSafeInteger(version) || version < 1)
    throw new AirsealError('TUF_INVALID', `${what}: the version is not a whole number above 0`)
}

function checkValues(value: Json, what: string): void {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new AirsealError('TUF_INVALID', `${what} holds a number that is not whole`)
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const item of value) checkValues(item, what)
    return
  }
  for (const [name, item] of Object.entries(value)) {
    if (name === '__proto__')
      throw new AirsealError('TUF_INVALID', `${what} has a member "__proto__"`)
    checkValues(item, what)
  }
}
