import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { readAnswer } from './http-message.ts'
import type { Answer } from './http-message.ts'

/** Called once for an answer. `bytes` is overwritten by the next one: copy what is kept. */
export type OnAnswer = (answer: Answer, bytes: Buffer) => void

/** No answer of a log or a verifier comes near this size. */
const MOST_BYTES = 4 * 2 ** 20

/**
 * One kept-alive connection with at most one request on its way. Much leaner than node:http (no header objects, no streams),
 * since the load generator shares the processors with the servers it measures.
 */
export class Connection {
  readonly #socket: Socket
  readonly #onFailure: (error: Error) => void
  #bytes = Buffer.allocUnsafe(64 * 1024)
  #filled = 0
  #onAnswer: OnAnswer | null = null
  #closing = false

  private constructor(socket: Socket, onFailure: (error: Error) => void) {
    this.#socket = socket
    this.#onFailure = onFailure
  }

  /** Opens a connection to loopback. `onFailure` is called at most once, when it breaks before `close`. */
  static open(port: number, onFailure: (error: Error) => void): Promise<Connection> {
    return new Promise((resolve, reject) => {
      let connection: Connection | null = null
      const socket = connect({
        port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafe(64 * 1024),
          callback: (size, buffer) => {
            connection?.receive(Buffer.from(buffer.buffer, buffer.byteOffset, size))
            return true
          },
        },
      })
      socket.once('connect', () => {
        connection = new Connection(socket, onFailure)
        resolve(connection)
      })
      socket.once('error', (error) => {
        if (connection === null) reject(error)
        else connection.fail(error)
      })
      socket.once('close', () => connection?.fail(new Error('the server closed the connection')))
    })
  }

  send(request: Uint8Array, onAnswer: OnAnswer): void {
    this.#onAnswer = onAnswer
    this.#socket.write(request)
  }

  close(): void {
    this.#closing = true
    this.#socket.destroy()
  }

  receive(part: Buffer): void {
    try {
      this.#take(part)
    } catch (error) {
      this.fail(error as Error)
    }
  }

  fail(error: Error): void {
    if (this.#closing) return
    this.close()
    this.#onFailure(error)
  }

  #take(part: Buffer): void {
    const size = this.#filled + part.length
    if (size > MOST_BYTES) throw new Error('the answer is too long')
    if (size > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * size)
      this.#bytes.copy(larger, 0, 0, this.#filled)
      this.#bytes = larger
    }
    part.copy(this.#bytes, this.#filled)
    this.#filled = size
    const bytes = this.#bytes.subarray(0, size)
    const answer = readAnswer(bytes)
    if (answer === null) return
    const onAnswer = this.#onAnswer
    if (answer.end !== size || onAnswer === null)
      throw new Error('an answer that nothing asked for')
    this.#filled = 0
    this.#onAnswer = null
    onAnswer(answer, bytes)
  }
}
