import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, type Called } from '../support/call.ts'
import { receiptOf, type Oracle, type SignResult } from './oracle.ts'
import type { MortalService } from './service.ts'

/** Loops that keep a service busy, whatever happens to it, and tell the oracle what it answers. */
export class Workload {
  readonly #service: MortalService
  readonly #oracle: Oracle
  readonly #images: readonly string[]
  readonly #random: () => number
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #listeners = new Set<() => void>()
  #nextImage = 0
  #nextEntry = 0
  #stopping = false
  #loops: readonly Promise<void>[] = []
  /** Things done so far, without those that only look. */
  answered = 0

  constructor(
    service: MortalService,
    oracle: Oracle,
    images: readonly string[],
    random: () => number,
  ) {
    this.#service = service
    this.#oracle = oracle
    this.#images = images
    this.#random = random
  }

  start(): void {
    this.#loops = [
      this.#loop(() => this.#nextSigning()),
      this.#loop(() => this.#nextSigning()),
      this.#loop(() => this.#nextProposal()),
      this.#loop(() => () => this.#look()),
    ]
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#loops)
  }

  /** Resolves after so many more answers. */
  progress(answers: number): Promise<void> {
    const target = this.answered + answers
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.answered < target) return
        this.#listeners.delete(look)
        resolve()
      }
      this.#listeners.add(look)
      look()
    })
  }

  /** Sends a proposal, for the first time or again. */
  repeat(proposal: string): Promise<Called> {
    return call(`${this.#service.url}/api/v1/log/entries`, { body: proposal })
  }

  /** Takes one thing after another and does it; what failed with the service is tried again, or given up for the inquest to find. */
  async #loop(next: () => () => Promise<void>): Promise<void> {
    let step = next()
    while (!this.#stopping) {
      if (!(await this.#service.serving)) {
        await sleep(2)
        continue
      }
      try {
        await step()
        step = next()
      } catch {
        if (this.#random() < 0.5) step = next()
        await sleep(2)
      }
    }
  }

  /** The next image; now and then one that was asked for before. */
  #nextSigning(): () => Promise<void> {
    const again = this.#nextImage > 0 && this.#random() < 0.25
    const at = again ? Math.floor(this.#random() * this.#nextImage) : this.#nextImage++
    const image = this.#images[at % this.#images.length]!
    return async () => {
      this.#oracle.record({ kind: 'sign-sent', image })
      const answer = await call('http://localhost/v1/sign', {
        socketPath: this.#service.socketPath,
        body: { images: [image] },
      })
      if (answer.status === 200) {
        const { results } = answer.json as { results: SignResult[] }
        for (const result of results) this.#oracle.record({ kind: 'signed', result })
      } else this.#oracle.record({ kind: 'error', status: answer.status, text: answer.text })
      this.#count()
    }
  }

  #nextProposal(): () => Promise<void> {
    const proposal = hashedrekord(`entry ${this.#nextEntry++}`, this.#key)
    return async () => {
      this.#oracle.record({ kind: 'proposed', proposal })
      const answer = await this.repeat(proposal)
      // Logged before, by a service that was killed before it could say so.
      const location = answer.status === 409 ? answer.headers.location : undefined
      const entry = location === undefined ? answer : await call(this.#service.url + location)
      if (entry.status === 201 || entry.status === 200) {
        this.#oracle.record({ kind: 'receipt', entry: receiptOf(entry.json) })
      } else this.#oracle.record({ kind: 'error', status: entry.status, text: entry.text })
      this.#count()
    }
  }

  #count(): void {
    this.answered++
    for (const listener of [...this.#listeners]) listener()
  }

  async #look(): Promise<void> {
    await sleep(5)
    const { json } = await call(`${this.#service.url}/api/v1/log`)
    const { signedTreeHead } = json as { signedTreeHead: string }
    this.#oracle.record({ kind: 'checkpoint', note: signedTreeHead })
  }
}

function hashedrekord(text: string, key: { publicKey: KeyObject; privateKey: KeyObject }): string {
  const pem = key.publicKey.export({ format: 'pem', type: 'spki' })
  return JSON.stringify({
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: {
        hash: { algorithm: 'sha256', value: createHash('sha256').update(text).digest('hex') },
      },
      signature: {
        content: sign('sha256', Buffer.from(text), key.privateKey).toString('base64'),
        publicKey: { content: Buffer.from(pem).toString('base64') },
      },
    },
  })
}
