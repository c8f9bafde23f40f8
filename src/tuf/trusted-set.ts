import { AirsealError } from '../core/index.ts'
import {
  expiryOf,
  readRoot,
  readSnapshot,
  readTargets,
  readTimestamp,
  type RootFile,
  type SnapshotFile,
  type TargetsFile,
  type TimestampFile,
} from './metadata.ts'
import { requireThreshold, type Signers } from './threshold.ts'

/**
 * What one update of a TUF client believes so far, and the checks of each step (TUF specification 1.0.34 §5). Pure: bytes and time come in.
 * Files must be given in the order root, timestamp, snapshot, targets, delegated roles.
 */
export class TrustedSet {
  readonly #now: number
  #root: RootFile
  #timestamp: TimestampFile | null = null
  #snapshot: SnapshotFile | null = null
  /** By delegator and role: who was believed by one delegator is not by another. */
  readonly #targets = new Map<string, TargetsFile>()

  /**
   * @param root - the trusted root; it may have expired, since newer ones may follow
   * @param now - start of the update, milliseconds since 1970 (§5.1)
   * @throws AirsealError TUF_INVALID, TUF_SIGNATURES
   */
  constructor(root: Uint8Array, now: number) {
    this.#now = now
    // §5.2: load the trusted root metadata.
    this.#root = readRoot(root, 'the trusted root')
    requireRole('the trusted root', this.#root, 'root', this.#root)
  }

  get root(): RootFile {
    return this.#root
  }

  get timestamp(): TimestampFile | null {
    return this.#timestamp
  }

  get snapshot(): SnapshotFile | null {
    return this.#snapshot
  }

  targets(role = 'targets', delegator = 'root'): TargetsFile | null {
    return this.#targets.get(keyOf(role, delegator)) ?? null
  }

  /** @throws AirsealError TUF_INVALID, TUF_SIGNATURES, TUF_ROLLBACK */
  updateRoot(bytes: Uint8Array): void {
    const expected = this.#root.signed.version + 1
    const what = `${expected}.root.json`
    const next = readRoot(bytes, what)
    // §5.3.4: check for an arbitrary software attack: both the old and the new keys must have signed.
    requireRole(what, this.#root, 'root', next)
    requireRole(what, next, 'root', next)
    // §5.3.5: check for a rollback attack.
    if (next.signed.version !== expected) {
      throw new AirsealError('TUF_ROLLBACK', `${what} holds version ${next.signed.version}`)
    }
    // §5.3.6: the expiration of an intermediate root does not matter. §5.3.7: it is trusted from now on.
    this.#root = next
  }

  /** §5.3.10: check for a freeze attack, after the newest root was taken. @throws AirsealError TUF_EXPIRED */
  checkRoot(): void {
    this.#requireFresh(`root.json of version ${this.#root.signed.version}`, this.#root)
  }

  /**
   * @returns false when the version is the one that is trusted already: the file must then not be kept
   * @throws AirsealError TUF_INVALID, TUF_SIGNATURES, TUF_ROLLBACK, TUF_EXPIRED
   */
  updateTimestamp(bytes: Uint8Array): boolean {
    this.checkRoot()
    const next = readTimestamp(bytes, 'timestamp.json')
    // §5.4.2: check for an arbitrary software attack.
    requireRole('timestamp.json', this.#root, 'timestamp', next)
    if (this.#timestamp !== null) {
      const { version, snapshotMeta } = this.#timestamp.signed
      // §5.4.3.1: check for a rollback attack.
      requireNotLower('timestamp.json', version, next.signed.version)
      if (next.signed.version === version) return false
      // §5.4.3.2: nor may the snapshot go back.
      requireNotLower('the snapshot', snapshotMeta.version, next.signed.snapshotMeta.version)
    }
    // Taken before its age is looked at: an expired one that is kept still guards against a rollback.
    this.#timestamp = next
    this.checkTimestamp()
    return true
  }

  /** §5.4.4: check for a freeze attack. @throws AirsealError TUF_EXPIRED */
  checkTimestamp(): void {
    this.#requireFresh('timestamp.json', need(this.#timestamp, 'timestamp'))
  }

  /**
   * @param isKept - it comes from the client's own store, where it was checked against an earlier timestamp
   * @throws AirsealError TUF_INVALID, TUF_MISMATCH, TUF_SIGNATURES, TUF_ROLLBACK, TUF_EXPIRED
   */
  updateSnapshot(bytes: Uint8Array, isKept: boolean): void {
    this.checkTimestamp()
    const { snapshotMeta } = need(this.#timestamp, 'timestamp').signed
    // §5.5.2: check against the timestamp's hashes.
    if (!isKept) requireSame('snapshot.json', () => snapshotMeta.verify(Buffer.from(bytes)))
    const next = readSnapshot(bytes, 'snapshot.json')
    // §5.5.3: check for an arbitrary software attack.
    requireRole('snapshot.json', this.#root, 'snapshot', next)
    // §5.5.5: check for a rollback attack; no file may go back or vanish.
    for (const [name, { version }] of Object.entries(this.#snapshot?.signed.meta ?? {})) {
      const listed = Object.hasOwn(next.signed.meta, name) ? next.signed.meta[name] : undefined
      if (listed === undefined)
        throw new AirsealError('TUF_ROLLBACK', `snapshot.json no longer lists ${shortened(name)}`)
      requireNotLower(shortened(name), version, listed.version)
    }
    this.#snapshot = next
    this.checkSnapshot()
  }

  /** @throws AirsealError TUF_MISMATCH, TUF_EXPIRED */
  checkSnapshot(): void {
    const snapshot = need(this.#snapshot, 'snapshot')
    const { version } = need(this.#timestamp, 'timestamp').signed.snapshotMeta
    // §5.5.4: check against the timestamp's snapshot version: mix-and-match.
    if (snapshot.signed.version !== version) {
      throw new AirsealError(
        'TUF_MISMATCH',
        `snapshot.json has version ${snapshot.signed.version}, timestamp.json names ${version}`,
      )
    }
    // §5.5.6: check for a freeze attack.
    this.#requireFresh('snapshot.json', snapshot)
  }

  /**
   * @param delegator - `root` for the role `targets`
   * @throws AirsealError TUF_INVALID, TUF_MISMATCH, TUF_SIGNATURES, TUF_EXPIRED, TUF_MISSING
   */
  updateTargets(bytes: Uint8Array, role: string, delegator: TargetsFile | null): TargetsFile {
    this.checkSnapshot()
    const what = shortened(`${role}.json`)
    const meta = this.listed(role)
    // §5.6.2: check against the snapshot's hashes.
    requireSame(what, () => meta.verify(Buffer.from(bytes)))
    const next = readTargets(bytes, what)
    // §5.6.3: check for an arbitrary software attack.
    if (delegator === null) requireRole(what, this.#root, role, next)
    else requireDelegated(what, delegator, role, next)
    // §5.6.4: check against the snapshot's version.
    if (next.signed.version !== meta.version) {
      throw new AirsealError(
        'TUF_MISMATCH',
        `${what} has version ${next.signed.version}, snapshot.json names ${meta.version}`,
      )
    }
    // §5.6.5: check for a freeze attack.
    this.#requireFresh(what, next)
    return next
  }

  /** Keeps a file that {@link updateTargets} has accepted. */
  trustTargets(role: string, delegator: string, file: TargetsFile): void {
    this.#targets.set(keyOf(role, delegator), file)
  }

  /** What the snapshot says of a role's file. @throws AirsealError TUF_MISSING */
  listed(role: string): SnapshotFile['signed']['meta'][string] {
    const { meta } = need(this.#snapshot, 'snapshot').signed
    const name = `${role}.json`
    const found = Object.hasOwn(meta, name) ? meta[name] : undefined
    if (found === undefined)
      throw new AirsealError('TUF_MISSING', `snapshot.json does not list ${shortened(name)}`)
    return found
  }

  #requireFresh(what: string, file: RootFile | TimestampFile | SnapshotFile | TargetsFile): void {
    if (this.#now < expiryOf(file)) return
    throw new AirsealError(
      'TUF_EXPIRED',
      `${what} expired at ${file.signed.expires}; the clock of this machine says ${new Date(this.#now).toISOString()}`,
    )
  }
}

function keyOf(role: string, delegator: string): string {
  return `${delegator}\n${role}`
}

function shortened(name: string): string {
  return name.slice(0, 120)
}

/** The steps are called in order by this folder; another order is a defect. */
function need<File>(file: File | null, what: string): File {
  if (file === null) throw new AirsealError('INTERNAL', `the ${what} was not loaded yet`)
  return file
}

function requireNotLower(what: string, trusted: number, offered: number): void {
  if (offered >= trusted) return
  throw new AirsealError(
    'TUF_ROLLBACK',
    `${what} has version ${offered}, version ${trusted} is trusted already`,
  )
}

function requireSame(what: string, verify: () => void): void {
  try {
    verify()
  } catch (cause) {
    throw new AirsealError(
      'TUF_MISMATCH',
      `${what} has not the length and hashes that were promised`,
      { cause },
    )
  }
}

function requireRole(
  what: string,
  root: RootFile,
  role: string,
  file: RootFile | TimestampFile | SnapshotFile | TargetsFile,
): void {
  const { roles, keys } = root.signed
  const signers: Signers | undefined = Object.hasOwn(roles, role) ? roles[role] : undefined
  if (signers === undefined)
    throw new AirsealError('TUF_INVALID', `the root has no role ${shortened(role)}`)
  requireThreshold(what, signers, keys, file)
}

function requireDelegated(
  what: string,
  delegator: TargetsFile,
  role: string,
  file: TargetsFile,
): void {
  const { delegations } = delegator.signed
  const roles = delegations?.roles
  const succinct = delegations?.succinctRoles
  const named = roles !== undefined && Object.hasOwn(roles, role) ? roles[role] : undefined
  const signers: Signers | undefined =
    named ?? (roles === undefined && succinct?.isDelegatedRole(role) ? succinct : undefined)
  if (delegations === undefined || signers === undefined)
    throw new AirsealError('TUF_INVALID', `nothing is delegated to ${shortened(role)}`)
  requireThreshold(what, signers, delegations.keys, file)
}
