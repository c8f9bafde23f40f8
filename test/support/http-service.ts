import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { connect } from 'node:net'
import type { Test } from 'tap'
import { utf8, type Json } from '../../src/core/index.ts'
import {
  createListener,
  listen,
  type Caller,
  type HttpServices,
  type ListenOptions,
  type RequestRecord,
  type Transport,
} from '../../src/http/index.ts'
import { createRekor } from '../../src/rekor/index.ts'
import { MemoryLog } from './memory-log.ts'

export const ENTRIES = '/api/v1/log/entries'
export const JSON_TYPE = { 'content-type': 'application/json' }
export const TOKEN = 'a-token-of-more-than-twenty-characters'

export interface Reply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

export interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array
  readonly socketPath?: string
}

export interface Fixture {
  readonly log: MemoryLog
  readonly port: number
  readonly records: RequestRecord[]
  readonly callers: Caller[]
  readonly ask: (path: string, asked?: Asked) => Promise<Reply>
  readonly post: (
    path: string,
    body: Json | string,
    headers?: Record<string, string>,
  ) => Promise<Reply>
  readonly close: () => Promise<void>
}

export async function startService(
  t: Test,
  options: {
    services?: Partial<HttpServices>
    transport?: Transport
    listen?: ListenOptions
    operation?: (body: Json) => Promise<Json>
  } = {},
): Promise<Fixture> {
  const log = new MemoryLog()
  const records: RequestRecord[] = []
  const callers: Caller[] = []
  const operation = async (body: Json, caller: Caller): Promise<Json> => {
    callers.push(caller)
    return options.operation === undefined ? { done: true } : options.operation(body)
  }
  const services: HttpServices = {
    rekor: createRekor({ log }),
    operations: {
      sign: operation,
      attest: operation,
      verify: operation,
      managed: new Map([
        ['key/list', { permission: 'manage', run: operation }],
        ['policy/lint', { permission: 'verify', run: operation }],
      ]),
    },
    verdicts: { known: () => null, remember: () => undefined },
    evidence: async (digest) => ({ digest, pieces: [] }),
    trustFile: (name) =>
      name === 'rekor.pub'
        ? { contentType: 'application/x-pem-file', bytes: utf8(log.publicKeyPem) }
        : null,
    trustVersion: () => 7,
    tufFile: () => null,
    ready: () =>
      Promise.resolve({
        ready: true,
        functions: { sign: true, verify: true, log: true },
        checks: { checkpoint: 'ok' },
      }),
    access: { tokens: [], writeToken: 'open' },
    version: '0.0.0-test',
    log: (record) => records.push(record),
    ...options.services,
  }
  const transport = options.transport ?? { kind: 'tcp', loopback: true }
  const server = await listen(
    createListener(services, transport),
    { host: '127.0.0.1', port: 0 },
    options.listen,
  )
  const port = server.port ?? 0
  t.teardown(() => server.close())
  const ask = (path: string, asked: Asked = {}): Promise<Reply> =>
    exchange({ port, host: '127.0.0.1', path }, asked)
  return {
    log,
    port,
    records,
    callers,
    ask,
    post: (path, body, headers = JSON_TYPE) =>
      ask(path, {
        method: 'POST',
        headers,
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    close: () => server.close(),
  }
}

export function exchange(
  where: RequestOptions,
  { method = 'GET', headers = {}, body }: Asked,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const call = httpRequest({ ...where, method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
        })
      })
      response.on('error', reject)
    })
    call.on('error', reject)
    call.end(body)
  })
}

/** Sends raw bytes; all that comes back until the server closes. */
export function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.on('data', (chunk) => (answer += chunk.toString()))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      resolve(answer)
    })
  })
}
