import type { OpenedSigner } from '../../keys/index.ts'
import { AirsealError, KEY_ALGORITHMS, type Json, type JsonObject } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { requireImageKey } from '../key-backends.ts'
import { checkKeyName, parseKeyPolicy, policyJson, type KeyRecord } from '../keyring/index.ts'
import { predicateTypeUri } from '../sigstore/index.ts'
import { keyLifecycleOperations } from './key-lifecycle.ts'
import { Members } from './members.ts'
import type { Operations } from './operation.ts'
import { keyReviewOperations } from './key-review.ts'
import { fresh, healthJson, managed, requireUnregistered, shown } from './key-records.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

const MAX_INDEX = Number.MAX_SAFE_INTEGER

/** `key/…`: the registry of keys. All of it is the operator's. */
export function keyOperations(site: SiteParts): Operations {
  return {
    'key/list': managed(() => Promise.resolve(list(site))),
    'key/describe': managed((body) => describe(site, body)),
    'key/create': managed((body, caller) => create(site, body, caller)),
    'key/import': managed((body, caller) => importKey(site, body, caller)),
    'key/check': managed((body) => check(site, body)),
    'key/policy': managed((body, caller) => policy(site, body, caller)),
    'key/default': managed((body, caller) => makeDefault(site, body, caller)),
    ...keyLifecycleOperations(site),
    ...keyReviewOperations(site),
  }
}

function list(site: SiteParts): Json {
  const { registry } = site.keyring
  return {
    default: registry.default()?.name ?? null,
    keys: registry.all().map((key) => shown(site, key)),
  }
}

/** The back-end is asked; what it says is shown as it says it. */
async function describe(site: SiteParts, body: Json): Promise<Json> {
  const key = site.keyring.registry.get(new Members(body, ['key']).requiredText('key'))
  const { description } = await site.keyring.opened(key.name)
  return { ...shown(site, key), backend: descriptionJson(description) }
}

function descriptionJson(description: OpenedSigner['description']): JsonObject {
  const { publicKey, ...plain } = description
  return { ...plain, keyId: publicKey.id, algorithm: publicKey.algorithm.name }
}

async function create(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const members = new Members(body, ['key', 'uri', 'algorithm', 'policy'])
  const name = newName(site, members)
  const algorithm = members.text('algorithm') ?? 'ecdsa-p256'
  // Known before anything is made: a key that can't be used would stay behind.
  const facts = KEY_ALGORITHMS.get(algorithm)
  if (facts === undefined) throw new AirsealError('KEY_UNSUPPORTED', `no algorithm "${algorithm}"`)
  requireImageKey({ publicKey: { algorithm: facts } })
  const uri = members.requiredText('uri')
  const allowed = parsePolicy(members.any('policy'))
  const publicKey = await site.backends.create(uri, algorithm)
  const signer = await site.backends.open(name, uri, publicKey)
  try {
    return await register(site, caller, 'key/create', {
      ...fresh(site, name, uri, signer),
      policy: allowed,
    })
  } finally {
    await signer.close()
  }
}

/** An existing key may have signed before: its signatures count from the log's first entry on, unless told otherwise. */
async function importKey(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const members = new Members(body, ['key', 'uri', 'policy', 'validFrom'])
  const name = newName(site, members)
  const uri = members.requiredText('uri')
  const allowed = parsePolicy(members.any('policy'))
  const signer = await site.backends.open(name, uri)
  try {
    requireImageKey(signer)
    const key = fresh(site, name, uri, signer)
    const index = members.count('validFrom', MAX_INDEX) ?? 0
    const validFrom = { ...key.validFrom, index }
    return await register(site, caller, 'key/import', { ...key, validFrom, policy: allowed })
  } finally {
    await signer.close()
  }
}

function newName({ keyring }: SiteParts, members: Members): string {
  const name = checkKeyName(members.requiredText('key'))
  if (keyring.registry.has(name))
    throw new AirsealError('KEY_EXISTS', `a key "${name}" is registered already`)
  return name
}

async function register(
  site: SiteParts,
  caller: Caller,
  action: string,
  key: KeyRecord,
): Promise<Json> {
  const { registry } = site.keyring
  return site.keyring.exclusive(async () => {
    requireUnregistered(site, key)
    const detail = { keyName: key.name, uri: key.uri, validFrom: { ...key.validFrom } }
    const row = { ...auditRow(site, caller, action, detail), key: key.publicKey.id }
    await registry.change({ keys: [key] }, row)
    return shown(site, registry.get(key.name))
  })
}

async function check({ keyring }: SiteParts, body: Json): Promise<Json> {
  const name = new Members(body, ['key']).text('key')
  const keys = name === null ? keyring.registry.active() : [keyring.registry.get(name)]
  const results: JsonObject[] = []
  for (const key of keys) {
    const health = await keyring.selfTest(key.name, 'operator')
    results.push({ key: key.name, state: key.state, ...healthJson(health) })
  }
  return { isGood: results.every(({ isGood }) => isGood === true), results }
}

/** Shows a policy, or sets it: `policy` is the new one, `none` takes it away. */
async function policy(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { registry } = site.keyring
  const members = new Members(body, ['key', 'policy', 'none'])
  const name = members.requiredText('key')
  const wanted = members.any('policy')
  const none = members.flag('none')
  if (wanted !== null && none) throw new AirsealError('REQUEST_INVALID', 'policy or none, not both')
  if (wanted !== null || none) {
    const next = parsePolicy(wanted)
    await site.keyring.exclusive(() => {
      const key = registry.get(name)
      const detail = { keyName: name, policy: next && policyJson(next) }
      const row = { ...auditRow(site, caller, 'key/policy', detail), key: key.publicKey.id }
      return registry.change({ keys: [{ ...key, policy: next }] }, row)
    })
  }
  const now = registry.get(name).policy
  return { key: name, policy: now && policyJson(now) }
}

function parsePolicy(value: Json | null): KeyRecord['policy'] {
  return value === null ? null : parseKeyPolicy(value, predicateTypeUri)
}

async function makeDefault(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { registry } = site.keyring
  const name = new Members(body, ['key']).requiredText('key')
  return site.keyring.exclusive(async () => {
    const key = registry.choose(name)
    const detail = { keyName: name, before: registry.default()?.name ?? null }
    const row = { ...auditRow(site, caller, 'key/default', detail), key: key.publicKey.id }
    await registry.change({ keys: [], defaultKey: name }, row)
    return shown(site, registry.get(name))
  })
}
