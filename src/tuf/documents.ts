import { canonicalize } from '@tufjs/canonical-json'
import {
  AirsealError,
  isObject,
  sha256Hex,
  toHex,
  utf8,
  type Json,
  type JsonObject,
  type PublicKey,
} from '../core/index.ts'

/** Version of the specification that the files follow. */
const SPEC_VERSION = '1.0.34'

export type RoleName = 'root' | 'targets' | 'snapshot' | 'timestamp'
const ROLES: readonly RoleName[] = ['root', 'targets', 'snapshot', 'timestamp']

/** A key as a root lists it. */
export interface ListedKey {
  /** SHA-256 of the canonical JSON of `record`, hex. */
  readonly id: string
  readonly record: JsonObject
}

export interface RoleKeys {
  readonly keys: readonly ListedKey[]
  readonly threshold: number
}

export type Roles = Readonly<Record<RoleName, RoleKeys>>

/** The signed part of a metadata file, and who signed it. */
export interface MetadataDocument {
  readonly signed: JsonObject
  /** Hex signature by key id; an empty one stands for a signature to come. */
  readonly signatures: ReadonlyMap<string, string>
}

/** A target file as the targets role describes it. */
export interface TargetEntry {
  /** Bytes. */
  readonly length: number
  /** Hex; the only hash that is given, since clients take any of them for the file's name. */
  readonly sha256: string
  /** What Sigstore's older clients read: usage and status of a key. */
  readonly custom: JsonObject | null
}

/**
 * A public key in the form of TUF: P-256 as PEM, Ed25519 as hex.
 * @throws AirsealError KEY_UNSUPPORTED
 */
export function listedKey(key: PublicKey): ListedKey {
  const record = recordOf(key)
  return { id: sha256Hex(canonicalBytes(record)), record }
}

function recordOf(key: PublicKey): JsonObject {
  switch (key.algorithm.name) {
    case 'ecdsa-p256':
      return { keytype: 'ecdsa', keyval: { public: key.pem }, scheme: 'ecdsa-sha2-nistp256' }
    case 'ed25519':
      return {
        keytype: 'ed25519',
        keyval: { public: toHex(key.spki.subarray(key.spki.length - 32)) },
        scheme: 'ed25519',
      }
    default:
      throw new AirsealError(
        'KEY_UNSUPPORTED',
        `a TUF key is ECDSA P-256 or Ed25519, not ${key.algorithm.name}`,
      )
  }
}

/** What is signed: OLPC canonical JSON, which is not RFC 8785. */
export function canonicalBytes(value: JsonObject): Uint8Array {
  return utf8(canonicalize(value))
}

export function rootDocument(version: number, expires: number, roles: Roles): JsonObject {
  const keys = new Map<string, JsonObject>()
  for (const name of ROLES) for (const { id, record } of roles[name].keys) keys.set(id, record)
  return {
    _type: 'root',
    consistent_snapshot: true,
    expires: timeText(expires),
    keys: Object.fromEntries([...keys].sort(([a], [b]) => (a < b ? -1 : 1))),
    roles: Object.fromEntries(
      ROLES.map((name) => [
        name,
        { keyids: roles[name].keys.map(({ id }) => id), threshold: roles[name].threshold },
      ]),
    ),
    spec_version: SPEC_VERSION,
    version,
  }
}

export function targetsDocument(
  version: number,
  expires: number,
  targets: ReadonlyMap<string, TargetEntry>,
): JsonObject {
  const described = ([path, { length, sha256, custom }]: [string, TargetEntry]): [
    string,
    JsonObject,
  ] => [path, { ...(custom && { custom }), hashes: { sha256 }, length }]
  return {
    _type: 'targets',
    expires: timeText(expires),
    spec_version: SPEC_VERSION,
    targets: Object.fromEntries([...targets].sort(([a], [b]) => (a < b ? -1 : 1)).map(described)),
    version,
  }
}

/** Names the files of the roles that it covers, with length and hash: nothing can then be mixed and matched. */
export function snapshotDocument(
  version: number,
  expires: number,
  targets: Uint8Array,
  targetsVersion: number,
): JsonObject {
  return {
    _type: 'snapshot',
    expires: timeText(expires),
    meta: { 'targets.json': metaOf(targets, targetsVersion) },
    spec_version: SPEC_VERSION,
    version,
  }
}

export function timestampDocument(
  version: number,
  expires: number,
  snapshot: Uint8Array,
  snapshotVersion: number,
): JsonObject {
  return {
    _type: 'timestamp',
    expires: timeText(expires),
    meta: { 'snapshot.json': metaOf(snapshot, snapshotVersion) },
    spec_version: SPEC_VERSION,
    version,
  }
}

function metaOf(bytes: Uint8Array, version: number): JsonObject {
  return { hashes: { sha256: sha256Hex(bytes) }, length: bytes.length, version }
}

/** Whole seconds, UTC: the only form that every client reads. */
export function timeText(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`
}

/** Text of a metadata file. */
export function fileBytes({ signed, signatures }: MetadataDocument): Uint8Array {
  const list = [...signatures].map(([keyid, sig]) => ({ keyid, sig }))
  return utf8(`${JSON.stringify({ signatures: list, signed }, null, 1)}\n`)
}

/**
 * Reads what a metadata file signs, and by whom, without believing any of it.
 * @throws AirsealError TUF_INVALID
 */
export function documentOf(json: JsonObject, what: string): MetadataDocument {
  const { signed, signatures } = json
  if (!isObject(signed) || !Array.isArray(signatures))
    throw new AirsealError('TUF_INVALID', `${what} is not a TUF metadata file`)
  const found = new Map<string, string>()
  for (const one of signatures) {
    if (!isObject(one) || typeof one['keyid'] !== 'string' || typeof one['sig'] !== 'string')
      throw new AirsealError('TUF_INVALID', `${what} has a malformed signature`)
    if (found.has(one['keyid']))
      throw new AirsealError('TUF_INVALID', `${what} has two signatures of one key`)
    found.set(one['keyid'], one['sig'])
  }
  return { signed, signatures: found }
}

/** Keys and thresholds of a root that was read. @throws AirsealError TUF_INVALID */
export function rolesOf(root: JsonObject): Roles {
  const { roles, keys } = root
  const role = (name: RoleName): RoleKeys => {
    const listed = isObject(roles) ? roles[name] : undefined
    if (!isObject(listed) || !isObject(keys) || !Array.isArray(listed['keyids']))
      throw new AirsealError('TUF_INVALID', `the root has no role ${name}`)
    return {
      keys: listed['keyids'].map((id) => keyRecord(keys, id)),
      threshold: Number(listed['threshold']),
    }
  }
  return {
    root: role('root'),
    targets: role('targets'),
    snapshot: role('snapshot'),
    timestamp: role('timestamp'),
  }
}

function keyRecord(keys: Readonly<Record<string, Json>>, id: Json): ListedKey {
  const record = typeof id === 'string' && Object.hasOwn(keys, id) ? keys[id] : undefined
  if (typeof id !== 'string' || !isObject(record))
    throw new AirsealError('TUF_INVALID', 'the root lists a key that it does not hold')
  return { id, record }
}
