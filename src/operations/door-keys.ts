import { AirsealError, toHex } from '../core/index.ts'
import { createRateLimit, type DoorKeys } from '../doors/index.ts'
import type { Keyring, RegisteredKey } from '../keyring/index.ts'

/** In the configuration of a door: the key that signs when none is named, whichever that is. No key can have this name. */
const DEFAULT = 'default'

/**
 * The keys of a site as one door may use them: those that its configuration names, each under its own policy, with a cap for each caller.
 * @param allowed - names of keys, or `default`
 * @param signsPerMinute - of each caller
 */
export function siteDoorKeys(
  keyring: Keyring,
  allowed: Iterable<string>,
  signsPerMinute: number,
): DoorKeys {
  const names = new Set(allowed)
  const limit = createRateLimit(signsPerMinute)

  function find(name: string): RegisteredKey | null {
    const { registry } = keyring
    if (!names.has(name)) return null
    if (name === DEFAULT) return registry.default()
    return registry.has(name) ? registry.get(name) : null
  }

  return {
    find(name) {
      const key = find(name)
      if (key === null) return Promise.resolve(null)
      const { publicKey, state, validFrom } = key
      const { hash } = publicKey.algorithm
      return Promise.resolve({ name: key.name, publicKey, hash, state, created: validFrom.time })
    },
    async signDigest(name, digest, { door, caller, keyId }) {
      // Under its own name: what `default` leads to may change between being looked at and being used.
      const key = [...names].map(find).find((one) => one?.name === name)
      if (key?.publicKey.id !== keyId) {
        throw new AirsealError('KEY_UNKNOWN', `the door no longer leads to key "${name}"`)
      }
      limit(caller)
      const use = {
        kind: 'digest',
        caller,
        repositories: null,
        annotations: null,
        predicateType: null,
        digest: `${key.publicKey.algorithm.hash ?? 'none'}:${toHex(digest)}`,
        exists: false,
      } as const
      const { signature } = await keyring.signWithKey(name, use, { digest }, { door })
      return signature
    },
  }
}
