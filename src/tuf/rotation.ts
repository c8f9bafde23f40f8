import { AirsealError, type JsonObject } from '../core/index.ts'
import {
  documentOf,
  rolesOf,
  rootDocument,
  fileBytes,
  type ListedKey,
  type MetadataDocument,
  type RoleName,
  type Roles,
} from './documents.ts'
import { metadataJson } from './metadata.ts'
import type { Head } from './files.ts'
import type { Lifetimes } from './repository.ts'
import { addSignatures, isListed, type RoleSigner } from './signing.ts'

/** What a new root changes; roles that are absent keep their keys. */
export type RoleChanges = Readonly<
  Partial<Record<RoleName, { readonly keys: readonly ListedKey[]; readonly threshold: number }>>
>

/**
 * The root after `root`, unsigned: the next version, a new expiry, and other keys for some roles.
 * @throws AirsealError REQUEST_INVALID for a role without keys, with a key twice, or with a threshold that they can't reach
 */
export function nextRoot(
  root: Head,
  changes: RoleChanges,
  lifetimes: Lifetimes,
  now: number,
): JsonObject {
  const roles: Roles = { ...rolesOf(root.signed), ...changes }
  for (const [name, { keys, threshold }] of Object.entries(roles)) {
    const distinct = new Set(keys.map(({ id }) => id)).size
    if (distinct !== keys.length)
      throw new AirsealError('REQUEST_INVALID', `role ${name}: a key is given twice`)
    if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > distinct) {
      const message = `role ${name}: ${threshold} of ${distinct} keys can't be reached`
      throw new AirsealError('REQUEST_INVALID', message)
    }
  }
  return rootDocument(root.version + 1, now + lifetimes.root, roles)
}

/** A file that nobody has signed yet. */
export function unsignedBytes(signed: JsonObject): Uint8Array {
  return fileBytes({ signed, signatures: new Map() })
}

/** A metadata file that waits for signatures. */
export interface Proposal {
  readonly role: 'root' | 'targets'
  readonly version: number
  readonly document: MetadataDocument
}

/**
 * Reads a file that `propose` wrote, signed or not.
 * @throws AirsealError TUF_INVALID, also for a file of another role: those are signed by the service alone
 */
export function readProposal(bytes: Uint8Array, what: string): Proposal {
  const document = documentOf(metadataJson(bytes, what), what)
  const role = document.signed['_type']
  const version = document.signed['version']
  if ((role !== 'root' && role !== 'targets') || typeof version !== 'number')
    throw new AirsealError('TUF_INVALID', `${what} is neither a root nor targets`)
  return { role, version, document }
}

/** The file with the signatures of those of `signers` whose keys `roles` list. */
export async function signProposal(
  { document }: Pick<Proposal, 'document'>,
  roles: readonly Roles[keyof Roles][],
  signers: readonly RoleSigner[],
): Promise<Uint8Array> {
  const able = signers.filter(({ publicKey }) => roles.some((role) => isListed(role, publicKey)))
  return fileBytes(await addSignatures(document, able))
}

/** The file with one more signature, of whatever key: who holds a key for a root to come can't be listed yet. */
export async function signAny(
  { document }: Pick<Proposal, 'document'>,
  signer: RoleSigner,
): Promise<Uint8Array> {
  return fileBytes(await addSignatures(document, [signer]))
}

/** How many of a role's keys have put a signature into a file, right or wrong. */
export function signatureCount({ signatures }: MetadataDocument, role: Roles[keyof Roles]): number {
  return role.keys.filter(({ id }) => (signatures.get(id) ?? '') !== '').length
}
