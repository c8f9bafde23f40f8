import { randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import {
  AirsealError,
  asAirsealError,
  fromUtf8,
  isObject,
  parseJson,
  type Clock,
  type Json,
} from '../core/index.ts'
import { awsErrorOf, awsFault } from './aws-fault.ts'
import { createAwsKms, type AwsCall, type AwsKmsSettings } from './aws-kms.ts'
import { createReplays } from './replays.ts'
import { authenticate, type AwsCredential, type AwsIdentity } from './sigv4.ts'

export interface AwsDoor extends AwsKmsSettings {
  readonly credentials: ReadonlyMap<string, AwsCredential>
  /** The only region that requests may be signed for; null: any. */
  readonly region: string | null
  readonly clock: Clock
  /** Takes one record per request. Holds neither bodies nor headers. */
  readonly log: (record: DoorRecord) => void
}

/** A request that was answered. */
export interface DoorRecord {
  /** `aws:Sign`…; `aws` when it was not understood. */
  readonly route: string
  readonly status: number
  readonly milliseconds: number
  /** `aws:ACCESSKEYID`, or the peer's address. */
  readonly caller: string
  /** Stable code of the refusal. */
  readonly error?: string
}

const MEDIA_TYPE = 'application/x-amz-json-1.1'
/** `Sign` with 4,096 bytes in base64 is a tenth of it. */
const MAX_BODY = 64 * 1024
const TARGET = /^TrentService\.([A-Za-z]{1,64})$/
const LIMITS = { maxDepth: 8, maxValues: 200, what: 'the body' }

/** Answers what clients of AWS KMS send (JSON 1.1 over HTTP). Nothing is answered before the signature was checked. */
export function createAwsListener(door: AwsDoor): RequestListener {
  const kms = createAwsKms(door)
  const replays = createReplays(door.clock)

  async function answer(request: IncomingMessage, seen: Seen): Promise<Json> {
    const { method = '', url = '', rawHeaders } = request
    const body = await readBody(request)
    if (method !== 'POST' || url !== '/') {
      throw awsFault('UnknownOperationException', 'NOT_FOUND', 'want POST /')
    }
    const signed = { method, url, rawHeaders, body }
    const identity = authenticate(signed, door.credentials, door.region, door.clock())
    seen.identity = identity
    const call = { ...parseCall(request, body), ...identity }
    seen.operation = call.operation
    return call.operation === 'Sign' ? replays(identity.signature, () => kms(call)) : kms(call)
  }

  return (request, response) => {
    const started = performance.now()
    const seen: Seen = { identity: null, operation: null }
    const finish = (status: number, failure: unknown): void => {
      const { identity, operation } = seen
      const address = request.socket.remoteAddress ?? 'gone'
      door.log({
        route: operation === null ? 'aws' : `aws:${operation}`,
        status,
        milliseconds: Math.round((performance.now() - started) * 100) / 100,
        caller: identity === null ? address : `aws:${identity.accessKeyId}`,
        ...(failure === null ? {} : { error: asAirsealError(failure).code }),
      })
    }
    answer(request, seen).then(
      (result) => {
        send(response, 200, result, {})
        finish(200, null)
      },
      (failure: unknown) => {
        const { status, type, message } = awsErrorOf(failure)
        send(response, status, { __type: type, message }, { 'x-amzn-errortype': type })
        finish(status, failure)
      },
    )
  }
}

/** What is known of a request so far, for its record. */
interface Seen {
  identity: AwsIdentity | null
  operation: string | null
}

function parseCall(request: IncomingMessage, body: Buffer): Pick<AwsCall, 'operation' | 'fields'> {
  const operation = TARGET.exec(String(request.headers['x-amz-target']))?.[1]
  if (operation === undefined) {
    throw awsFault('UnknownOperationException', 'NOT_FOUND', 'X-Amz-Target is not TrentService.…')
  }
  if (request.headers['content-type'] !== MEDIA_TYPE) {
    throw new AirsealError('CONTENT_TYPE', `Content-Type is not ${MEDIA_TYPE}`)
  }
  const fields = parseJson(fromUtf8(body, 'the body', 'JSON_INVALID'), LIMITS)
  if (!isObject(fields)) throw new AirsealError('JSON_INVALID', 'the body is not an object')
  return { operation, fields }
}

function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= MAX_BODY) chunks.push(chunk)
      // What an honest client would send is read to its end, so that it can read the answer.
      else if (size > 4 * MAX_BODY) request.socket.destroy()
    })
    request.once('end', () => {
      if (size <= MAX_BODY) resolve(Buffer.concat(chunks))
      else reject(new AirsealError('TOO_LARGE', `the body is larger than ${MAX_BODY} bytes`))
    })
    request.once('close', () => {
      reject(new AirsealError('REQUEST_INVALID', 'the client left before the body was complete'))
    })
  })
}

function send(
  response: ServerResponse,
  status: number,
  body: Json,
  headers: Readonly<Record<string, string>>,
): void {
  if (response.destroyed) return
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, {
    'content-type': MEDIA_TYPE,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'x-amzn-requestid': randomUUID(),
    ...headers,
  })
  response.end(bytes)
}
