import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

export interface Called {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** The body as JSON; undefined when it is none. */
  readonly json: unknown
}

export interface CallOptions {
  /** Default GET, POST with a body. */
  readonly method?: string
  /** Sent as it is when a string or bytes, else as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Unix socket to send it through. */
  readonly socketPath?: string
  /** Certificate authority, PEM. */
  readonly ca?: string
}

/** One request over a connection of its own. @throws the error of the connection, when there is no whole answer */
export function call(url: string, options: CallOptions = {}): Promise<Called> {
  const { body, socketPath, ca } = options
  const bytes =
    body === undefined || typeof body === 'string' || body instanceof Uint8Array
      ? body
      : JSON.stringify(body)
  const headers = {
    ...(bytes === undefined ? {} : { 'content-type': 'application/json' }),
    ...(bytes === undefined ? {} : { 'content-length': String(Buffer.byteLength(bytes)) }),
    ...options.headers,
  }
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest
    const sent = send(
      url,
      {
        method: options.method ?? (bytes === undefined ? 'GET' : 'POST'),
        headers,
        agent: false,
        ...(socketPath === undefined ? {} : { socketPath }),
        ...(ca === undefined ? {} : { ca }),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          if (!response.complete) {
            reject(new Error('the answer was cut'))
            return
          }
          const text = Buffer.concat(chunks).toString()
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: jsonOf(text),
          })
        })
      },
    )
    sent.on('error', reject)
    sent.end(bytes)
  })
}

/** Stable code of an airseal error answer. */
export function errorCodeOf({ json }: Called): string | null {
  const error = (json as { error?: { code?: string } } | undefined)?.error
  return error?.code ?? null
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
