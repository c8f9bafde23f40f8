import { AirsealError, sha256Hex, type JsonObject } from '../core/index.ts'
import { refresh } from './client.ts'
import {
  documentOf,
  rolesOf,
  rootDocument,
  snapshotDocument,
  targetsDocument,
  timestampDocument,
  type RoleName,
  type Roles,
} from './documents.ts'
import {
  currentOf,
  describeTargets,
  entriesOf,
  headOf,
  listsTargets,
  memoryStore,
  sourceOf,
  targetPath,
  targetsOf,
  type Current,
  type Files,
  type Head,
  type TargetFiles,
} from './files.ts'
import { metadataJson } from './metadata.ts'
import { signFor, type RoleSigner } from './signing.ts'

/** How long a file is good for once it is signed, milliseconds. */
export type Lifetimes = Readonly<Record<RoleName, number>>

/** Gives whoever can sign for a role now; they may be too few. */
export type SignersOf = (role: RoleName) => Promise<readonly RoleSigner[]>

interface Step {
  readonly lifetimes: Lifetimes
  /** Milliseconds since 1970. */
  readonly now: number
  readonly signers: SignersOf
}

export interface Advance extends Step {
  /** A new root, signed as it must be. Absent: the root stays. */
  readonly root?: Uint8Array
  /** New targets, signed elsewhere. Absent: they are signed here, where they differ or no longer verify. */
  readonly signedTargets?: Uint8Array
  /** What the targets must hold. Absent: what they hold. */
  readonly targets?: TargetFiles
  /** Roles whose files are signed anew whatever their age. */
  readonly renew?: readonly RoleName[]
}

/** Older targets and snapshots stay for clients that are in the middle of an update. */
const KEPT_VERSIONS = 4
const MINUTE = 60_000

/**
 * A new repository.
 * @throws AirsealError TUF_KEY_OFFLINE, KEY_UNSUPPORTED
 */
export async function createRepository(
  roles: Roles,
  targets: TargetFiles,
  step: Step,
): Promise<Files> {
  const { now, lifetimes, signers } = step
  const signed = rootDocument(1, now + lifetimes.root, roles)
  const root = await signFor('1.root.json', signed, roles.root, await signers('root'))
  const next = new Map([['1.root.json', root]])
  await complete(next, roles, null, targets, step)
  await requireAccepted(next, root, null, now)
  return next
}

/**
 * The repository one step later: with a new root, new targets, or renewed files. What is in front of what changed is signed anew, and our own
 * client must be able to follow.
 * @returns the very same files when there is nothing to do
 * @throws AirsealError TUF_KEY_OFFLINE when a key that is needed is not here, and whatever a client would say
 */
export async function advance(files: Files, step: Advance): Promise<Files> {
  const current = currentOf(files)
  const next = new Map(files)
  const root = step.root ?? (await renewedRoot(current, step))
  const rootName = `${current.root.version + 1}.root.json`
  if (root !== null) next.set(rootName, root)
  const roles = rolesOf(root === null ? current.root.signed : headOf(rootName, root).signed)
  const wanted = step.targets ?? targetsOf(files, current)
  const changed = await complete(next, roles, current, wanted, step)
  if (!changed && root === null) return files
  await requireAccepted(next, current.root.bytes, current, step.now)
  return pruned(next)
}

/** Newer versions must be higher whatever was forgotten: they follow the clock, so that a restored backup does not go back. */
function nextVersion(last: number, now: number): number {
  return Math.max(last + 1, Math.floor(now / MINUTE))
}

/** The next targets metadata, unsigned. */
export function nextTargets(
  current: Current | null,
  targets: TargetFiles,
  { now, lifetimes }: Pick<Step, 'now' | 'lifetimes'>,
): JsonObject {
  const version = nextVersion(current?.targets.version ?? 0, now)
  return targetsDocument(version, now + lifetimes.targets, describeTargets(targets))
}

