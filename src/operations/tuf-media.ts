import { AirsealError, sha256Hex, toBase64, type Json, type JsonObject } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import {
  advance,
  currentOf,
  followRepository,
  readProposal,
  ROOT_NAME,
  rolesOf,
  type Files,
} from '../tuf/index.ts'
import { TufBody } from './tuf-body.ts'
import { clockFault } from './tuf-health.ts'
import type { SiteTuf } from './tuf-site.ts'
import { versionsOf } from './tuf-state.ts'
import { tufStatus } from './tuf-status.ts'

const DAY = 86_400_000

/** All files, with a timestamp that lasts as long as the medium may travel. */
export async function exportRepository(
  tuf: SiteTuf,
  body: Json,
  caller: Caller,
  exportDays: number,
): Promise<JsonObject> {
  const days = new TufBody(body, ['validDays']).count('validDays', 1, 3650) ?? exportDays
  const medium: Files[] = []
  const state = await tuf.change(
    caller,
    'tuf/export',
    async (state, now) => {
      if (state === null || state.origin === 'mirror') return state
      const current = currentOf(state.files)
      const signers = tuf.signersOf(state, rolesOf(current.root.signed))
      const lifetimes = { ...tuf.lifetimes, timestamp: days * DAY }
      const renew = ['timestamp'] as const
      const exported = await advance(state.files, { lifetimes, now, signers, renew })
      // What is served goes one version further: a client that has seen the medium must be able to follow the service again.
      const files = await advance(exported, { lifetimes: tuf.lifetimes, now, signers, renew })
      medium.push(exported)
      return { ...state, time: Math.max(state.time, now), files }
    },
    { validDays: days },
  )
  const [files = state.files] = medium
  const { root } = currentOf(files)
  return {
    versions: versionsOf(files),
    files: Object.fromEntries(
      [...files, ['root.json', root.bytes] as const].map(([name, bytes]) => [
        name,
        toBase64(bytes),
      ]),
    ),
  }
}

/** The repository of another site from a medium. */
export async function importRepository(
  tuf: SiteTuf,
  body: Json,
  caller: Caller,
): Promise<JsonObject> {
  const read = new TufBody(body, ['files', 'root', 'rootSha256', 'clockIsRight'])
  const offered = read.files('files')
  const root = read.bytes('root')
  const expected = read.text('rootSha256')
  if (root !== null && expected !== null && sha256Hex(root) !== expected.toLowerCase()) {
    const message = `the root has SHA-256 ${sha256Hex(root)}, not ${expected}`
    throw new AirsealError('TUF_MISMATCH', message)
  }
  const state = await tuf.change(caller, 'tuf/import', async (state, now) => {
    if (state?.origin === 'own') {
      const message = 'this site signs a repository of its own; a mirror is another site'
      throw new AirsealError('TUF_PRESENT', message)
    }
    if (state === null && root === null) {
      const message = 'the first import needs the root that is trusted, got on another way (--root)'
      throw new AirsealError('TUF_ABSENT', message)
    }
    const fault = state === null ? null : clockFault(now, state.time)
    if (fault !== null && !read.flag('clockIsRight')) throw new AirsealError('TUF_CLOCK', fault)
    const known = state?.files ?? firstRoot(root ?? new Uint8Array())
    const files = await followRepository(known, offered, now)
    if (state !== null && sameFiles(state.files, files)) return state
    return { origin: 'mirror', time: Math.max(now, state?.time ?? 0), keys: [], files }
  })
  return tufStatus(tuf, state, state.time)
}

function firstRoot(bytes: Uint8Array): Files {
  const { role, version } = readProposal(bytes, 'the root')
  const name = `${version}.root.json`
  if (role !== 'root' || !ROOT_NAME.test(name))
    throw new AirsealError('TUF_INVALID', 'the root is not a root.json')
  return new Map([[name, bytes]])
}

function sameFiles(a: Files, b: Files): boolean {
  return (
    a.size === b.size &&
    [...a].every(([name, bytes]) => {
      const other = b.get(name)
      return other !== undefined && Buffer.compare(bytes, other) === 0
    })
  )
}
