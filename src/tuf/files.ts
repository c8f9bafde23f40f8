import { AirsealError, isObject, sha256Hex, toHex, type JsonObject } from '../core/index.ts'
import type { MetadataStore, RepositorySource } from './client.ts'
import {
  canonicalBytes,
  documentOf,
  targetsDocument,
  type RoleName,
  type TargetEntry,
} from './documents.ts'
import { metadataJson } from './metadata.ts'

/** All files by their path below `/tuf/`; targets lie below `targets/`, with their hash before the name. */
export type Files = ReadonlyMap<string, Uint8Array>

/** What is published, by path, before it gets its hash. `custom` is what Sigstore's older clients read. */
export type TargetFiles = ReadonlyMap<
  string,
  { readonly bytes: Uint8Array; readonly custom: JsonObject | null }
>

/** A metadata file that counts now. */
export interface Head {
  readonly name: string
  readonly version: number
  /** Milliseconds since 1970. */
  readonly expires: number
  readonly bytes: Uint8Array
  readonly signed: JsonObject
}

export type Current = Readonly<Record<RoleName, Head>>

export const ROOT_NAME = /^([1-9]\d{0,8})\.root\.json$/

/** Newest versions in a repository. @throws AirsealError TUF_INVALID, TUF_MISSING */
export function currentOf(files: Files): Current {
  const root = head(files, `${newestRootVersion(files)}.root.json`)
  const timestamp = head(files, 'timestamp.json')
  const snapshot = head(files, `${namedVersion(timestamp, 'snapshot.json')}.snapshot.json`)
  const targets = head(files, `${namedVersion(snapshot, 'targets.json')}.targets.json`)
  return { root, targets, snapshot, timestamp }
}

/** 0: there is no root. */
export function newestRootVersion(files: Files): number {
  return [...files.keys()].reduce(
    (newest, name) => Math.max(newest, Number(ROOT_NAME.exec(name)?.[1] ?? 0)),
    0,
  )
}

/** Path of a target in the repository. */
export function targetPath(path: string, sha256: string): string {
  const at = path.lastIndexOf('/') + 1
  return `targets/${path.slice(0, at)}${sha256}.${path.slice(at)}`
}

/** The targets that a repository holds, by path. @throws AirsealError TUF_INVALID, TUF_MISSING */
export function targetsOf(files: Files, { targets }: Pick<Current, 'targets'>): TargetFiles {
  const found = new Map<string, { bytes: Uint8Array; custom: JsonObject | null }>()
  for (const [path, { sha256, custom }] of entriesOf(targets.signed)) {
    const bytes = files.get(targetPath(path, sha256))
    if (bytes === undefined) throw new AirsealError('TUF_MISSING', `target ${path} is missing`)
    found.set(path, { bytes, custom })
  }
  return found
}

/** Targets as a file lists them. @throws AirsealError TUF_INVALID */
export function entriesOf(signed: JsonObject): ReadonlyMap<string, TargetEntry> {
  const { targets } = signed
  if (!isObject(targets)) throw new AirsealError('TUF_INVALID', 'the targets are malformed')
  return new Map(
    Object.entries(targets).map(([path, target]) => {
      const hashes = isObject(target) ? target['hashes'] : undefined
      const sha256 = isObject(hashes) ? hashes['sha256'] : undefined
      if (!isObject(target) || typeof sha256 !== 'string')
        throw new AirsealError('TUF_INVALID', `target ${path.slice(0, 80)} has no SHA-256`)
      const custom = isObject(target['custom']) ? target['custom'] : null
      return [path, { length: Number(target['length']), sha256, custom }]
    }),
  )
}

export function describeTargets(targets: TargetFiles): ReadonlyMap<string, TargetEntry> {
  return new Map(
    [...targets].map(([path, { bytes, custom }]) => [
      path,
      { length: bytes.length, sha256: sha256Hex(bytes), custom },
    ]),
  )
}

/** True when a targets file lists exactly these. */
export function listsTargets(signed: JsonObject, wanted: TargetFiles): boolean {
  const { targets } = targetsDocument(1, 0, describeTargets(wanted))
  const listed = signed['targets']
  return (
    isObject(targets) &&
    isObject(listed) &&
    toHex(canonicalBytes(targets)) === toHex(canonicalBytes(listed))
  )
}

export function headOf(name: string, bytes: Uint8Array): Head {
  const { signed } = documentOf(metadataJson(bytes, name), name)
  const { version, expires } = signed
  if (typeof version !== 'number' || typeof expires !== 'string')
    throw new AirsealError('TUF_INVALID', `${name} has no version or no expiry`)
  return { name, version, expires: Date.parse(expires), bytes, signed }
}

/** Reads files for our own client, and no more of one than it asks for. */
export function sourceOf(files: Files): RepositorySource {
  const read = (name: string, maxBytes: number): Promise<Uint8Array | null> => {
    const bytes = files.get(name) ?? null
    if (bytes === null || bytes.length <= maxBytes) return Promise.resolve(bytes)
    const message = `${name} has ${bytes.length} bytes, ${maxBytes} are allowed`
    return Promise.reject(new AirsealError('TOO_LARGE', message))
  }
  return { metadata: read, target: (path, maxBytes) => read(`targets/${path}`, maxBytes) }
}

/** A store that lasts as long as the process. */
export function memoryStore(kept: Map<string, Uint8Array>): MetadataStore {
  return {
    load: (role) => Promise.resolve(kept.get(role) ?? null),
    save: (role, bytes) => {
      kept.set(role, bytes)
      return Promise.resolve()
    },
  }
}

function head(files: Files, name: string): Head {
  const bytes = files.get(name)
  if (bytes === undefined) throw new AirsealError('TUF_MISSING', `${name} is not in the repository`)
  return headOf(name, bytes)
}

function namedVersion({ signed, name }: Head, of: string): number {
  const meta = isObject(signed['meta']) ? signed['meta'][of] : undefined
  if (!isObject(meta)) throw new AirsealError('TUF_INVALID', `${name} does not name ${of}`)
  return Number(meta['version'])
}