/** Puts targets, snapshot and timestamp into `next`, as far as they must be made anew. @returns whether any was */
async function complete(
  next: Map<string, Uint8Array>,
  roles: Roles,
  current: Current | null,
  wanted: TargetFiles,
  step: Advance,
): Promise<boolean> {
  const { now, lifetimes, signers, renew = [] } = step
  const put = async (role: RoleName, name: string, signed: JsonObject): Promise<Head> => {
    const bytes = await signFor(name, signed, roles[role], await signers(role))
    next.set(name, bytes)
    return headOf(name, bytes)
  }
  const stands = (role: RoleName): Head | null =>
    current === null || renew.includes(role) || !isSignedFor(current[role], roles[role])
      ? null
      : current[role]

  let targets = stands('targets')
  if (step.signedTargets !== undefined) {
    targets = takenTargets(step.signedTargets, current, wanted)
    next.set(targets.name, targets.bytes)
  } else if (targets === null || !listsTargets(targets.signed, wanted)) {
    const version = nextVersion(current?.targets.version ?? 0, now)
    const signed = targetsDocument(version, now + lifetimes.targets, describeTargets(wanted))
    targets = await put('targets', `${version}.targets.json`, signed)
  }
  for (const [path, { bytes }] of wanted) next.set(targetPath(path, sha256Hex(bytes)), bytes)

  let snapshot = targets === current?.targets ? stands('snapshot') : null
  if (snapshot === null) {
    const version = nextVersion(current?.snapshot.version ?? 0, now)
    const expires = now + lifetimes.snapshot
    const signed = snapshotDocument(version, expires, targets.bytes, targets.version)
    snapshot = await put('snapshot', `${version}.snapshot.json`, signed)
  }

  if (snapshot === current?.snapshot && stands('timestamp') !== null)
    return targets !== current.targets
  const version = nextVersion(current?.timestamp.version ?? 0, now)
  const expires = now + lifetimes.timestamp
  const signed = timestampDocument(version, expires, snapshot.bytes, snapshot.version)
  await put('timestamp', 'timestamp.json', signed)
  return true
}

/** Targets that were signed elsewhere: newer than ours, and with what is to be published now. */
function takenTargets(bytes: Uint8Array, current: Current | null, wanted: TargetFiles): Head {
  const read = headOf('the new targets', bytes)
  const last = current?.targets.version ?? 0
  if (read.version <= last) {
    const message = `the new targets have version ${read.version}, ${last} is published already`
    throw new AirsealError('TUF_ROLLBACK', message)
  }
  if (!listsTargets(read.signed, wanted)) {
    const message = 'the new targets are not what this site publishes now: propose them anew'
    throw new AirsealError('TUF_MISMATCH', message)
  }
  return { ...read, name: `${read.version}.targets.json` }
}

async function renewedRoot({ root }: Current, step: Advance): Promise<Uint8Array | null> {
  if (step.renew?.includes('root') !== true) return null
  const roles = rolesOf(root.signed)
  const signed = rootDocument(root.version + 1, step.now + step.lifetimes.root, roles)
  const name = `${root.version + 1}.root.json`
  return signFor(name, signed, roles.root, await step.signers('root'))
}

/** What no client asks for any more goes away; roots stay for ever. */
function pruned(files: Files): Files {
  const kept = new Map(files)
  for (const pattern of [/^(\d+)\.targets\.json$/, /^(\d+)\.snapshot\.json$/]) {
    const names = [...files.keys()].filter((name) => pattern.test(name))
    names.sort((a, b) => Number.parseInt(b, 10) - Number.parseInt(a, 10))
    for (const name of names.slice(KEPT_VERSIONS)) kept.delete(name)
  }
  const used = new Set<string>()
  for (const [name, bytes] of kept) {
    if (!/^\d+\.targets\.json$/.test(name)) continue
    for (const [path, { sha256 }] of entriesOf(headOf(name, bytes).signed))
      used.add(targetPath(path, sha256))
  }
  for (const name of files.keys())
    if (name.startsWith('targets/') && !used.has(name)) kept.delete(name)
  return kept
}

/** Nothing is published that our own client, coming from the state before, would refuse. */
async function requireAccepted(
  files: Files,
  root: Uint8Array,
  before: Current | null,
  now: number,
): Promise<void> {
  const kept = new Map([['root', root]])
  if (before !== null) {
    kept.set('timestamp', before.timestamp.bytes)
    kept.set('snapshot', before.snapshot.bytes)
  }
  const client = await refresh({ source: sourceOf(files), store: memoryStore(kept), now })
  for (const path of entriesOf(currentOf(files).targets.signed).keys()) {
    const target = await client.find(path)
    if (target !== null) await client.download(target)
  }
}

/** True when enough keys of a role have put a signature into a file; whether it is right, the client says. */
function isSignedFor({ name, bytes }: Head, role: Roles[RoleName]): boolean {
  const { signatures } = documentOf(metadataJson(bytes, name), name)
  const able = role.keys.filter(({ id }) => (signatures.get(id) ?? '') !== '')
  return able.length >= role.threshold
}
