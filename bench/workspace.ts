import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A server that this run started. */
export interface Running {
  readonly name: string
  readonly pid: number
  /** Asks it to end, waits at most 15 s, then kills it. Safe to call twice. */
  stop(): Promise<void>
}

export interface StartOptions {
  readonly environment?: Readonly<Record<string, string>>
  readonly directory?: string
}

/**
 * One private temporary directory (mode 0700) and every process started in it. Nothing outlives the run: on exit, also by
 * SIGINT or an uncaught error, what still runs is killed by its pid and the directory is removed.
 */
export class Workspace {
  readonly directory = mkdtempSync(join(tmpdir(), 'airseal-bench-'))
  readonly #children = new Set<ChildProcess>()
  readonly #keep: boolean

  constructor(options: { readonly keep: boolean }) {
    this.#keep = options.keep
    process.once('exit', () => {
      this.#discard()
    })
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      process.once(signal, () => {
        process.exit(code)
      })
    }
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /** Starts a server; its output goes to NAME.log in the directory. */
  start(
    name: string,
    program: string,
    args: readonly string[],
    options: StartOptions = {},
  ): Running {
    const log = openSync(this.path(`${name}.log`), 'a', 0o600)
    const child = spawn(program, args, {
      cwd: options.directory ?? this.directory,
      env: { ...process.env, ...options.environment },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    if (child.pid === undefined) throw new Error(`${name}: ${program} cannot be started`)
    this.#children.add(child)
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        this.#children.delete(child)
        resolve()
      })
    })
    const stop = async (): Promise<void> => {
      if (!this.#children.has(child)) return
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 15_000)
      await ended
      clearTimeout(late)
    }
    return { name, pid: child.pid, stop }
  }

  /** Runs a program to its end and returns what it wrote to stdout. @throws Error when it fails or takes over 60 s */
  run(
    program: string,
    args: readonly string[],
    options: StartOptions & { readonly input?: string } = {},
  ): Promise<string> {
    const child = spawn(program, args, {
      cwd: options.directory ?? this.directory,
      env: { ...process.env, ...options.environment },
      stdio: 'pipe',
      timeout: 60_000,
    })
    this.#children.add(child)
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (part: Buffer) => out.push(part))
    child.stderr.on('data', (part: Buffer) => err.push(part))
    // A program that ends without reading its input closes the pipe; its exit code tells the story.
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        this.#children.delete(child)
        if (code === 0) resolve(Buffer.concat(out).toString())
        else {
          const said = Buffer.concat(err.length > 0 ? err : out)
            .toString()
            .slice(-2000)
          reject(new Error(`${program} ${args.join(' ')} ended with ${code ?? signal}\n${said}`))
        }
      })
    })
  }

  /** Waits until `ready` is true. @throws Error with the server's last words when it ends first or the time is over */
  async waitFor(server: Running, ready: () => Promise<boolean>, seconds = 60): Promise<void> {
    const deadline = Date.now() + seconds * 1000
    while (!(await ready())) {
      const running = [...this.#children].some((child) => child.pid === server.pid)
      if (!running || Date.now() > deadline) {
        const state = running ? `is not ready after ${seconds} s` : 'ended at once'
        const words = readFileSync(this.path(`${server.name}.log`), 'utf8').slice(-2000)
        throw new Error(`${server.name} ${state}\n${words}`)
      }
      await sleep(50)
    }
  }

  #discard(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    if (!this.#keep) rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A TCP port on loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no TCP port'))
        else resolve(address.port)
      })
    })
  })
}

/** True when something on loopback accepts connections on `port`. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => {
      resolve(false)
    })
  })
}

/** True when a GET of `url` answers 200. */
export async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}
