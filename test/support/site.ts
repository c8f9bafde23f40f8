import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from './processes.ts'

export { freePort }

/** The launcher, as people call it. */
export const AIRSEAL = fileURLToPath(new URL('../../bin/airseal', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly input?: string
  /** Killed after this long, so that a test never hangs. Milliseconds, default 120000. */
  readonly timeoutMs?: number
}

/** Runs a program to its end, and gathers what it prints. */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      stdio: 'pipe',
    })
    const output = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()))
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 120_000)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, ...output })
    })
  })
}

/** A directory of its own for a test, gone when the test is over. */
export async function temporaryDirectory(t: {
  teardown(work: () => Promise<void>): void
}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-test-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

export interface Site {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  readonly data: string
  /** Path of a file in `public/`. */
  file(name: string): string
  readonly process: ChildProcess
  /** Everything the service printed so far. */
  printed(): string
  /** Runs `airseal ARGS --data DATA`. */
  airseal(args: readonly string[], options?: RunOptions): Promise<Finished>
  /** Ends the service and resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<Finished>
}

/**
 * Starts `airseal serve --init` on a free loopback port, and waits until it says so.
 * @param data - data directory; made when it is missing
 */
export async function startSite(
  data: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Site> {
  const port = await freePort()
  const address = `127.0.0.1:${port}`
  const child = spawn(AIRSEAL, ['serve', '--init', '--data', data, '--listen', address, ...args], {
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  const ended = new Promise<Finished>((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code, signal, ...output })
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output.stdout += chunk.toString()
      if (output.stdout.includes('airseal serves')) resolve()
    })
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()))
    child.on('close', () => {
      reject(new Error(`airseal serve ended: ${output.stdout}${output.stderr}`))
    })
  })
  return {
    url: `http://${address}`,
    data,
    file: (name) => join(data, 'public', name),
    process: child,
    printed: () => output.stdout + output.stderr,
    airseal: ([command = '', ...rest], runOptions) =>
      run(AIRSEAL, [command, '--data', data, ...rest], runOptions),
    stop: (signal = 'SIGTERM') => {
      child.kill(signal)
      return ended
    },
  }
}
