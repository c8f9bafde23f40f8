import {
  AirsealError,
  fromBase64,
  isObject,
  toBase64,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { DoorKey, DoorKeys } from '../doors/index.ts'
import { siteDoorKeys } from './door-keys.ts'
import type { Operations } from './operation.ts'
import { callerName, type SiteParts } from './site-parts.ts'

/** What the plugin of Sigstore's clients asks for: `door/key` and `door/sign`. */
export function doorOperations(site: SiteParts): Operations {
  const { plugin } = site.config.doors
  const keys = plugin && siteDoorKeys(site.keyring, plugin.keys, plugin.signsPerMinute)
  return {
    'door/key': {
      permission: 'trust:read',
      async run(body) {
        const { name, publicKey, hash, state } = await keyOf(opened(keys), body, ['key'])
        if (state !== 'active' && state !== 'verify-only') {
          throw new AirsealError('KEY_UNAVAILABLE', `key "${name}" is ${state}`)
        }
        const algorithm = publicKey.algorithm.name
        return { name, publicKeyPem: publicKey.pem, algorithm, hash, state }
      },
    },
    'door/sign': {
      permission: 'sign',
      async run(body, caller) {
        const door = opened(keys)
        const { name, hash, publicKey } = await keyOf(door, body, [
          'key',
          'hash',
          'digest',
          'keyId',
        ])
        const members = body as JsonObject
        if (members['hash'] !== hash) {
          throw new AirsealError(
            'KEY_UNSUPPORTED',
            `key "${name}" signs ${hash === null ? 'no digests' : `digests by ${hash}`}`,
          )
        }
        const digest = fromBase64(textOf(members, 'digest'), 'digest', 'REQUEST_INVALID')
        // What the client was shown, when it says so; else what the name leads to now.
        const keyId = members['keyId'] === undefined ? publicKey.id : textOf(members, 'keyId')
        const use = { door: 'plugin', caller: callerName(caller), keyId } as const
        return { signature: toBase64(await door.signDigest(name, digest, use)) }
      },
    },
  }
}

function opened(keys: DoorKeys | null): DoorKeys {
  if (keys !== null) return keys
  throw new AirsealError(
    'FORBIDDEN',
    'the door for the plugin is closed: the operator opens it with doors.plugin in the configuration',
  )
}

async function keyOf(keys: DoorKeys, body: Json, known: readonly string[]): Promise<DoorKey> {
  if (!isObject(body)) throw new AirsealError('REQUEST_INVALID', 'the body is not an object')
  const unknown = Object.keys(body).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new AirsealError('REQUEST_INVALID', `unknown member "${unknown.slice(0, 80)}"`)
  }
  const name = textOf(body, 'key')
  const key = await keys.find(name)
  if (key !== null) return key
  throw new AirsealError(
    'KEY_UNKNOWN',
    `the door for the plugin leads to no key "${name.slice(0, 80)}": see doors.plugin.keys`,
  )
}

function textOf(members: JsonObject, name: string): string {
  const value = members[name]
  if (typeof value === 'string' && value !== '') return value
  throw new AirsealError('REQUEST_INVALID', `${name} is missing`)
}
