import { AirsealError, fromUtf8, isObject, parseJson, toBase64, utf8 } from '../core/index.ts'
import { findCredentials, type Credentials } from './credentials.ts'
import { speaksPlainHttp } from './hosts.ts'
import type { Send } from './http.ts'
import type { RegistrySettings } from './settings.ts'

/** What a request needs of a repository. */
export interface Scope {
  readonly registry: string
  readonly repository: string
  readonly actions: 'pull' | 'pull,push'
}

/** Answers to challenges of registries (RFC 9110 §11; Docker token authentication). Remembers headers until they expire. */
export interface Authenticator {
  /** Value of Authorization to send from the start; undefined when nothing is known yet. */
  known(scope: Scope): string | undefined
  /**
   * Value of Authorization that answers `challenge`, the WWW-Authenticate of a 401.
   * @throws AirsealError REGISTRY_AUTH when there are no credentials for it, REGISTRY_REFUSED when it leads somewhere it must not
   */
  answer(scope: Scope, challenge: string | undefined, deadline: number): Promise<string>
}

interface Known {
  readonly header: string
  /** By performance.now(). */
  readonly expires: number
}

const MAX_CHALLENGE = 4_096
const MAX_TOKEN_ANSWER = 64 * 1024
/** Visible ASCII: goes into a header. */
const TOKEN = /^[\x21-\x7e]{1,32768}$/

export function createAuthenticator(settings: RegistrySettings, send: Send): Authenticator {
  const remembered = new Map<string, Known>()
  const underway = new Map<string, Promise<Known>>()
  return {
    known(scope) {
      const found = remembered.get(nameOf(scope))
      return found !== undefined && found.expires > performance.now() ? found.header : undefined
    },
    async answer(scope, challenge, deadline) {
      const name = nameOf(scope)
      remembered.delete(name)
      let asking = underway.get(name)
      if (asking === undefined) {
        asking = meet(settings, send, scope, challenge, deadline).finally(() =>
          underway.delete(name),
        )
        underway.set(name, asking)
      }
      const known = await asking
      // Bounded: a service may meet any number of repositories.
      if (remembered.size >= 1_000) remembered.clear()
      remembered.set(name, known)
      return known.header
    },
  }
}

function nameOf({ registry, repository, actions }: Scope): string {
  return `${registry} ${repository} ${actions}`
}

async function meet(
  settings: RegistrySettings,
  send: Send,
  scope: Scope,
  challenge: string | undefined,
  deadline: number,
): Promise<Known> {
  const { registry } = scope
  const offered = parseChallenges(challenge ?? '')
  const bearer = offered.get('bearer')
  if (bearer === undefined && !offered.has('basic')) {
    throw new AirsealError(
      'REGISTRY_AUTH',
      `${registry} asks for credentials in a way that is not known`,
    )
  }
  // Before credentials are looked for: a realm that is refused needs none.
  const realm =
    bearer === undefined ? undefined : checkRealm(bearer.get('realm'), registry, settings)
  const credentials =
    settings.credentials?.registry === registry
      ? ({ kind: 'password', ...settings.credentials } as const)
      : await findCredentials(settings.dockerConfigDirectory, registry)
  if (realm !== undefined)
    return fetchToken(send, realm, bearer?.get('service'), scope, credentials, deadline)
  if (credentials?.kind !== 'password') {
    throw new AirsealError(
      'REGISTRY_AUTH',
      `${registry} asks for a user and password, and none are known for it`,
    )
  }
  return { header: basic(credentials), expires: performance.now() + 300_000 }
}

/** Where tokens come from; the registry names it, so it is hostile until it is the registry itself or configured. */
function checkRealm(text: string | undefined, registry: string, settings: RegistrySettings): URL {
  if (text === undefined || !URL.canParse(text)) throw refusedRealm(registry, 'is no address')
  const realm = new URL(text)
  if (realm.username !== '' || realm.password !== '')
    throw refusedRealm(registry, 'holds credentials')
  const own =
    realm.host === registry || (realm.protocol === 'https:' && `${realm.host}:443` === registry)
  if (!own && !settings.allowRealms.includes(realm.host)) {
    throw refusedRealm(
      registry,
      `is on ${realm.host}; list that host among the allowed realms if it is meant`,
    )
  }
  const plain = realm.protocol === 'http:' && speaksPlainHttp(realm.host, settings)
  if (realm.protocol !== 'https:' && !plain) throw refusedRealm(registry, 'is not https')
  return realm
}

