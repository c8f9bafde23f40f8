import type { TargetFile } from '@tufjs/models'
import { createHash } from 'node:crypto'
import { AirsealError } from '../core/index.ts'
import { MAX_BYTES, type TargetsFile } from './metadata.ts'
import { TrustedSet } from './trusted-set.ts'

/** Where a repository is read from: a mirror, a medium. */
export interface RepositorySource {
  /** A metadata file, such as `2.root.json`; role names come as they are, not escaped. Null: there is none. @throws AirsealError TOO_LARGE above `maxBytes` */
  metadata(name: string, maxBytes: number): Promise<Uint8Array | null>
  /** A target under its path with the hash before the base name (`a/HASH.b`). Null: there is none. @throws AirsealError TOO_LARGE */
  target(path: string, maxBytes: number): Promise<Uint8Array | null>
}

/** What a client keeps from one update to the next: the bytes of each role, exactly as they came. */
export interface MetadataStore {
  load(role: string): Promise<Uint8Array | null>
  save(role: string, bytes: Uint8Array): Promise<void>
}

export interface ClientOptions {
  readonly source: RepositorySource
  /** Holds the trusted `root` before the first update. */
  readonly store: MetadataStore
  /** Milliseconds since 1970; fixed for the whole update (§5.1). */
  readonly now: number
}

/** A target as its metadata describes it. */
export interface FoundTarget {
  readonly path: string
  /** Bytes. */
  readonly length: number
  readonly hashes: Readonly<Record<string, string>>
}

export interface Client {
  /** The set of files that is believed now. */
  readonly trusted: TrustedSet
  /** Null: no trusted role names it. @throws AirsealError */
  find(path: string): Promise<FoundTarget | null>
  /** Its bytes, with the length and all hashes that the metadata gives. @throws AirsealError TUF_MISSING, TUF_MISMATCH, TOO_LARGE */
  download(target: FoundTarget): Promise<Uint8Array>
  /** True for the target's very bytes, so that they need not be fetched again. @throws AirsealError TUF_INVALID */
  matches(target: FoundTarget, bytes: Uint8Array): boolean
}

/** Newer roots that one update follows. */
const MAX_ROOTS = 256
const MAX_ROLES = 32
const MAX_TARGET_BYTES = 64 * 1024 * 1024
/** Hash functions that are computed; a target must have one, and must fit all that it has. */
const HASHES: readonly string[] = ['sha256', 'sha512']

/**
 * Updates by the TUF client workflow (specification 1.0.34 §5). What was accepted is kept at once; the step that fails leaves everything
 * after it as it was.
 * @throws AirsealError TUF_INVALID, TUF_SIGNATURES, TUF_ROLLBACK, TUF_MISMATCH, TUF_EXPIRED, TUF_MISSING, TOO_LARGE
 */
export async function refresh(options: ClientOptions): Promise<Client> {
  const { source, store, now } = options
  const root = await store.load('root')
  if (root === null) throw new AirsealError('TUF_MISSING', 'there is no trusted root to start from')
  const trusted = new TrustedSet(root, now)
  await updateRoot(trusted, source, store)
  await updateTimestamp(trusted, source, store)
  await updateSnapshot(trusted, source, store)
  await updateTargets(trusted, source, store, 'targets', null, 'root')
  return {
    trusted,
    find: (path) => find(trusted, source, store, path),
    download: (target) => download(trusted, source, target),
    matches,
  }
}

/** §5.3: update the root role. */
async function updateRoot(
  trusted: TrustedSet,
  source: RepositorySource,
  store: MetadataStore,
): Promise<void> {
  for (let count = 0; ; count++) {
    // §5.3.3: try to fetch version N+1; when there is none, the newest is reached.
    const bytes = await source.metadata(
      `${trusted.root.signed.version + 1}.root.json`,
      MAX_BYTES.root,
    )
    if (bytes === null) break
    if (count === MAX_ROOTS)
      throw new AirsealError('TOO_LARGE', `more than ${MAX_ROOTS} newer roots`)
    trusted.updateRoot(bytes)
    // §5.3.8: persist.
    await store.save('root', bytes)
  }
  trusted.checkRoot()
  // §5.3.11: where keys of timestamp or snapshot were rotated, what is kept no longer verifies with the new root, and is left out below.
}

/** §5.4: update the timestamp role. */
async function updateTimestamp(
  trusted: TrustedSet,
  source: RepositorySource,
  store: MetadataStore,
): Promise<void> {
  const kept = await store.load('timestamp')
  if (kept !== null) unlessRefused(() => trusted.updateTimestamp(kept))
  // §5.4.1: fetch it.
  const bytes = await need(source.metadata('timestamp.json', MAX_BYTES.timestamp), 'timestamp.json')
  // §5.4.5: persist; a file of the same version is discarded.
  if (trusted.updateTimestamp(bytes)) await store.save('timestamp', bytes)
  else trusted.checkTimestamp()
}

/** §5.5: update the snapshot role. */
async function updateSnapshot(
  trusted: TrustedSet,
  source: RepositorySource,
  store: MetadataStore,
): Promise<void> {
  const kept = await store.load('snapshot')
  const isCurrent =
    kept !== null && unlessRefused(() => trusted.updateSnapshot(kept, true)) !== null
  if (isCurrent) return
  const { version, length } = trusted.timestamp?.signed.snapshotMeta ?? { version: 0 }
  const name = versioned(trusted, 'snapshot', version)
  // §5.5.1: fetch as many bytes as the timestamp says.
  const bytes = await need(source.metadata(name, length ?? MAX_BYTES.snapshot), name)
  trusted.updateSnapshot(bytes, false)
  // §5.5.7: persist.
  await store.save('snapshot', bytes)
}

