import { AirsealError, fromUtf8, isObject, parseJson } from '../core/index.ts'
import { createAuthenticator, type Authenticator, type Scope } from './auth.ts'
import { delay } from './concurrency.ts'
import { originOf, speaksPlainHttp } from './hosts.ts'
import {
  createSender,
  type BodyStream,
  type HttpAnswer,
  type HttpRequest,
  type Send,
} from './http.ts'
import type { RegistrySettings } from './settings.ts'

export interface Call {
  readonly method: HttpRequest['method']
  /** Path and query on the registry, from `/v2/`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | BodyStream
  readonly maxBytes?: number
  /** Whether the body of a good answer is handed on as it comes; then the time is for its beginning only. */
  readonly streaming?: boolean
  /** Milliseconds for all of it, in place of the settings' own. */
  readonly timeoutMs?: number
  /** Whether the request needs the right to push. */
  readonly push?: boolean
  /** Whether a redirect may lead to another configured host. */
  readonly blob?: boolean
  /** False: a second try would harm. Default true. */
  readonly again?: boolean
}

/** Requests to one registry: credentials, redirects, retries. */
export interface RegistryClient {
  readonly origin: string
  /** Any answer but 401, 403, 429 and redirects; server faults only after several tries. */
  call(call: Call): Promise<HttpAnswer>
}

interface Shared {
  readonly send: Send
  readonly authenticator: Authenticator
}

/** One pool of connections and tokens for each settings object. */
const shared = new WeakMap<RegistrySettings, Shared>()

const MAX_REDIRECTS = 3
const MAX_TRIES = 4
const MAX_ERROR_BODY = 64 * 1024
const REDIRECTS = new Set([301, 302, 303, 307, 308])
/** Distribution 2.8 answers 500 to a read while the same tag is being written. */
const READS = new Set(['GET', 'HEAD'])
const BUSY = new Set([429, 502, 503, 504])

/** Client for the repository of `scope`. Nothing is sent before the first call. */
export function createClient(
  scope: Omit<Scope, 'actions'>,
  settings: RegistrySettings,
  signal: AbortSignal | undefined,
): RegistryClient {
  const origin = originOf(scope.registry, settings)
  const { send, authenticator } = sharedFor(settings)

  /** One try: follows redirects, keeps credentials at home. */
  const once = async (
    call: Call,
    authorization: string | undefined,
    deadline: number,
  ): Promise<HttpAnswer> => {
    let url = new URL(call.path, origin)
    for (let hop = 0; ; hop++) {
      const home = url.origin === origin
      const answer = await send({
        method: call.method,
        url,
        headers: {
          ...call.headers,
          ...(home && authorization !== undefined ? { authorization } : {}),
        },
        ...(call.body === undefined ? {} : { body: call.body }),
        ...(call.streaming === undefined ? {} : { streaming: call.streaming }),
        maxBytes: call.maxBytes ?? MAX_ERROR_BODY,
        deadline,
        signal,
        showCertificate: home,
      })
      if (!REDIRECTS.has(answer.status)) return answer
      if (hop === MAX_REDIRECTS) throw refused(scope, `redirected more than ${MAX_REDIRECTS} times`)
      url = followed(answer, url, call)
    }
  }

  const followed = (answer: HttpAnswer, from: URL, call: Call): URL => {
    const location = answer.headers.location ?? ''
    if (call.method !== 'GET' && call.method !== 'HEAD')
      throw refused(scope, `redirected a ${call.method} request`)
    if (!URL.canParse(location, from.href))
      throw refused(scope, 'redirected to something that is no address')
    const to = new URL(location, from.href)
    if (to.username !== '' || to.password !== '')
      throw refused(scope, 'redirected to an address with credentials')
    if (to.origin === origin) return to
    if (call.blob !== true || !settings.allowRedirectHosts.includes(to.host)) {
      throw refused(
        scope,
        `redirected to ${to.host}; list that host among the allowed redirect hosts if it is meant`,
      )
    }
    if (
      to.protocol !== 'https:' &&
      !(to.protocol === 'http:' && speaksPlainHttp(to.host, settings))
    ) {
      throw refused(scope, `redirected to ${to.host} without TLS`)
    }
    return to
  }

  const authorised = async (call: Call, deadline: number): Promise<HttpAnswer> => {
    const wanted: Scope = { ...scope, actions: call.push === true ? 'pull,push' : 'pull' }
    let answer = await once(call, authenticator.known(wanted), deadline)
    if (answer.status === 401) {
      const header = await authenticator.answer(
        wanted,
        answer.headers['www-authenticate'],
        deadline,
      )
      answer = await once(call, header, deadline)
    }
    if (answer.status === 401 || answer.status === 403) {
      throw new AirsealError(
        'REGISTRY_AUTH',
        `${scope.registry} denies "${wanted.actions}" on ${scope.repository} (status ${answer.status}${errorCode(answer)})`,
      )
    }
    return answer
  }

  return {
    origin,
    async call(call) {
      const deadline = performance.now() + (call.timeoutMs ?? settings.timeoutMs)
      for (let tried = 1; ; tried++) {
        const last = tried === MAX_TRIES || call.again === false
        const backoff = 100 * 2 ** tried * (0.5 + Math.random())
        let wait = backoff
        try {
          const answer = await authorised(call, deadline)
          const flaw = answer.status === 500 && READS.has(call.method)
          if (!flaw && !BUSY.has(answer.status)) return answer
          const busy = new AirsealError(
            'REGISTRY_UNREACHABLE',
            `${scope.registry} answered ${answer.status} to ${call.method} ${call.path.slice(0, 200)}`,
          )
          const asked = retryAfterMs(answer)
          wait = Math.max(asked, backoff)
          if (last || performance.now() + wait >= deadline) {
            if (flaw) return answer
            throw busy
          }
        } catch (error) {
          const transient = error instanceof AirsealError && error.code === 'REGISTRY_UNREACHABLE'
          if (
            !transient ||
            last ||
            signal?.aborted === true ||
            performance.now() + wait >= deadline
          )
            throw error
        }
        await delay(wait)
      }
    },
  }
}

function sharedFor(settings: RegistrySettings): Shared {
  let found = shared.get(settings)
  if (found === undefined) {
    const send = createSender(settings)
    found = { send, authenticator: createAuthenticator(settings, send) }
    shared.set(settings, found)
  }
  return found
}

/** Milliseconds; only the form in seconds is heeded. */
function retryAfterMs(answer: HttpAnswer): number {
  const text = answer.headers['retry-after'] ?? ''
  return /^[0-9]{1,6}$/.test(text) ? Number(text) * 1_000 : 0
}

/** `, DENIED`: code of the first error in a registry's answer, for messages; empty when there is none. */
export function errorCode(answer: HttpAnswer): string {
  try {
    const json = parseJson(fromUtf8(answer.body, 'the answer'))
    const errors = isObject(json) ? json['errors'] : undefined
    const first = Array.isArray(errors) ? errors[0] : undefined
    const code = isObject(first) ? first['code'] : undefined
    return typeof code === 'string' && /^[A-Z_]{1,40}$/.test(code) ? `, ${code}` : ''
  } catch {
    return '' // Only a message suffers.
  }
}

function refused({ registry, repository }: Omit<Scope, 'actions'>, why: string): AirsealError {
  return new AirsealError('REGISTRY_REFUSED', `${registry} ${why} (${repository})`)
}