function refusedRealm(registry: string, why: string): AirsealError {
  return new AirsealError('REGISTRY_REFUSED', `the token server that ${registry} names ${why}`)
}

/** The scope is ours: what the challenge asks for is not passed on. */
async function fetchToken(
  send: Send,
  realm: URL,
  service: string | undefined,
  scope: Scope,
  credentials: Credentials | null,
  deadline: number,
): Promise<Known> {
  const wanted: [string, string][] = [
    ...(service === undefined ? [] : [['service', service] as [string, string]]),
    ['scope', `repository:${scope.repository}:${scope.actions}`],
  ]
  const common = {
    maxBytes: MAX_TOKEN_ANSWER,
    deadline,
    showCertificate: realm.host === scope.registry,
  }
  const url = new URL(realm)
  let answer
  if (credentials?.kind === 'identity') {
    const form = new URLSearchParams([
      ...wanted,
      ['grant_type', 'refresh_token'],
      ['client_id', 'airseal'],
      ['refresh_token', credentials.token],
    ])
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    answer = await send({ ...common, method: 'POST', url, headers, body: utf8(form.toString()) })
  } else {
    for (const [name, value] of wanted) url.searchParams.set(name, value)
    const headers = credentials === null ? {} : { authorization: basic(credentials) }
    answer = await send({ ...common, method: 'GET', url, headers })
  }
  if (answer.status !== 200) {
    const who =
      credentials === null
        ? 'without credentials, since none are known'
        : 'for the credentials that are known'
    throw new AirsealError(
      'REGISTRY_AUTH',
      `${realm.host} gave no token for ${scope.registry}/${scope.repository} (${scope.actions}) ${who}: status ${answer.status}`,
    )
  }
  return parseToken(answer.body, realm)
}

function parseToken(body: Uint8Array, realm: URL): Known {
  const what = `the token of ${realm.host}`
  const json = parseJson(fromUtf8(body, what, 'REGISTRY_AUTH'), { code: 'REGISTRY_AUTH', what })
  const token = isObject(json) ? (json['token'] ?? json['access_token']) : undefined
  if (!isObject(json) || typeof token !== 'string' || !TOKEN.test(token)) {
    throw new AirsealError('REGISTRY_AUTH', `${what} is not one`)
  }
  const stated = json['expires_in']
  // 60 seconds where nothing is said (Docker token authentication); a little less, for the way there.
  const seconds = typeof stated === 'number' && stated >= 0 ? Math.min(stated, 3_600) : 60
  return {
    header: `Bearer ${token}`,
    expires: performance.now() + Math.max(seconds - 10, seconds / 2) * 1_000,
  }
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${toBase64(utf8(`${username}:${password}`))}`
}

const CHALLENGE =
  /[\s,]*(?:(?<scheme>[A-Za-z]+)(?=\s+[A-Za-z_]+\s*=|\s*$|\s*,)|(?<name>[A-Za-z_]+)\s*=\s*(?:"(?<quoted>(?:[^"\\]|\\.)*)"|(?<bare>[^\s,"]*)))/y

/**
 * Schemes of a WWW-Authenticate header, lower case, with their parameters (RFC 9110 §11.6.1). A scheme that comes twice counts once.
 * What does not parse ends the reading.
 */
function parseChallenges(header: string): Map<string, Map<string, string>> {
  const schemes = new Map<string, Map<string, string>>()
  if (header.length > MAX_CHALLENGE) return schemes
  let current: Map<string, string> | undefined
  CHALLENGE.lastIndex = 0
  for (let found = CHALLENGE.exec(header); found !== null; found = CHALLENGE.exec(header)) {
    const { scheme, name, quoted, bare } = found.groups ?? {}
    if (scheme !== undefined) {
      current = new Map()
      if (!schemes.has(scheme.toLowerCase())) schemes.set(scheme.toLowerCase(), current)
    } else if (name !== undefined && current?.has(name.toLowerCase()) === false) {
      current.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '')
    }
  }
  return schemes
}
