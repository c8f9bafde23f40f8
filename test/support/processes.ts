import { spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** What these helpers need of a tap test. */
export interface Lifetime {
  teardown(handler: () => unknown): void
}

export interface Started {
  readonly child: ChildProcess
  /** All that the process has written so far, both streams, the newest 64 KiB. */
  output(): string
  /** Ends it (SIGTERM, after 3 s SIGKILL) and waits for that. Does nothing the second time. */
  stop(): Promise<void>
}

const KEPT = 64 * 1024
const GRACE_MS = 3_000

/** Starts a server that lives as long as the test. Ended by its process id only. */
export function startProcess(
  t: Lifetime,
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Started {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  const keep = (chunk: Buffer): void => {
    text = (text + chunk.toString('utf8')).slice(-KEPT)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve()
    })
    child.once('error', (error) => {
      text += `\n${error.message}`
      resolve()
    })
  })
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
    await ended
    clearTimeout(timer)
  }
  t.teardown(stop)
  return { child, output: () => text, stop }
}

/** Asks again and again until the answer is true. @throws Error with what the process wrote, when it ended or the time is over */
export async function waitUntil(
  started: Started,
  ready: () => Promise<boolean>,
  limitMs = 20_000,
): Promise<void> {
  const end = Date.now() + limitMs
  while (!(await ready().catch(() => false))) {
    const { exitCode, signalCode } = started.child
    if (exitCode !== null || signalCode !== null)
      throw new Error(`ended too early:\n${started.output()}`)
    if (Date.now() > end) throw new Error(`not ready in ${limitMs} ms:\n${started.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/**
 * A port of 127.0.0.1 that is free now; for programs that can't choose one themselves. Below the ports that the kernel gives to outgoing
 * connections, or one of those takes it before the program does.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomInt(15_000, 32_000)
    if (await isFree(port)) return port
  }
  throw new Error('no free port of 50 that were tried')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true)
      })
    })
  })
}
