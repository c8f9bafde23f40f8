import { readFile } from 'node:fs/promises'
import {
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
} from 'node:http'
import { readPassphraseSource } from './passphrase.ts'
import {
  AirsealError,
  asAirsealError,
  ERRORS,
  fromUtf8,
  isObject,
  parseJson,
  type ErrorCode,
  type Json,
} from '../core/index.ts'
import { isLoopback } from '../config.ts'
import { dataDirectory, type DataDirectory } from '../data-directory.ts'
import { socketAddress } from '../socket-address.ts'
import { shown, type Input, type Terminal } from './command.ts'

export interface Connection {
  /**
   * Has the service do something, whether it runs elsewhere or inside this process.
   * @param operation - `sign`, `attest`, `verify` or a managed operation, `area/verb`
   * @throws AirsealError as the operation gives it, or SERVER_UNREACHABLE
   */
  call(operation: string, body: Json): Promise<Json>
  close(): Promise<void>
}

const MAX_ANSWER_BYTES = 256 * 1024 * 1024

/** The data directory that the options or the environment name. */
export function siteDirectory(input: Input, terminal: Terminal): DataDirectory {
  return dataDirectory(input.text('data') ?? terminal.environment['AIRSEAL_DATA'] ?? 'airseal-data')
}

/**
 * Finds whoever does the work: the service at --server, else the one behind the socket in the data directory, else this process, under the
 * directory's lock.
 */
export async function connect(input: Input, terminal: Terminal): Promise<Connection> {
  const server = input.text('server')
  if (server !== null) return serviceAt(server, input, terminal)
  const directory = siteDirectory(input, terminal)
  return (await runningService(directory)) ?? inProcess(directory, input, terminal)
}

/** The service behind the socket in the data directory; null when none runs. */
export async function runningService(directory: DataDirectory): Promise<Connection | null> {
  const address = await socketAddress(directory)
  if (await answers(address.path)) {
    return {
      call: (operation, body) =>
        post({ socketPath: address.path, path: `/v1/${operation}` }, body, httpRequest),
      close: () => address.release(),
    }
  }
  await address.release()
  return null
}

async function inProcess(
  directory: DataDirectory,
  input: Input,
  terminal: Terminal,
): Promise<Connection> {
  const { configOf } = await import('./site.ts')
  const { openAirseal } = await import('../app.ts')
  const config = await configOf(directory, input)
  const airseal = await openAirseal({
    directory,
    config,
    passphrase: () => readPassphraseSource(directory, config.passphraseFile, terminal),
    log: (line) => {
      terminal.stderr(`${line}\n`)
    },
  })
  await airseal.finishPending()
  return {
    call: async (name, body) => {
      const operation = airseal.operations.get(name)
      if (operation === undefined)
        throw new AirsealError('NOT_FOUND', `there is no operation ${name}`)
      return operation(body, { kind: 'socket' })
    },
    close: () => airseal.close(),
  }
}

/** The service at a URL, with the token and authority of the options. @throws AirsealError USAGE */
export async function serviceAt(
  server: string,
  input: Input,
  terminal: Terminal,
): Promise<Connection> {
  const url = URL.canParse(server) ? new URL(server) : null
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new AirsealError('USAGE', `--server ${server}: want http(s)://HOST[:PORT]`)
  }
  const tokenFile = input.text('token-file')
  const token =
    tokenFile === null
      ? terminal.environment['AIRSEAL_TOKEN']
      : (await readOption('token-file', tokenFile)).toString('utf8').trim()
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new AirsealError(
      'USAGE',
      'the token is not one line of printable characters without blanks',
    )
  }
  // The service itself serves nothing but TLS to other machines: plain HTTP is a slip, and would show the token to everybody on the way.
  if (
    token !== undefined &&
    url.protocol === 'http:' &&
    !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))
  ) {
    throw new AirsealError('USAGE', `--server ${url.origin}: a token is sent over https only`)
  }
  const caFile = input.text('cacert')
  const request = url.protocol === 'https:' ? (await import('node:https')).request : httpRequest
  const options = {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port),
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    ...(caFile === null ? {} : { ca: await readOption('cacert', caFile) }),
  }
  return {
    call: (operation, body) => post({ ...options, path: `/v1/${operation}` }, body, request),
    close: () => Promise.resolve(),
  }
}

