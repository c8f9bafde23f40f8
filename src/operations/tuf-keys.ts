import { access } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { createFileSigners, openSigner, type KeyOptions, type Signer } from '../../keys/index.ts'
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
  /** Makes key files of these names in the data directory. What an attempt that was cut short has left is used. */
  make(names: readonly string[]): Promise<readonly PlacedKey[]>
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
    make: async (names) => {
      const given = await passphrase()
      const paths = names.map((name) => join('keys', `${name}.key`))
      const there = await Promise.all(paths.map((path) => exists(join(root, path))))
      const wanted = paths.filter((_, at) => there[at] !== true)
      const files = wanted.map((path) => ({ name: path, path: join(root, path) }))
      const signers = files.length === 0 ? [] : await createFileSigners(files, given)
      const placed = new Map<string, PlacedKey>()
      for (const [at, signer] of signers.entries()) {
        const one = placeOf(signer.publicKey, `file:${wanted[at] ?? ''}`)
        opened.set(one.place.id, signer)
        placed.set(wanted[at] ?? '', one)
      }
      return Promise.all(
        paths.map(async (path) => {
          const made = placed.get(path)
          if (made !== undefined) return made
          const key = await publicKeyAt(`file:${join(root, path)}`, { passphrase: given })
          return placeOf(key, `file:${path}`)
        }),
      )
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
