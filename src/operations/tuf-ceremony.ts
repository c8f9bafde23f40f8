import { AirsealError, toBase64, type Json, type JsonObject } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import {
  advance,
  currentOf,
  nextRoot,
  nextTargets,
  readProposal,
  rolesOf,
  signatureCount,
  signProposal,
  unsignedBytes,
  type ListedKey,
  type RoleChanges,
  type RoleName,
  type Roles,
} from '../tuf/index.ts'
import { TufBody } from './tuf-body.ts'
import type { SiteTuf } from './tuf-site.ts'
import type { TufState } from './tuf-state.ts'
import { tufStatus } from './tuf-status.ts'

/** A root or targets to be signed elsewhere. */
export async function propose(
  tuf: SiteTuf,
  state: TufState,
  role: 'root' | 'targets',
  now: number,
): Promise<JsonObject> {
  requireOwn(state)
  const current = currentOf(state.files)
  const roles = rolesOf(current.root.signed)
  const signers = tuf.signersOf(state, roles)
  const signed =
    role === 'root'
      ? nextRoot(current.root, {}, tuf.lifetimes, now)
      : nextTargets(current, tuf.wanted(), { lifetimes: tuf.lifetimes, now })
  const proposal = readProposal(unsignedBytes(signed), 'the proposal')
  const bytes = await signProposal(proposal, [roles[role]], await signers(role))
  return proposalJson(bytes, [roles[role]])
}

function proposalJson(bytes: Uint8Array, roles: readonly Roles[RoleName][]): JsonObject {
  const { role, version, document } = readProposal(bytes, 'the proposal')
  return {
    published: false,
    role,
    version,
    proposal: toBase64(bytes),
    signatures: roles.map((one) => ({
      have: signatureCount(document, one),
      need: one.threshold,
      keys: one.keys.map(({ id }) => id),
    })),
  }
}

/** New keys for a role, or for both that the online key signs. */
export async function rotate(tuf: SiteTuf, body: Json, caller: Caller): Promise<JsonObject> {
  const read = new TufBody(body, ['role', 'keys', 'threshold'])
  const role = read.choice('role', ['root', 'targets', 'online'])
  const given = read.keys('keys')
  const threshold = read.count('threshold', 1, 16) ?? 1
  let answer: JsonObject = {}
  const state = await tuf.change(
    caller,
    'tuf/rotate',
    async (state, now) => {
      if (state === null) return null
      requireOwn(state)
      const current = currentOf(state.files)
      const made =
        given.length > 0 ? [] : await tuf.keys.make([`tuf-${role}-${current.root.version + 1}`])
      const keys = [...given, ...made.map(({ listed }) => listed)]
      const places = [...state.keys, ...made.map(({ place }) => place)]
      const root = nextRoot(current.root, changesOf(role, keys, threshold), tuf.lifetimes, now)
      const old = rolesOf(current.root.signed)
      const roles = rolesOf(root)
      const signers = tuf.signersOf({ keys: places }, roles)
      const able = [
        ...(await tuf.signersOf({ keys: places }, old)('root')),
        ...(await signers('root')),
      ]
      const proposal = readProposal(unsignedBytes(root), 'the new root')
      const bytes = await signProposal(proposal, [old.root, roles.root], able)
      const isComplete = [old.root, roles.root].every(
        (one) => signatureCount(readProposal(bytes, 'the new root').document, one) >= one.threshold,
      )
      if (!isComplete) {
        // The keys that were made are remembered; the root waits for signatures.
        answer = proposalJson(bytes, [old.root, roles.root])
        return { ...state, keys: places, time: Math.max(state.time, now) }
      }
      const step = { root: bytes, lifetimes: tuf.lifetimes, now, signers }
      return { ...state, keys: places, time: now, files: await advance(state.files, step) }
    },
    { role },
  )
  return 'proposal' in answer
    ? answer
    : { published: true, ...(await tufStatus(tuf, state, state.time)) }
}

function changesOf(
  role: 'root' | 'targets' | 'online',
  keys: readonly ListedKey[],
  threshold: number,
): RoleChanges {
  const change = { keys, threshold }
  return role === 'online' ? { snapshot: change, timestamp: change } : { [role]: change }
}

/** A root or targets that were signed elsewhere. */
export async function publish(tuf: SiteTuf, body: Json, caller: Caller): Promise<JsonObject> {
  const bytes = new TufBody(body, ['file']).bytes('file')
  if (bytes === null) throw new AirsealError('REQUEST_INVALID', 'file is missing')
  const proposal = readProposal(bytes, 'the file')
  const state = await tuf.change(
    caller,
    'tuf/publish',
    async (state, now) => {
      if (state === null) return null
      requireOwn(state)
      const current = currentOf(state.files)
      const old = rolesOf(current.root.signed)
      const isRoot = proposal.role === 'root'
      const roles = isRoot ? rolesOf(proposal.document.signed) : old
      const signers = tuf.signersOf(state, roles)
      const concerned = isRoot ? [old.root, roles.root] : [old.targets]
      const able = [
        ...(await tuf.signersOf(state, old)(proposal.role)),
        ...(await signers(proposal.role)),
      ]
      const signed = await signProposal(proposal, concerned, able)
      const change = isRoot ? { root: signed } : { signedTargets: signed, targets: tuf.wanted() }
      const files = await advance(state.files, {
        ...change,
        lifetimes: tuf.lifetimes,
        now,
        signers,
      })
      return { ...state, time: now, files }
    },
    { role: proposal.role },
  )
  return { published: true, ...(await tufStatus(tuf, state, state.time)) }
}

function requireOwn({ origin }: TufState): void {
  if (origin === 'own') return
  throw new AirsealError(
    'TUF_KEY_OFFLINE',
    'this site mirrors a repository that another site signs',
  )
}
