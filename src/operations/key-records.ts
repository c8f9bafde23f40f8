import type { OpenedSigner } from '../../keys/index.ts'
import { AirsealError, type JsonObject } from '../core/index.ts'
import {
  keyJson,
  validRanges,
  type KeyHealth,
  type KeyRecord,
  type RegisteredKey,
} from '../keyring/index.ts'
import type { ManagedOperation } from './operation.ts'
import type { SiteParts } from './site-parts.ts'

/** An operation that is the operator's. */
export function managed(run: ManagedOperation['run']): ManagedOperation {
  return { permission: 'manage', run }
}

/** A key with what is known of it here. */
export function shown({ keyring, log }: SiteParts, key: RegisteredKey): JsonObject {
  const ranges = validRanges(key, log.logId)
  const health = keyring.health(key.name)
  return {
    ...keyJson(key),
    isDefault: keyring.registry.default()?.name === key.name,
    validIn: ranges?.map((range) => ({ ...range })) ?? null,
    health: health && healthJson(health),
  }
}

export function healthJson({ isGood, code, milliseconds, findings, time }: KeyHealth): JsonObject {
  return { isGood, code, milliseconds, findings: [...findings], time: new Date(time).toISOString() }
}

/** A record for a key that begins to sign now. */
export function fresh(
  { backends, clock, log }: SiteParts,
  name: string,
  uri: string,
  { publicKey }: Pick<OpenedSigner, 'publicKey'>,
): KeyRecord {
  return {
    name,
    uri: backends.stored(uri),
    publicKey,
    state: 'active',
    validFrom: { time: clock(), index: log.nextIndex() },
    validTo: null,
    compromisedFrom: null,
    reason: null,
    successor: null,
    policy: null,
  }
}

/** One key has one name, or taking it out of use under one would leave it in use under the other. */
export function requireUnregistered({ keyring }: SiteParts, { name, publicKey }: KeyRecord): void {
  const same = keyring.registry.byKeyId(publicKey.id)
  if (same !== null)
    throw new AirsealError('KEY_EXISTS', `this key is registered already, as "${same.name}"`)
  if (keyring.registry.has(name))
    throw new AirsealError('KEY_EXISTS', `a key "${name}" is registered already`)
}
