/** Where one HTTP/1.1 answer ends in a buffer, and what it carries. */
export interface Answer {
  readonly status: number
  /** Offset of the first byte of the body. */
  readonly bodyStart: number
  /** Offset after the last byte of the message. */
  readonly end: number
  readonly chunked: boolean
}

const HEAD_END = Buffer.from('\r\n\r\n')
const LINE_END = Buffer.from('\r\n')

/**
 * Finds the answer at the start of `bytes`; null when it is not all there yet (RFC 9112 §6, §7.1).
 * Only what servers on loopback send: a length or chunks without trailers.
 * @throws Error when it is neither, or when the server wants to close the connection
 */
export function readAnswer(bytes: Buffer): Answer | null {
  const headEnd = bytes.indexOf(HEAD_END)
  if (headEnd === -1) return null
  const head = bytes.toString('latin1', 0, headEnd).toLowerCase()
  const status = Number(/^http\/1\.1 (\d{3})/.exec(head)?.[1] ?? NaN)
  if (Number.isNaN(status)) throw new Error(`not an HTTP/1.1 answer: ${head.slice(0, 80)}`)
  if (head.includes('\r\nconnection: close')) {
    throw new Error(`the server closes the connection (status ${status})`)
  }
  const bodyStart = headEnd + HEAD_END.length
  const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1]
  if (length !== undefined) {
    const end = bodyStart + Number(length)
    return end <= bytes.length ? { status, bodyStart, end, chunked: false } : null
  }
  if (!head.includes('\r\ntransfer-encoding: chunked')) {
    throw new Error('the answer has neither a length nor chunks')
  }
  for (const chunk of chunks(bytes, bodyStart)) {
    if (chunk.size === 0) return { status, bodyStart, end: chunk.next, chunked: true }
  }
  return null
}

/** Copy of the body of an answer that `readAnswer` found in `bytes`. */
export function bodyOf(bytes: Buffer, answer: Answer): Buffer {
  if (!answer.chunked) return Buffer.from(bytes.subarray(answer.bodyStart, answer.end))
  const parts: Buffer[] = []
  for (const { start, size } of chunks(bytes, answer.bodyStart)) {
    parts.push(bytes.subarray(start, start + size))
  }
  return Buffer.concat(parts)
}

interface Chunk {
  readonly start: number
  readonly size: number
  readonly next: number
}

/** The chunks from `at` on that are whole; the last one has size 0. */
function* chunks(bytes: Buffer, at: number): Generator<Chunk> {
  for (let line; (line = bytes.indexOf(LINE_END, at)) !== -1;) {
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16)
    if (Number.isNaN(size)) throw new Error('a chunk has no size')
    const start = line + LINE_END.length
    const next = start + size + LINE_END.length
    if (next > bytes.length) return
    yield { start, size, next }
    if (size === 0) return
    at = next
  }
}

/** Bytes of a POST of JSON to a server on loopback, connection kept. */
export function postRequest(port: number, path: string, json: string): Buffer {
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nAccept: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  )
}

/** The JSON text in bytes made by `postRequest`. */
export function postedJson(request: Buffer): string {
  return request.toString('utf8', request.indexOf(HEAD_END) + HEAD_END.length)
}
