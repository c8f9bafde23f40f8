import { randomBytes } from 'node:crypto'
import { access } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import {
  generateKeyFile,
  openFileSigner,
  openSigner,
  readPassphraseFile,
  type Signer,
} from '../../keys/index.ts'
import type { Config } from '../config.ts'
import { AirsealError, canonicalJson, isObject, parseJson, type PublicKey } from '../core/index.ts'
import { writeFileWhole, type DataDirectory } from '../data-directory.ts'

const NAME = 'trust-root'

/** The root key that this service reaches by itself: where it is, and which it is. */
export interface OnlineRoot {
  /** Name of its file in `keys/`, or the URI of the configuration. */
  readonly place: string
  /** SHA-256 of the SPKI, hex. */
  readonly keyId: string
}

export interface RootKeyParts {
  readonly directory: DataDirectory
  readonly config: Config['trust']
  readonly passphrase: () => Promise<string>
}

export interface FoundRoot {
  readonly root: OnlineRoot
  readonly publicKey: PublicKey
}

/** Opens the online root key. @throws AirsealError PASSPHRASE, KEY_INVALID, KEY_UNAVAILABLE, KEY_CHANGED… */
export async function openRoot(parts: RootKeyParts, root: OnlineRoot): Promise<Signer> {
  const signer = await openPlace(parts, root.place)
  if (signer.publicKey.id === root.keyId) return signer
  await signer.close()
  throw new AirsealError('KEY_CHANGED', `the trust root key in ${root.place} is another one`)
}

async function openPlace(parts: RootKeyParts, place: string): Promise<Signer> {
  if (!place.includes(':')) {
    const path = join(dirname(parts.directory.trustRootKey), place)
    return openFileSigner({ name: NAME, path, passphrase: await passphraseOf(parts) })
  }
  const passphrase = place.startsWith('file:') ? await passphraseOf(parts) : undefined
  return openSigner(NAME, place, passphrase === undefined ? {} : { passphrase })
}

/** The key of the configuration, or the one in the data directory, which is made where there is none. */
export async function firstRoot(parts: RootKeyParts): Promise<FoundRoot> {
  const { config, directory } = parts
  const file = basename(directory.trustRootKey)
  if (config.rootKey === null && !(await exists(directory.trustRootKey))) {
    return makeRoot(parts, file)
  }
  const place = config.rootKey ?? file
  return known(parts, place)
}

/**
 * Makes a root key in `keys/`. One of that name that is there already was made by a process that ended before the key came into use: it is
 * taken, since nobody knows it yet.
 */
export async function makeRoot(parts: RootKeyParts, place: string): Promise<FoundRoot> {
  const path = join(dirname(parts.directory.trustRootKey), place)
  if (await exists(path)) {
    return known(parts, place)
  }
  const { keyFile, publicKey } = await generateKeyFile(await passphraseOf(parts))
  await writeFileWhole(path, keyFile, 0o600)
  return { root: { place, keyId: publicKey.id }, publicKey }
}

async function known(parts: RootKeyParts, place: string): Promise<FoundRoot> {
  const signer = await openPlace(parts, place)
  await signer.close()
  const { publicKey } = signer
  return { root: { place, keyId: publicKey.id }, publicKey }
}

/** Where all other keys are elsewhere nobody has given a passphrase: then one is made, as `init` does. */
async function passphraseOf({ directory, passphrase }: RootKeyParts): Promise<string> {
  try {
    return await passphrase()
  } catch (thrown) {
    if (!(thrown instanceof AirsealError) || thrown.code !== 'PASSPHRASE') throw thrown
    if (await exists(directory.passphrase)) return readPassphraseFile(directory.passphrase)
    const keys = [directory.signingKey, directory.logKey, directory.trustRootKey]
    const found = await Promise.all(keys.map(exists))
    if (found.includes(true)) throw thrown
    const made = randomBytes(24).toString('base64url')
    await writeFileWhole(directory.passphrase, `${made}\n`, 0o600)
    return made
  }
}

/** Text of the document that remembers the online root. */
export function rootText(root: OnlineRoot | null): string {
  return canonicalJson(root && { place: root.place, keyId: root.keyId })
}

/** @throws AirsealError STORAGE */
export function parseRootText(text: string): OnlineRoot | null {
  const value = parseJson(text, { code: 'STORAGE', what: 'the stored place of the trust root' })
  if (value === null) return null
  const { place, keyId } = isObject(value) ? value : {}
  if (typeof place === 'string' && typeof keyId === 'string') return { place, keyId }
  throw new AirsealError('STORAGE', 'the stored place of the trust root is damaged')
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
