import {
  AirsealError,
  fromBase64,
  isObject,
  parseJson,
  type HashName,
  type Json,
  type JsonObject,
} from '../core/index.ts'

/** What a client of Sigstore asks its KMS plugin (protocol `v1`): the first argument is the version, the second this as JSON. */
export type PluginCall =
  | { readonly method: 'defaultAlgorithm' | 'supportedAlgorithms' | 'createKey' }
  | ({ readonly method: 'publicKey' } & About)
  | ({ readonly method: 'signMessage' } & About & Subject)
  | ({ readonly method: 'verifySignature'; readonly signature: Uint8Array } & About & Subject)

interface About {
  /** Name of the key: what follows `airseal://`. */
  readonly key: string
  /** When the caller gives up, Unix milliseconds; null: it does not. */
  readonly deadline: number | null
}

interface Subject {
  /** Null: the message comes on standard input. */
  readonly digest: Uint8Array | null
  readonly hash: HashName
}

const PLUGIN_PROTOCOL = 'v1'

/** Numbers of Go's crypto.Hash. */
const HASHES: ReadonlyMap<number, HashName> = new Map([
  [5, 'sha256'],
  [6, 'sha384'],
  [7, 'sha512'],
])
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const MAX_ARGUMENT = 128 * 1024

/**
 * Reads the two arguments of a plugin.
 * @throws AirsealError USAGE for another protocol, REQUEST_INVALID, KEY_REFERENCE
 */
export function parsePluginCall(version: string, text: string): PluginCall {
  if (version !== PLUGIN_PROTOCOL) {
    throw new AirsealError(
      'USAGE',
      `the plugin speaks protocol ${PLUGIN_PROTOCOL} of Sigstore's KMS plugins, not ${version.slice(0, 20)}`,
    )
  }
  if (text.length > MAX_ARGUMENT) throw invalid('the arguments are too long')
  const call = parseJson(text, { maxDepth: 8, maxValues: 100, what: 'the arguments' })
  if (!isObject(call)) throw invalid('the arguments are not an object')
  const options = memberOf(call, 'initOptions')
  if (options['protocolVersion'] !== PLUGIN_PROTOCOL) throw invalid('initOptions.protocolVersion')
  const method = call['methodName']
  switch (method) {
    case 'defaultAlgorithm':
    case 'supportedAlgorithms':
    case 'createKey':
      return { method }
    case 'publicKey': {
      const asked = memberOf(memberOf(call, method), 'publicKeyOptions')
      return { method, ...aboutOf(options, asked) }
    }
    case 'signMessage': {
      const asked = memberOf(memberOf(call, method), 'signOptions')
      return { method, ...aboutOf(options, asked), ...subjectOf(options, asked) }
    }
    case 'verifySignature': {
      const given = memberOf(call, method)
      const asked = memberOf(given, 'verifyOptions')
      const signature = bytesOf(given['signature'], 'signature') ?? new Uint8Array()
      return { method, signature, ...aboutOf(options, asked), ...subjectOf(options, asked) }
    }
    default:
      throw invalid('there is no such method')
  }
}

function aboutOf(options: JsonObject, asked: JsonObject): About {
  const id = options['keyResourceID']
  // Without the scheme today; older clients gave it along.
  const key = typeof id === 'string' ? id.replace(/^airseal:\/\//, '') : ''
  if (!KEY_NAME.test(key)) {
    throw new AirsealError('KEY_REFERENCE', 'want airseal://NAME, the name of a key of airseal')
  }
  const rpc = optionalMember(asked, 'rpcOptions')
  for (const each of [rpc, optionalMember(options, 'rpcOptions')]) {
    const version = each['keyVersion'] ?? ''
    if (version !== '') throw invalid('keyVersion: keys of airseal have no versions')
  }
  const deadlines = [options['ctxDeadline'], rpc['ctxDeadline']].flatMap((value) => {
    const time = typeof value === 'string' ? Date.parse(value) : NaN
    return Number.isNaN(time) ? [] : [time]
  })
  return { key, deadline: deadlines.length === 0 ? null : Math.min(...deadlines) }
}

function subjectOf(options: JsonObject, asked: JsonObject): Subject {
  const message = optionalMember(asked, 'messageOptions')
  const number = message['hashFunc'] ?? options['hashFunc']
  const hash = typeof number === 'number' ? HASHES.get(number) : undefined
  if (hash === undefined) throw invalid('hashFunc is not SHA-256, SHA-384 or SHA-512')
  const digest = bytesOf(message['digest'] ?? null, 'digest')
  return { hash, digest: digest === null || digest.length === 0 ? null : digest }
}

function bytesOf(value: Json | undefined, name: string): Uint8Array | null {
  if (value === null) return null
  if (typeof value !== 'string') throw invalid(`${name} is not base64`)
  return new Uint8Array(fromBase64(value, name, 'REQUEST_INVALID'))
}

function memberOf(object: JsonObject, name: string): JsonObject {
  const value = object[name]
  if (!isObject(value)) throw invalid(`${name} is missing`)
  return value
}

function optionalMember(object: JsonObject, name: string): JsonObject {
  const value = object[name] ?? {}
  if (!isObject(value)) throw invalid(`${name} is not an object`)
  return value
}

function invalid(what: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `plugin call: ${what}`)
}
