import { spawn, type ChildProcess } from 'node:child_process'
import { AIRSEAL, freePort } from '../support/site.ts'

/** A service that dies and comes back at the same address. */
export class MortalService {
  readonly data: string
  readonly address: string
  readonly url: string
  /** Everything that was ever printed. */
  printed = ''
  /** Resolves when the service that was started last serves. */
  serving: Promise<boolean> = Promise.resolve(false)
  #child: ChildProcess | null = null

  private constructor(data: string, address: string) {
    this.data = data
    this.address = address
    this.url = `http://${address}`
  }

  static async at(data: string): Promise<MortalService> {
    return new MortalService(data, `127.0.0.1:${await freePort()}`)
  }

  get socketPath(): string {
    return `${this.data}/airseal.sock`
  }

  /** Starts it; `ready` resolves when it says that it serves, or with false when it ended before. */
  start(): { readonly ready: Promise<boolean> } {
    const args = ['serve', '--init', '--data', this.data, '--listen', this.address]
    const child = spawn(AIRSEAL, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    const ready = new Promise<boolean>((resolve) => {
      let said = ''
      child.stdout.on('data', (chunk: Buffer) => {
        said += chunk.toString()
        this.printed += chunk.toString()
        if (said.includes('airseal serves')) resolve(true)
      })
      child.stderr.on('data', (chunk: Buffer) => (this.printed += chunk.toString()))
      child.on('close', () => {
        resolve(false)
      })
    })
    this.serving = ready
    return { ready }
  }

  /** Ends it; resolves with the exit code when it is gone. */
  end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === null) return Promise.resolve(null)
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode)
    return new Promise((resolve) => {
      child.once('close', resolve)
      child.kill(signal)
    })
  }
}
