import { readFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { parseFollowed, type Followed } from './admission-following.ts'
import { createAdmission, type Admission } from './admission-service.ts'
import { readDocuments, readPolicyDocument } from './admission/index.ts'
import type { Config } from './config.ts'
import {
  AirsealError,
  asAirsealError,
  fromUtf8,
  parseJson,
  systemClock,
  type Json,
} from './core/index.ts'
import { createVerification, siteTrustOf } from './evidence/index.ts'
import { createListener, listen, type HttpServices } from './http/index.ts'
import { issueServerTls, renewTls } from './own-tls.ts'
import { registrySettings } from './registry-settings.ts'
import type { Rekor } from './rekor/index.ts'
import { version } from './version.ts'

export interface ReplicaOptions {
  /** The appliance, `http(s)://HOST[:PORT]`. */
  readonly follow: string
  /** Certificate authorities of the appliance, PEM file; null: the system's. */
  readonly caFile: string | null
  readonly config: Config
  /** Folder of the webhook's authority, and the names of this server; null: plain HTTP. */
  readonly tls: { readonly directory: string; readonly names: readonly string[] } | null
  /** Takes lines for the operator. */
  readonly log: (line: string) => void
}

/** How often the appliance is asked whether something changed, milliseconds. */
const FOLLOW_MS = 1_000
/** Answer of the appliance at most, bytes. */
const MAX_STATE = 64 * 1024 * 1024
const ASK_MS = 10_000

/**
 * Serves verification and admission without keys, log or disk, by what an appliance says: its trust and its policies. While the appliance does not
 * answer, what it said last counts; before it said anything, nothing is allowed.
 */
export async function serveReplica(
  options: ReplicaOptions,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const { config } = options
  const settings = await registrySettings(config.registries)
  const ca = options.caFile === null ? undefined : await readFile(options.caFile)
  let state: { readonly followed: Followed; readonly admission: Admission } | null = null
  let fault = 'the appliance has not answered yet'
  const now = (): { readonly followed: Followed; readonly admission: Admission } => {
    if (state === null)
      throw new AirsealError('SERVER_UNREACHABLE', `this replica has no policies yet: ${fault}`)
    return state
  }
  const follow = async (): Promise<void> => {
    const body = await askState(options.follow, state?.followed.version ?? null, ca)
    if (body === null) return
    const followed = parseFollowed(body)
    const before = state
    // What was found out stays known while only policies or trust change: its key names the trust.
    const same =
      before !== null &&
      JSON.stringify(before.followed.settings) === JSON.stringify(followed.settings)
    const admission = same
      ? before.admission
      : createAdmission({
          settings: followed.settings,
          trust: () => now().followed.trust,
          keysByUri: (uri) => now().followed.keysByUri(uri),
          registrySettings: settings,
          localEntryCheck: undefined,
          clock: systemClock,
          monotonic: () => performance.now(),
        })
    const parity = followed.settings.parity === 'kyverno-1.19'
    const documents = followed.policies.flatMap((text) =>
      readDocuments(text).map((one) => readPolicyDocument(one, { parity })),
    )
    state = { followed, admission }
    admission.use(documents)
    options.log(
      `airseal: follows version ${followed.version.slice(0, 12)}: trust ${followed.trust.version}, ${documents.length} policy documents`,
    )
  }
  const attempt = async (): Promise<void> => {
    try {
      await follow()
      fault = ''
    } catch (thrown) {
      const { code, message } = asAirsealError(thrown)
      if (fault !== message) options.log(`airseal: ${message} [${code}]`)
      fault = message
    }
  }
  await attempt()
  const verification = createVerification({
    trust: () => state?.followed.trust ?? NO_TRUST,
    registrySettings: settings,
    log: null,
    clock: systemClock,
  })
  const services = replicaServices({
    verify: (body) => {
      now()
      return verification.verify(body)
    },
    admission: {
      review: (phase, body, timeoutMs) => now().admission.review(phase, body, timeoutMs),
      state: () => Promise.reject(refused('policies are followed from the appliance')),
    },
    ready: () => {
      const ready = state !== null
      return Promise.resolve({
        ready,
        functions: { sign: false, verify: ready, log: false },
        checks: { following: fault === '' ? 'up to date' : fault },
      })
    },
    maxBodyBytes: config.maxBodyBytes,
    log: (record) => {
      if (record.status >= 400)
        options.log(JSON.stringify({ time: new Date().toISOString(), ...record }))
    },
  })
  const own = options.tls === null ? null : { ...options.tls, clock: systemClock }
  const tls = own === null ? null : await issueServerTls(own)
  const server = await listen(createListener(services, { kind: 'tcp', loopback: false }), {
    ...config.listen,
    ...(tls !== null && { tls }),
  })
  const stopRenewing =
    own === null || tls === null
      ? () => undefined
      : renewTls(
          own,
          tls,
          (next) => {
            server.replaceTls(next)
          },
          options.log,
        )
  let asking = false
  const timer = setInterval(() => {
    if (asking) return
    asking = true
    void attempt().finally(() => (asking = false))
  }, FOLLOW_MS)
  return {
    url: server.url,
    close: async () => {
      clearInterval(timer)
      stopRenewing()
      await server.close()
    },
  }
}

const EMPTY_ROOT =
  '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[],"ctlogs":[],"timestampAuthorities":[]}'
const NO_TRUST = siteTrustOf({
  version: 'none',
  keys: [],
  trustedRoot: new TextEncoder().encode(EMPTY_ROOT),
})

function refused(what: string): AirsealError {
  return new AirsealError('NOT_FOUND', `this is a replica without keys and log: ${what}`)
}

interface ReplicaParts {
  readonly verify: (body: Json) => Promise<Json>
  readonly admission: NonNullable<HttpServices['admission']>
  readonly ready: HttpServices['ready']
  readonly maxBodyBytes: number
  readonly log: NonNullable<HttpServices['log']>
}

/** What a replica has, with a refusal in the place of everything else. */
function replicaServices({ verify, ...parts }: ReplicaParts): HttpServices {
  const no = (): Promise<never> => Promise.reject(refused('ask the appliance'))
  const rekor: Rekor = new Proxy({} as Rekor, { get: () => no })
  return {
    ...parts,
    rekor,
    operations: { sign: no, attest: no, verify, managed: new Map() },
    verdicts: { known: () => null, remember: () => undefined },
    evidence: no,
    trustFile: () => null,
    trustVersion: () => 0,
    tufFile: () => null,
    access: { tokens: [], writeToken: 'required' },
    version: version(),
  }
}

/** Null: nothing changed since `known`. @throws AirsealError SERVER_UNREACHABLE, TRUST_INVALID */
function askState(
  base: string,
  known: string | null,
  ca: Buffer | undefined,
): Promise<Json | null> {
  const url = new URL(`/v1/admission/state${known === null ? '' : `?known=${known}`}`, base)
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      reject(
        new AirsealError(
          'SERVER_UNREACHABLE',
          `the appliance at ${url.host} did not answer (${why})`,
        ),
      )
    }
    const call = request(
      url,
      { ...(ca !== undefined && { ca }), timeout: ASK_MS, headers: { accept: 'application/json' } },
      (answer: IncomingMessage) => {
        const chunks: Buffer[] = []
        let size = 0
        answer.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > MAX_STATE) answer.destroy(new Error('the answer is too large'))
          else chunks.push(chunk)
        })
        answer.on('error', (error) => {
          fail(error.message)
        })
        answer.on('end', () => {
          if (answer.statusCode === 204) resolve(null)
          else if (answer.statusCode !== 200) fail(`status ${answer.statusCode ?? 0}`)
          else {
            try {
              resolve(parseJson(fromUtf8(Buffer.concat(chunks), 'the state of the appliance')))
            } catch (thrown) {
              reject(asAirsealError(thrown))
            }
          }
        })
      },
    )
    call.on('timeout', () => call.destroy(new Error('no answer in time')))
    call.on('error', (error) => {
      fail(error.message)
    })
    call.end()
  })
}
