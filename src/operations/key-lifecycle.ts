import { nextKeyUri, nextName, type OpenedSigner } from '../../keys/index.ts'
import { AirsealError, type Json } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import {
  checkReason,
  compromised,
  replaced,
  retired,
  type KeyRecord,
  type Mark,
  type RegisteredKey,
} from '../keyring/index.ts'
import { fresh, managed, requireUnregistered, shown } from './key-records.ts'
import { firstIndexAt, onlySignedBy } from './key-review.ts'
import { Members } from './members.ts'
import type { Operations } from './operation.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

/** Names that are tried for a successor, when earlier ones are taken. */
const MAX_NAMES = 100
/** Images that a refusal lists. */
const MAX_SHOWN = 1_000

/** Taking keys out of use. */
export function keyLifecycleOperations(site: SiteParts): Operations {
  return {
    'key/rotate': managed((body, caller) => rotate(site, body, caller)),
    'key/retire': managed((body, caller) => retire(site, body, caller)),
    'key/compromise': managed((body, caller) => compromise(site, body, caller)),
  }
}

/**
 * Another key signs from here on; what the old one signed counts on. The other key is tried first: what can't sign takes nothing over.
 * Everything that the old key signed is logged before its end is fixed.
 */
async function rotate(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { registry } = site.keyring
  const members = new Members(body, ['key', 'to', 'reason'])
  const name = members.text('key')
  const reason = checkReason(members.text('reason'))
  const old = name === null ? registry.default() : registry.get(name)
  if (old === null) throw new AirsealError('KEY_UNKNOWN', 'no key is registered')
  if (old.state !== 'active' && old.state !== 'compromised')
    throw new AirsealError('KEY_STATE', `key "${old.name}" is ${old.state}: it signs no more`)
  const to = members.text('to')
  const next = to === null ? await makeSuccessor(site, old) : await tried(site, old, to)
  return site.keyring.exclusive(async () => {
    const now = registry.get(old.name)
    const isNew = to === null
    if (isNew) requireUnregistered(site, next)
    else registry.choose(next.name)
    await site.signing.logSigned(now.publicKey.id)
    const at = mark(site)
    const ended =
      now.state === 'compromised'
        ? { ...now, successor: next.name }
        : replaced(now, at, next.name, reason)
    const begun = { ...next, validFrom: at }
    const detail = { keyName: now.name, successor: next.name, at: { ...at }, reason }
    const row = { ...auditRow(site, caller, 'key/rotate', detail), key: now.publicKey.id }
    const takesOver = registry.default()?.name === now.name
    await registry.change(
      { keys: isNew ? [ended, begun] : [ended], ...(takesOver && { defaultKey: next.name }) },
      row,
    )
    return { old: shown(site, registry.get(now.name)), new: shown(site, registry.get(next.name)) }
  })
}

/** The key that was named, once it has shown that it signs. */
async function tried({ keyring }: SiteParts, old: RegisteredKey, to: string): Promise<KeyRecord> {
  if (to === old.name) throw new AirsealError('REQUEST_INVALID', `to names the key itself, "${to}"`)
  const key = keyring.registry.choose(to)
  const { isGood, code, findings } = await keyring.selfTest(to, 'operator')
  if (!isGood)
    throw new AirsealError(code ?? 'KEY_UNAVAILABLE', findings[0] ?? `key "${to}" does not sign`)
  return key
}

/** A new key beside the old one, of the same kind and under the same policy. */
async function makeSuccessor(site: SiteParts, old: RegisteredKey): Promise<KeyRecord> {
  const { backends, keyring } = site
  let name = old.name
  let uri = old.uri
  for (let left = MAX_NAMES; left > 0; left -= 1) {
    name = nextName(name)
    uri = nextKeyUri(uri, name)
    if (keyring.registry.has(name)) continue
    let signer: OpenedSigner
    try {
      const publicKey = await backends.create(uri, old.publicKey.algorithm.name)
      signer = await backends.open(name, uri, publicKey)
    } catch (thrown) {
      // Somebody else's, or of a rotation that did not come to its end: it is left alone.
      if (thrown instanceof AirsealError && thrown.code === 'KEY_EXISTS') continue
      throw thrown
    }
    try {
      const { isGood, code, findings } = await backends.check(signer)
      if (!isGood)
        throw new AirsealError(
          code ?? 'KEY_UNAVAILABLE',
          findings[0] ?? 'the new key does not sign',
        )
      return { ...fresh(site, name, uri, signer), policy: old.policy }
    } finally {
      await signer.close()
    }
  }
  throw new AirsealError('KEY_EXISTS', `all names after "${old.name}" are taken: give --to`)
}

/** Nothing that the key signed counts any more. Refused while images would be left without a signature that counts. */
async function retire(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { registry } = site.keyring
  const members = new Members(body, ['key', 'reason', 'force'])
  const name = members.requiredText('key')
  const reason = checkReason(members.text('reason'))
  const force = members.flag('force')
  return site.keyring.exclusive(async () => {
    const key = registry.get(name)
    if (registry.default()?.name === name && key.state === 'active')
      throw new AirsealError('KEY_STATE', `key "${name}" is the one that signs: rotate it first`)
    const ended = retired(key, mark(site), reason)
    const alone = force ? [] : await onlySignedBy(site, key)
    if (alone.length > 0) {
      throw new AirsealError(
        'KEY_STATE',
        `${alone.length} images have no other signature that counts, ${alone[0] ?? ''} among them: run airseal resign --from-key ${name} first, or give --force`,
        { details: { images: alone.slice(0, MAX_SHOWN), total: alone.length } },
      )
    }
    const detail = { keyName: name, reason }
    const row = { ...auditRow(site, caller, 'key/retire', detail), key: key.publicKey.id }
    await registry.change({ keys: [ended] }, row)
    await site.keyring.forget(name)
    return shown(site, registry.get(name))
  })
}

/** From an entry of the log on, nothing by this key counts; before it, everything does. */
async function compromise(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { registry } = site.keyring
  const members = new Members(body, ['key', 'from', 'reason'])
  const name = members.requiredText('key')
  const reason = checkReason(members.text('reason'))
  const from = await firstIndexAt(site, members.requiredText('from'))
  return site.keyring.exclusive(async () => {
    const key = registry.get(name)
    const ended = compromised(key, from, mark(site), reason)
    const detail = { keyName: name, from: { ...from }, reason }
    const row = { ...auditRow(site, caller, 'key/compromise', detail), key: key.publicKey.id }
    await registry.change({ keys: [ended] }, row)
    await site.keyring.forget(name)
    return shown(site, registry.get(name))
  })
}

function mark({ clock, log }: SiteParts): Mark {
  return { time: clock(), index: log.nextIndex() }
}
