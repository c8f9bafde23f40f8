import { generateKeyPairSync, sign } from 'node:crypto'
import { publicKeyFromSpki, sha256Hex, type JsonObject } from '../../src/core/index.ts'
import {
  fileBytes,
  listedKey,
  rootDocument,
  snapshotDocument,
  targetsDocument,
  timestampDocument,
  type RoleName,
  type Roles,
  type TargetEntry,
} from '../../src/tuf/documents.ts'
import { addSignatures, type RoleSigner } from '../../src/tuf/signing.ts'

export const DAY = 86_400_000
export const NOW = Date.parse('2026-11-24T12:00:00Z')

export function newSigner(): RoleSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return {
    publicKey: publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' })),
    sign: (message) => Promise.resolve(sign(null, message, privateKey)),
  }
}

/** Changes what is signed, before it is. */
type Edit = (signed: JsonObject) => JsonObject

/** A repository that publishes what it is told, right or wrong. */
export class Simulator {
  readonly files = new Map<string, Uint8Array>()
  readonly signers: Record<RoleName, RoleSigner[]> = {
    root: [newSigner()],
    targets: [newSigner()],
    snapshot: [newSigner()],
    timestamp: [newSigner()],
  }
  readonly thresholds: Record<RoleName, number> = { root: 1, targets: 1, snapshot: 1, timestamp: 1 }
  readonly versions: Record<RoleName, number> = { root: 0, targets: 0, snapshot: 0, timestamp: 0 }
  readonly expires: Record<RoleName, number> = {
    root: NOW + 400 * DAY,
    targets: NOW + 300 * DAY,
    snapshot: NOW + 200 * DAY,
    timestamp: NOW + 10 * DAY,
  }
  readonly targets = new Map<string, Uint8Array>([['a.txt', Buffer.from('first')]])

  /** The roles as the next root lists them. */
  roles(): Roles {
    const role = (name: RoleName): Roles[RoleName] => ({
      keys: this.signers[name].map(({ publicKey }) => listedKey(publicKey)),
      threshold: this.thresholds[name],
    })
    return {
      root: role('root'),
      targets: role('targets'),
      snapshot: role('snapshot'),
      timestamp: role('timestamp'),
    }
  }

  async root(edit: Edit = same, by: readonly RoleSigner[] = this.signers.root): Promise<void> {
    const version = ++this.versions.root
    const signed = edit(rootDocument(version, this.expires.root, this.roles()))
    this.files.set(`${version}.root.json`, await signedFile(signed, by))
  }

  async publishTargets(edit: Edit = same, by = this.signers.targets): Promise<void> {
    const version = ++this.versions.targets
    const entries = new Map<string, TargetEntry>()
    for (const [path, bytes] of this.targets) {
      const sha256 = sha256Hex(bytes)
      entries.set(path, { length: bytes.length, sha256, custom: null })
      const at = path.lastIndexOf('/') + 1
      this.files.set(`targets/${path.slice(0, at)}${sha256}.${path.slice(at)}`, bytes)
    }
    const signed = edit(targetsDocument(version, this.expires.targets, entries))
    this.files.set(`${version}.targets.json`, await signedFile(signed, by))
  }

  async snapshot(edit: Edit = same, by = this.signers.snapshot): Promise<void> {
    const version = ++this.versions.snapshot
    const { targets } = this.versions
    const bytes = this.files.get(`${targets}.targets.json`) ?? new Uint8Array()
    const signed = edit(snapshotDocument(version, this.expires.snapshot, bytes, targets))
    this.files.set(`${version}.snapshot.json`, await signedFile(signed, by))
  }

  async timestamp(edit: Edit = same, by = this.signers.timestamp): Promise<void> {
    const version = ++this.versions.timestamp
    const { snapshot } = this.versions
    const bytes = this.files.get(`${snapshot}.snapshot.json`) ?? new Uint8Array()
    const signed = edit(timestampDocument(version, this.expires.timestamp, bytes, snapshot))
    this.files.set('timestamp.json', await signedFile(signed, by))
  }

  /** Everything but the root, one version on. */
  async publish(): Promise<void> {
    await this.publishTargets()
    await this.snapshot()
    await this.timestamp()
  }

  firstRoot(): Uint8Array {
    return this.files.get('1.root.json') ?? new Uint8Array()
  }
}

export async function newRepository(): Promise<Simulator> {
  const repository = new Simulator()
  await repository.root()
  await repository.publish()
  return repository
}

export async function signedFile(
  signed: JsonObject,
  by: readonly RoleSigner[],
): Promise<Uint8Array> {
  return fileBytes(await addSignatures({ signed, signatures: new Map() }, by))
}

function same(signed: JsonObject): JsonObject {
  return signed
}
