import type { IncomingMessage } from 'node:http'
import { AirsealError, fromUtf8, parseJson } from '../core/index.ts'
import type { Json } from '../core/index.ts'

/** How often the limit is thrown away before the connection is cut: time for an honest sender to finish and read the answer. */
const DISCARD_FACTOR = 4

/** Deepest nesting of arrays and objects. */
const MAX_DEPTH = 64

/** Values in a body at most, unless the route takes documents: parsing stops the event loop, for seconds when a body is all brackets. */
const MAX_VALUES = 20_000

/** Bytes of bodies in memory at a time, over all listeners, beside the first {@link FREE} of each: many large ones must not end the process. */
const MAX_HELD = 256 * 1024 * 1024
const FREE = 64 * 1024
let held = 0

const NO_BODY = Promise.resolve(Buffer.alloc(0))

/**
 * Reads the bytes of a request that must be JSON; none when it has no body.
 * @throws AirsealError CONTENT_TYPE at once; the promise: TOO_LARGE, OVERLOADED, REQUEST_INVALID
 */
export function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  const { headers } = request
  if (headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0')
    return NO_BODY
  checkContentType(headers['content-type'], headers['content-encoding'])
  return readBody(request, limit)
}

/** The JSON in the bytes of a body; null when there are none. @throws AirsealError JSON_INVALID */
export function parseBody(bytes: Uint8Array, maxValues = MAX_VALUES): Json {
  if (bytes.length === 0) return null
  return parseJson(fromUtf8(bytes, 'the body', 'JSON_INVALID'), {
    maxDepth: MAX_DEPTH,
    maxValues,
    what: 'the body',
  })
}

function checkContentType(type: string | undefined, encoding: string | undefined): void {
  if (
    type !== 'application/json' &&
    type?.split(';', 1)[0]?.trim().toLowerCase() !== 'application/json'
  ) {
    throw new AirsealError(
      'CONTENT_TYPE',
      `unsupported media type "${(type ?? 'application/octet-stream').slice(0, 100)}", only [application/json] are allowed`,
    )
  }
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new AirsealError(
      'CONTENT_TYPE',
      `unsupported Content-Encoding "${encoding.slice(0, 100)}": send the body as it is`,
    )
  }
}

/**
 * All bytes of the body, in memory. Beyond `limit` nothing more is kept: the rest is read and thrown away, and only then the caller
 * answers, since closing a connection with unread bytes would take the answer with it.
 */
function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    let counted = 0
    let refusal: AirsealError | null = null
    const refuse = (code: 'OVERLOADED' | 'TOO_LARGE', message: string): void => {
      refusal ??= new AirsealError(code, message)
      chunks.length = 0
      release()
    }
    const release = (): void => {
      held -= counted
      counted = 0
    }
    const tooLarge = (): void => {
      refuse('TOO_LARGE', `Request Entity Too Large. Limit set to ${limit}`)
    }
    if (Number(request.headers['content-length']) > limit) tooLarge()
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > DISCARD_FACTOR * limit) request.socket.destroy()
      else if (size > limit) tooLarge()
      else if (refusal === null && size > FREE) {
        counted += chunk.length
        held += chunk.length
        if (held > MAX_HELD) refuse('OVERLOADED', 'too many large requests at a time')
        else chunks.push(chunk)
      } else if (refusal === null) chunks.push(chunk)
    })
    request.once('end', () => {
      if (refusal !== null) {
        reject(refusal)
        return
      }
      const [only] = chunks
      resolve(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks))
    })
    request.once('close', () => {
      release()
      // Follows every request; an error, and the stack it takes, is made only when something is missing.
      if (!request.complete)
        reject(new AirsealError('REQUEST_INVALID', 'the client left before the body was complete'))
    })
  })
}
