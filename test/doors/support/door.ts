// A door over keys of the test, on loopback.
import { createHash, createHmac, type KeyObject } from 'node:crypto'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  createAwsListener,
  createRateLimit,
  parseAwsCredentials,
  type DoorKey,
  type DoorKeys,
  type DoorRecord,
  type DoorUse,
} from '../../../src/doors/index.ts'
import { AirsealError, KEY_ALGORITHMS, publicKeyFromSpki } from '../../../src/core/index.ts'
import { pairOf, signDigest } from '../../keys/support/sign-digest.ts'
import type { Lifetime } from '../../support/processes.ts'

export const ACCESS_KEY = 'AKIDOFTHETEST'
export const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYofthetest'
/** 2026-11-24T12:00:00Z */
export const NOON = Date.UTC(2026, 10, 24, 12)

export interface TestKey {
  readonly key: DoorKey
  readonly privateKey: KeyObject
}

export function testKey(name: string, algorithm: string, more: Partial<DoorKey> = {}): TestKey {
  const facts = KEY_ALGORITHMS.get(algorithm)
  if (facts === undefined) throw new Error(algorithm)
  const { privateKey, publicKey } = pairOf(facts)
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const key: DoorKey = {
    name,
    publicKey: publicKeyFromSpki(spki),
    hash: facts.hash,
    state: 'active',
    created: NOON,
    ...more,
  }
  return { key, privateKey }
}

export interface TestDoor {
  readonly url: string
  readonly records: DoorRecord[]
  readonly uses: DoorUse[]
  readonly keys: Map<string, TestKey>
  readonly aliases: Map<string, string>
  /** What the next signature meets. */
  readonly refusals: AirsealError[]
  now: number
}

export async function startDoor(
  t: Lifetime,
  { region = null, perMinute = 1_000 }: { region?: string | null; perMinute?: number } = {},
): Promise<TestDoor> {
  const keys = new Map<string, TestKey>()
  const aliases = new Map<string, string>()
  const state = {
    records: [] as DoorRecord[],
    uses: [] as DoorUse[],
    refusals: [] as AirsealError[],
    keys,
    aliases,
    now: NOON,
  }
  const limit = createRateLimit(perMinute, () => state.now)
  const doorKeys: DoorKeys = {
    find: async (name) => keys.get(name)?.key ?? null,
    async signDigest(name, digest, use) {
      limit(use.caller)
      state.uses.push(use)
      const refusal = state.refusals.shift()
      if (refusal !== undefined) throw refusal
      const held = keys.get(name)
      if (held === undefined) throw new AirsealError('KEY_UNKNOWN', name)
      return signDigest(held.key.publicKey.algorithm, held.privateKey, digest)
    },
  }
  const listener = createAwsListener({
    keys: doorKeys,
    aliases,
    account: '000000000000',
    credentials: parseAwsCredentials(Buffer.from(`# clients\n\n${ACCESS_KEY}\t${SECRET}\r\n`)),
    region,
    clock: () => state.now,
    log: (record) => state.records.push(record),
  })
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  })
}

export interface RawRequest {
  readonly method?: string
  readonly path?: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

export interface RawAnswer {
  readonly status: number
  readonly type: string
  readonly body: Readonly<Record<string, unknown>>
}

/** Sends headers exactly as they are given. */
export function send(url: string, { method = 'POST', path = '/', headers, body }: RawRequest) {
  return new Promise<RawAnswer>((resolve, reject) => {
    const raw = [...headers, ['Content-Length', String(Buffer.byteLength(body))] as const]
    const options = { method, path, headers: raw.flat(), setHost: false }
    const call = request(url, options, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => {
        const answer = JSON.parse(text) as Record<string, unknown>
        resolve({
          status: response.statusCode ?? 0,
          type: typeof answer['__type'] === 'string' ? answer['__type'] : '',
          body: answer,
        })
      })
    })
    call.on('error', reject)
    call.end(body)
  })
}

export interface ToSign {
  readonly operation?: string
  readonly fields?: unknown
  readonly time?: number
  readonly day?: string
  readonly accessKey?: string
  readonly secret?: string
  readonly region?: string
  readonly service?: string
  readonly without?: readonly string[]
  readonly extra?: readonly (readonly [string, string])[]
}

/** Signature Version 4 as its public description has it, written apart from the code under test. */
export function signed(url: string, options: ToSign = {}): RawRequest {
  const { operation = 'ListAliases', fields = {}, time = NOON, region = 'us-east-1' } = options
  const body = typeof fields === 'string' ? fields : JSON.stringify(fields)
  const date = new Date(time).toISOString().replace(/[-:]|\.\d{3}/g, '')
  const day = options.day ?? date.slice(0, 8)
  const all: (readonly [string, string])[] = [
    ['Content-Type', 'application/x-amz-json-1.1'],
    ['Host', new URL(url).host],
    ['X-Amz-Date', date],
    ['X-Amz-Target', `TrentService.${operation}`],
    ...(options.extra ?? []),
  ]
  const list = all
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => options.without?.includes(name) !== true)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  const names = list.map(([name]) => name).join(';')
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex')
  const lines = list.map(([name, value]) => `${name}:${value}`).join('\n')
  const canonical = ['POST', '/', '', lines, '', names, hash(body)].join('\n')
  const scope = [day, region, options.service ?? 'kms', 'aws4_request']
  const text = ['AWS4-HMAC-SHA256', date, scope.join('/'), hash(canonical)].join('\n')
  const mac = (key: Buffer | string, of: string): Buffer =>
    createHmac('sha256', key).update(of).digest()
  const [a = '', b = '', c = '', d = ''] = scope
  const key = mac(mac(mac(mac(`AWS4${options.secret ?? SECRET}`, a), b), c), d)
  const authorization = `AWS4-HMAC-SHA256 Credential=${options.accessKey ?? ACCESS_KEY}/${scope.join('/')}, SignedHeaders=${names}, Signature=${mac(key, text).toString('hex')}`
  return { headers: [...all, ['Authorization', authorization]], body }
}