/** Content of a file that an option names. @throws AirsealError USAGE when it can't be read */
function readOption(option: string, path: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => {
    const message = `--${option} ${path} can't be read (${errorCode(cause)})`
    throw new AirsealError('USAGE', message, { cause })
  })
}

/** Time for the service to say that it is there, milliseconds. One that is stopped still takes connections, and never answers. */
const PROBE_MS = 10_000

/** True when a service answers behind the socket. @throws AirsealError DATA_PERMISSIONS, SERVER_UNREACHABLE */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = httpRequest({ socketPath, path: '/healthz', method: 'GET' }, (response) => {
      response.resume()
      resolve(true)
    })
    probe.setTimeout(PROBE_MS, () => {
      const message = `the service behind ${socketPath} does not answer: is it stopped?`
      reject(new AirsealError('SERVER_UNREACHABLE', message))
      probe.destroy()
    })
    probe.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES') {
        reject(
          new AirsealError(
            'DATA_PERMISSIONS',
            'the data directory belongs to another user: run the command as that user',
          ),
        )
      } else resolve(false)
    })
    probe.end()
  })
}

type Request = (
  options: RequestOptions,
  onResponse: (response: IncomingMessage) => void,
) => ReturnType<typeof httpRequest>

function post(options: RequestOptions, body: Json, request: Request): Promise<Json> {
  const bytes = Buffer.from(JSON.stringify(body))
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => {
      const where = options.socketPath ?? `${options.host ?? ''}:${options.port ?? ''}`
      reject(
        new AirsealError(
          'SERVER_UNREACHABLE',
          `the service at ${where} did not answer (${errorCode(cause)})`,
          { cause },
        ),
      )
    }
    const headers = {
      ...(options.headers as OutgoingHttpHeaders | undefined),
      'content-type': 'application/json',
      'content-length': bytes.length,
    }
    const call = request({ ...options, method: 'POST', headers }, (response) => {
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_ANSWER_BYTES) response.destroy(new Error('answer too large'))
        else chunks.push(chunk)
      })
      response.on('error', fail)
      response.on('end', () => {
        try {
          resolve(readAnswer(response.statusCode ?? 0, Buffer.concat(chunks)))
        } catch (error) {
          reject(asAirsealError(error))
        }
      })
    })
    call.on('error', fail)
    call.end(bytes)
  })
}

/** The answer, or the error that it tells. */
function readAnswer(status: number, bytes: Uint8Array): Json {
  const answer = parseAnswer(status, bytes)
  if (status === 200) return answer
  const error = isObject(answer) ? answer['error'] : undefined
  if (
    !isObject(error) ||
    typeof error['code'] !== 'string' ||
    !Object.hasOwn(ERRORS, error['code'])
  ) {
    throw notAirseal(status)
  }
  throw new AirsealError(error['code'] as ErrorCode, shown(error['message']), {
    details: error['details'] ?? null,
  })
}

function parseAnswer(status: number, bytes: Uint8Array): Json {
  try {
    return parseJson(fromUtf8(bytes, 'the answer'), { what: 'the answer' })
  } catch (cause) {
    throw notAirseal(status, cause)
  }
}

function notAirseal(status: number, cause?: unknown): AirsealError {
  const message = `the service answered with status ${status}, and not as airseal does: is it airseal?`
  return new AirsealError('SERVER_UNREACHABLE', message, { cause })
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && 'code' in cause
    ? String(cause.code)
    : cause instanceof Error
      ? cause.message
      : 'unknown'
}
