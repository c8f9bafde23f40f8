import { access } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { createKey, openSigner, type KeyOptions, type Signer } from '../../keys/index.ts'
import { AirsealError, type PublicKey } from '../core/index.ts'
import { listedKey, type ListedKey } from '../tuf/index.ts'
import type { KeyPlace } from './tuf-state.ts'

/** A key of the repository: what the root lists, and where it is. */
export interface PlacedKey {
  readonly listed: ListedKey
  readonly place: KeyPlace
}

/** Opens the keys of the repository where they are needed, and keeps open those that are needed daily. */
export interface TufKeys {
  /** Those of `places` that can be reached, among `ids`. A key file that is not there is offline, and left out. */
  open(places: readonly KeyPlace[], ids: readonly string[]): Promise<readonly Signer[]>
  /** True when the key could be opened: its file is there, or it is elsewhere. */
  isHere(place: KeyPlace): Promise<boolean>
  /** Makes a key file of that name in the data directory. One that is there, left by an attempt that was cut short, is used. */
  make(name: string): Promise<PlacedKey>
  /** Looks a key up that is elsewhere. */
  lookUp(uri: string): Promise<PlacedKey>
  close(): Promise<void>
}

export function tufKeys(root: string, passphrase: () => Promise<string>): TufKeys {
  const opened = new Map<string, Signer>()

  async function openAt(place: KeyPlace): Promise<Signer | null> {
    const known = opened.get(place.id)
    if (known !== undefined) return known
    const path = fileOf(root, place)
    if (path !== null && !(await exists(path))) return null
    const uri = path === null ? place.uri : `file:${path}`
    const options = path === null ? {} : { passphrase: await passphrase() }
    const signer = await openSigner(`tuf ${place.id.slice(0, 8)}`, uri, options)
    if (listedKey(signer.publicKey).id !== place.id) {
      await signer.close()
      throw new AirsealError('KEY_CHANGED', `${place.uri} holds another key than ${place.id}`)
    }
    opened.set(place.id, signer)
    return signer
  }

  return {
    open: async (places, ids) => {
      const found: Signer[] = []
      for (const place of places) {
        const signer = ids.includes(place.id) ? await openAt(place) : null
        if (signer !== null) found.push(signer)
      }
      return found
    },
    isHere: async (place) => {
      const path = fileOf(root, place)
      return path === null || exists(path)
    },
    make: async (name) => {
      const path = join('keys', `${name}.key`)
      const uri = `file:${join(root, path)}`
      const options = { passphrase: await passphrase() }
      const key = (await exists(join(root, path)))
        ? await publicKeyAt(uri, options)
        : await createKey(uri, 'ecdsa-p256', options)
      return placeOf(key, `file:${path}`)
    },
    lookUp: async (uri) => {
      const options = uri.startsWith('file:') ? { passphrase: await passphrase() } : {}
      return placeOf(await publicKeyAt(uri, options), uri)
    },
    close: async () => {
      for (const signer of opened.values()) await signer.close()
      opened.clear()
    },
  }
}

async function publicKeyAt(uri: string, options: KeyOptions): Promise<PublicKey> {
  const signer = await openSigner('tuf', uri, options)
  await signer.close()
  return signer.publicKey
}

function placeOf(key: PublicKey, uri: string): PlacedKey {
  const listed = listedKey(key)
  return { listed, place: { id: listed.id, uri } }
}

/** Path of a key file; null for a key elsewhere. */
function fileOf(root: string, { uri }: KeyPlace): string | null {
  if (!uri.startsWith('file:')) return null
  const path = uri.slice('file:'.length)
  return isAbsolute(path) ? path : join(root, path)
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
