import { AirsealError, toHex, type JsonObject, type PublicKey } from '../core/index.ts'
import {
  canonicalBytes,
  fileBytes,
  listedKey,
  type MetadataDocument,
  type RoleKeys,
} from './documents.ts'

/** Whoever can sign for a role. */
export interface RoleSigner {
  readonly publicKey: PublicKey
  /** ECDSA in DER, Ed25519 pure; verified by the signer itself. */
  sign(message: Uint8Array): Promise<Uint8Array>
}

/** Adds the signatures of `signers` to a file; one that is there already is replaced. */
export async function addSignatures(
  { signed, signatures }: MetadataDocument,
  signers: readonly RoleSigner[],
): Promise<MetadataDocument> {
  const bytes = canonicalBytes(signed)
  const added = new Map(signatures)
  for (const signer of signers)
    added.set(listedKey(signer.publicKey).id, toHex(await signer.sign(bytes)))
  return { signed, signatures: added }
}

/**
 * A file signed for a role by those of `signers` that the role lists.
 * @throws AirsealError TUF_KEY_OFFLINE when they are fewer than the role needs
 */
export async function signFor(
  what: string,
  signed: JsonObject,
  role: RoleKeys,
  signers: readonly RoleSigner[],
): Promise<Uint8Array> {
  const able = signers.filter(({ publicKey }) => isListed(role, publicKey))
  if (able.length < role.threshold) {
    throw new AirsealError(
      'TUF_KEY_OFFLINE',
      `${what} needs ${role.threshold} signatures, and ${able.length} of its keys are here`,
    )
  }
  return fileBytes(await addSignatures({ signed, signatures: new Map() }, able))
}

export function isListed(role: RoleKeys, publicKey: PublicKey): boolean {
  const { name } = publicKey.algorithm
  if (name !== 'ecdsa-p256' && name !== 'ed25519') return false
  const { id } = listedKey(publicKey)
  return role.keys.some((key) => key.id === id)
}
