import {
  canonicalJson,
  fromUtf8,
  isObject,
  parseJson,
  toBase64,
  utf8,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { parseTrustedRoot } from '../sigstore/index.ts'
import { readForeign, writeForeign, type ReadBundle } from './foreign.ts'
import { checkedName, invalid, Members, requireDistinct, timeText } from './members.ts'
import type {
  Range,
  RootKey,
  ScopePolicy,
  SignerKey,
  TrustDocument,
  TrustRevocations,
  TrustRoots,
} from './model.ts'

/** Largest payload, bytes. */
const MAX_PAYLOAD = 8 * 1024 * 1024
const MAX_ROOT_KEYS = 16
const MAX_KEYS = 256
const MAX_RANGES = 64
const MAX_FOREIGN = 64
const MAX_REVOKED = 10_000
const MAX_POLICIES = 64
const MAX_YEAR_MS = 253_402_300_799_000

const SCOPE =
  /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/
const KEY_NAME = /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,252}\/)?[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/

const MEMBERS = [
  'enclave',
  'version',
  'created',
  'expires',
  'updateDays',
  'previous',
  'url',
  'roots',
  'keys',
  'trustedRoot',
  'foreign',
  'revocations',
  'policies',
  'tuf',
] as const

/**
 * Reads the payload of a bundle: canonical JSON (RFC 8785) that fits docs/trust-bundle.schema.json. Nothing of it is believed yet.
 * @throws AirsealError TRUST_BUNDLE_INVALID, TRUST_INVALID for a trusted root in it
 */
export function readDocument(payload: Uint8Array, readBundle: ReadBundle): TrustDocument {
  if (payload.length > MAX_PAYLOAD) invalid('payload', `is larger than ${MAX_PAYLOAD} bytes`)
  const text = fromUtf8(payload, 'trust bundle: payload', 'TRUST_BUNDLE_INVALID')
  const value = parseJson(text, {
    maxDepth: 32,
    code: 'TRUST_BUNDLE_INVALID',
    what: 'trust bundle: payload',
  })
  if (canonicalJson(value) !== text) invalid('payload', 'is not canonical JSON')
  const members = new Members(value, 'payload', MEMBERS)
  const document: TrustDocument = {
    enclave: members.name('enclave'),
    version: members.count('version', 1),
    created: members.time('created'),
    expires: members.time('expires'),
    updateDays: members.count('updateDays', 1),
    previous: members.value('previous') === null ? null : members.digest('previous'),
    url: members.url('url'),
    roots: readRoots(members.value('roots'), members.at('roots')),
    keys: requireDistinct(
      members.list('keys', MAX_KEYS, readKey),
      ({ name }) => name,
      members.at('keys'),
    ),
    trustedRoot: readTrustedRoot(members.value('trustedRoot'), members.at('trustedRoot')),
    foreign: requireDistinct(
      members.list('foreign', MAX_FOREIGN, (item, path) => readForeign(item, path, readBundle)),
      ({ name }) => name,
      members.at('foreign'),
    ),
    revocations: readRevocations(members.value('revocations'), members.at('revocations')),
    policies: requireDistinct(
      members.list('policies', MAX_POLICIES, readPolicy),
      ({ name }) => name,
      members.at('policies'),
    ),
    tuf: readTuf(members.value('tuf'), members.at('tuf')),
  }
  if (document.expires <= document.created) invalid('payload.expires', 'is not after created')
  if (document.expires > MAX_YEAR_MS) invalid('payload.expires', 'is after the year 9999')
  requireDistinct(document.keys, ({ key }) => key.id, members.at('keys'))
  if ((document.previous === null) !== (document.version === 1))
    invalid('payload.previous', 'is for every version but the first')
  return document
}

/** The payload of a bundle: canonical JSON in UTF-8; the same document gives the same bytes. */
export function writeDocument(document: TrustDocument): Uint8Array {
  const { roots, revocations, tuf } = document
  const json: JsonObject = {
    enclave: document.enclave,
    version: document.version,
    created: timeText(document.created),
    expires: timeText(document.expires),
    updateDays: document.updateDays,
    previous: document.previous,
    url: document.url,
    roots: {
      version: roots.version,
      threshold: roots.threshold,
      keys: roots.keys.map(({ name, key }) => ({ name, publicKey: key.pem })),
    },
    keys: document.keys.map(({ name, key, state, validFor, validIn, reason }) => ({
      name,
      publicKey: key.pem,
      state,
      validFor: validFor && {
        start: timeText(validFor.start),
        end: validFor.end === null ? null : timeText(validFor.end),
      },
      validIn: validIn?.map(({ logId, first, last }) => ({ logId, first, last })) ?? null,
      reason,
    })),
    trustedRoot: document.trustedRoot,
    foreign: document.foreign.map(writeForeign),
    revocations: {
      keys: revocations.keys.map(({ keyId, from, reason }) => ({
        keyId,
        from: from && { logId: from.logId, index: from.index },
        reason,
      })),
      images: revocations.images.map(({ digest, repository, reason }) => ({
        digest,
        repository,
        reason,
      })),
      entries: revocations.entries.map(({ leafHash, reason }) => ({ leafHash, reason })),
    },
    policies: document.policies.map(({ name, scope, keys }) => ({
      name,
      scope,
      keys: keys && [...keys],
    })),
    tuf: tuf && { mirror: tuf.mirror, root: toBase64(tuf.root) },
  }
  return utf8(canonicalJson(json))
}

function readRoots(value: Json, path: string): TrustRoots {
  const members = new Members(value, path, ['version', 'threshold', 'keys'])
  const keys = members.list('keys', MAX_ROOT_KEYS, (item, at): RootKey => {
    const root = new Members(item, at, ['name', 'publicKey'])
    return { name: root.name('name'), key: root.publicKey('publicKey') }
  })
  requireDistinct(keys, ({ name }) => name, members.at('keys'))
  requireDistinct(keys, ({ key }) => key.id, members.at('keys'))
  const threshold = members.count('threshold', 1)
  if (threshold > keys.length) invalid(members.at('threshold'), 'is more than there are root keys')
  return { version: members.count('version', 1), threshold, keys }
}

function readKey(value: Json, path: string): SignerKey {
  const members = new Members(value, path, [
    'name',
    'publicKey',
    'state',
    'validFor',
    'validIn',
    'reason',
  ])
  return {
    name: members.name('name'),
    key: members.publicKey('publicKey'),
    state: members.choice('state', ['active', 'verify-only', 'retired', 'compromised']),
    validFor: readValidity(members.value('validFor'), members.at('validFor')),
    validIn:
      members.value('validIn') === null ? null : members.list('validIn', MAX_RANGES, readRange),
    reason: members.optionalText('reason'),
  }
}

function readValidity(value: Json, path: string): SignerKey['validFor'] {
  if (value === null) return null
  const members = new Members(value, path, ['start', 'end'])
  const start = members.time('start')
  const end = members.optionalTime('end')
  if (end !== null && end < start) invalid(path, 'ends before it starts')
  return { start, end }
}

function readRange(value: Json, path: string): Range {
  const members = new Members(value, path, ['logId', 'first', 'last'])
  return {
    logId: members.hex32('logId'),
    first: members.optionalCount('first', 0),
    // -1: before the first entry, so nowhere.
    last: members.optionalCount('last', -1),
  }
}

/** @throws AirsealError TRUST_INVALID, TRUST_BUNDLE_INVALID */
function readTrustedRoot(value: Json, path: string): JsonObject {
  if (!isObject(value)) invalid(path, 'is not an object')
  parseTrustedRoot(canonicalJson(value))
  return value
}

function readRevocations(value: Json, path: string): TrustRevocations {
  const members = new Members(value, path, ['keys', 'images', 'entries'])
  const keys = members.list('keys', MAX_REVOKED, (item, at) => {
    const key = new Members(item, at, ['keyId', 'from', 'reason'])
    const from = key.value('from')
    const place = from === null ? null : new Members(from, key.at('from'), ['logId', 'index'])
    return {
      keyId: key.hex32('keyId'),
      from: place && { logId: place.hex32('logId'), index: place.count('index', 0) },
      reason: key.text('reason'),
    }
  })
  const images = members.list('images', MAX_REVOKED, (item, at) => {
    const image = new Members(item, at, ['digest', 'repository', 'reason'])
    const repository = image.optionalText('repository')
    if (repository !== null && !SCOPE.test(repository))
      invalid(image.at('repository'), 'is not HOST[:PORT]/PATH')
    return { digest: image.digest('digest'), repository, reason: image.text('reason') }
  })
  const entries = members.list('entries', MAX_REVOKED, (item, at) => {
    const entry = new Members(item, at, ['leafHash', 'reason'])
    return { leafHash: entry.hex32('leafHash'), reason: entry.text('reason') }
  })
  requireDistinct(keys, ({ keyId }) => keyId, members.at('keys'))
  requireDistinct(images, ({ digest }) => digest, members.at('images'))
  requireDistinct(entries, ({ leafHash }) => leafHash, members.at('entries'))
  return { keys, images, entries }
}

function readPolicy(value: Json, path: string): ScopePolicy {
  const members = new Members(value, path, ['name', 'scope', 'keys'])
  const scope = members.text('scope')
  if (scope !== '*' && !SCOPE.test(scope))
    invalid(members.at('scope'), 'is neither * nor HOST[:PORT][/PATH]')
  const keys =
    members.value('keys') === null
      ? null
      : members.list('keys', MAX_KEYS, (item, at) =>
          typeof item === 'string' && KEY_NAME.test(item)
            ? item
            : invalid(at, 'is not the name of a key'),
        )
  if (keys?.length === 0) invalid(members.at('keys'), 'is empty: no image could meet it')
  return { name: checkedName(members.text('name'), members.at('name')), scope, keys }
}

function readTuf(value: Json, path: string): TrustDocument['tuf'] {
  if (value === null) return null
  const members = new Members(value, path, ['mirror', 'root'])
  return { mirror: members.url('mirror'), root: members.bytes('root') }
}