/** §5.6: update the targets role, or one that it delegates to. */
async function updateTargets(
  trusted: TrustedSet,
  source: RepositorySource,
  store: MetadataStore,
  role: string,
  delegator: TargetsFile | null,
  delegatorName: string,
): Promise<TargetsFile> {
  const known = trusted.targets(role, delegatorName)
  if (known !== null) return known
  const meta = trusted.listed(role)
  const kept = await store.load(role)
  let file =
    kept === null ? null : unlessRefused(() => trusted.updateTargets(kept, role, delegator))
  if (file === null) {
    const name = versioned(trusted, role, meta.version)
    // §5.6.1: fetch as many bytes as the snapshot says.
    const bytes = await need(source.metadata(name, meta.length ?? MAX_BYTES.targets), name)
    file = trusted.updateTargets(bytes, role, delegator)
    // §5.6.6: persist.
    await store.save(role, bytes)
  }
  trusted.trustTargets(role, delegatorName, file)
  return file
}

interface Visit {
  readonly role: string
  readonly delegator: TargetsFile | null
  readonly delegatorName: string
}

/** §5.6.7: pre-order depth-first search of the delegations. */
async function find(
  trusted: TrustedSet,
  source: RepositorySource,
  store: MetadataStore,
  path: string,
): Promise<FoundTarget | null> {
  const visited = new Set<string>()
  let waiting: Visit[] = [{ role: 'targets', delegator: null, delegatorName: 'root' }]
  for (let visit = waiting.pop(); visit !== undefined; visit = waiting.pop()) {
    const { role, delegator, delegatorName } = visit
    // §5.6.7.1: a role is visited once, and so many at most.
    if (visited.has(role)) continue
    if (visited.size === MAX_ROLES)
      throw new AirsealError('TOO_LARGE', `more than ${MAX_ROLES} roles could name a target`)
    const file = await updateTargets(trusted, source, store, role, delegator, delegatorName)
    visited.add(role)
    const { targets, delegations } = file.signed
    const target = Object.hasOwn(targets, path) ? targets[path] : undefined
    if (target !== undefined) return described(target)
    const next: Visit[] = []
    for (const { role: name, terminating } of delegations?.rolesForTarget(path) ?? []) {
      next.push({ role: name, delegator: file, delegatorName: role })
      // §5.6.7.2.1: a terminating delegation ends the search outside of it.
      if (terminating) {
        waiting = []
        break
      }
    }
    waiting.push(...next.reverse())
  }
  return null
}

function described({ path, length, hashes }: TargetFile): FoundTarget {
  return { path, length, hashes }
}

/** §5.7: fetch a target. */
async function download(
  trusted: TrustedSet,
  source: RepositorySource,
  target: FoundTarget,
): Promise<Uint8Array> {
  const what = `target ${target.path.slice(0, 120)}`
  if (target.length > MAX_TARGET_BYTES) {
    const message = `${what} has ${target.length} bytes, ${MAX_TARGET_BYTES} are read`
    throw new AirsealError('TOO_LARGE', message)
  }
  const bytes = await need(source.target(hashedPath(trusted, target), target.length), what)
  if (!matches(target, bytes)) {
    const message = `${what} has not the length and hashes that were promised`
    throw new AirsealError('TUF_MISMATCH', message)
  }
  return bytes
}

/** §5.7.1, with all hashes that are given, each of a kind that is computed here. */
function matches({ path, length, hashes }: FoundTarget, bytes: Uint8Array): boolean {
  const given = Object.entries(hashes)
  if (given.length === 0 || given.some(([name]) => !HASHES.includes(name))) {
    const message = `target ${path.slice(0, 120)} has a hash that is neither SHA-256 nor SHA-512`
    throw new AirsealError('TUF_INVALID', message)
  }
  return (
    bytes.length === length &&
    given.every(([name, hex]) => createHash(name).update(bytes).digest('hex') === hex)
  )
}

/** `a/b` becomes `a/HASH.b` where the repository has consistent snapshots. */
function hashedPath(trusted: TrustedSet, { path, hashes }: FoundTarget): string {
  if (!trusted.root.signed.consistentSnapshot) return path
  const at = path.lastIndexOf('/') + 1
  return `${path.slice(0, at)}${hashes['sha256'] ?? hashes['sha512'] ?? ''}.${path.slice(at)}`
}

function versioned(trusted: TrustedSet, role: string, version: number): string {
  return trusted.root.signed.consistentSnapshot ? `${version}.${role}.json` : `${role}.json`
}

async function need(fetched: Promise<Uint8Array | null>, what: string): Promise<Uint8Array> {
  const bytes = await fetched
  if (bytes === null) throw new AirsealError('TUF_MISSING', `${what} is not in the repository`)
  return bytes
}

/** What is kept may be outdated; then it only guards against rollbacks. @returns null when it was refused */
function unlessRefused<Result>(work: () => Result): Result | null {
  try {
    return work()
  } catch (error) {
    if (error instanceof AirsealError && error.code !== 'INTERNAL') return null
    throw error
  }
}
