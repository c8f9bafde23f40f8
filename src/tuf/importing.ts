import { AirsealError } from '../core/index.ts'
import { refresh, type Client, type MetadataStore } from './client.ts'
import type { RootFile, SnapshotFile, TargetsFile } from './metadata.ts'
import {
  currentOf,
  memoryStore,
  newestRootVersion,
  ROOT_NAME,
  sourceOf,
  targetPath,
  type Files,
} from './files.ts'

/**
 * Follows the repository on a medium with our own client (never by copying), starting from what is trusted. Delegated roles are refused:
 * a mirror that left them out would not be one.
 * @param known - the files that were accepted before; the first time only a root
 * @param offered - the files on the medium
 * @param now - milliseconds since 1970
 * @returns every root that was ever accepted, and the newest of everything else
 * @throws AirsealError whatever the client says; `known` stays as it is
 */
export async function followRepository(known: Files, offered: Files, now: number): Promise<Files> {
  const files = new Map([...known].filter(([name]) => ROOT_NAME.test(name)))
  const accepted = acceptedFiles(known)
  const memory = memoryStore(accepted)
  const store: MetadataStore = {
    load: (role) => memory.load(role),
    save: (role, bytes) => {
      // Several roots may follow each other: each is kept, for clients that are further behind.
      if (role === 'root') files.set(`${newestRootVersion(files) + 1}.root.json`, bytes)
      return memory.save(role, bytes)
    },
  }
  const client = await refresh({ source: sourceOf(offered), store, now })
  const { root, snapshot, targets } = trustedFiles(client)
  if (targets.signed.delegations !== undefined || !root.signed.consistentSnapshot) {
    const why = 'it delegates to other roles or has no consistent snapshots'
    throw new AirsealError('TUF_INVALID', `the repository can't be mirrored: ${why}`)
  }
  const names = new Map([
    ['timestamp', 'timestamp.json'],
    ['snapshot', `${snapshot.signed.version}.snapshot.json`],
    ['targets', `${targets.signed.version}.targets.json`],
  ])
  for (const [role, name] of names) {
    const bytes = accepted.get(role)
    if (bytes !== undefined) files.set(name, bytes)
  }
  for (const path of Object.keys(targets.signed.targets)) {
    const target = await client.find(path)
    if (target === null) continue
    files.set(targetPath(path, sha256Of(path, target.hashes)), await client.download(target))
  }
  return files
}

/** By role. */
function acceptedFiles(known: Files): Map<string, Uint8Array> {
  if (!known.has('timestamp.json')) {
    const root = known.get(`${newestRootVersion(known)}.root.json`)
    return new Map(root === undefined ? [] : [['root', root]])
  }
  return new Map(Object.entries(currentOf(known)).map(([role, { bytes }]) => [role, bytes]))
}

function trustedFiles({ trusted }: Client): {
  root: RootFile
  snapshot: SnapshotFile
  targets: TargetsFile
} {
  const { root, snapshot } = trusted
  const targets = trusted.targets()
  if (snapshot === null || targets === null)
    throw new AirsealError('INTERNAL', 'a refreshed client has no snapshot or no targets')
  return { root, snapshot, targets }
}

function sha256Of(path: string, { sha256 }: Readonly<Record<string, string>>): string {
  if (sha256 !== undefined) return sha256
  throw new AirsealError('TUF_INVALID', `target ${path.slice(0, 80)} has no SHA-256`)
}
