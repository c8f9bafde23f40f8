import type { Records } from '../log/index.ts'
import { checkCaps } from './authorise.ts'
import type { KeyRecord } from './record.ts'

/** Actions of audit rows that each stand for one released signature. */
const USE_ACTIONS: ReadonlySet<string> = new Set(['sign', 'attest', 'sign-document', 'sign-digest'])

const DAY_MS = 86_400_000
const PAGE = 1_000

interface Count {
  ever: number
  /** Number of the UTC day since 1970 that `today` counts. */
  day: number
  today: number
  inFlight: number
}

/**
 * Counts the signatures of keys with caps. The audit trail is the durable count: a signature leaves only after its row is stored, so what a
 * crash loses was never released. Read once for each key, then kept; this process is the only writer.
 */
export class UseCounts {
  readonly #records: Pick<Records, 'auditRows'>
  readonly #counts = new Map<string, Promise<Count>>()

  constructor(records: Pick<Records, 'auditRows'>) {
    this.#records = records
  }

  /**
   * Takes one signature of a key's caps; keys without caps are not counted.
   * @returns to be called once, with whether the signature was released
   * @throws AirsealError KEY_POLICY when none is left
   */
  async take(key: KeyRecord, now: number): Promise<(wasReleased: boolean) => void> {
    const { maxPerDay = null, maxLifetime = null } = key.policy ?? {}
    if (maxPerDay === null && maxLifetime === null) {
      // Somebody may set a cap later: what is kept would be out of date.
      this.#counts.delete(key.publicKey.id)
      return () => undefined
    }
    const count = await this.#countOf(key.publicKey.id)
    const day = Math.floor(now / DAY_MS)
    if (day !== count.day) Object.assign(count, { day, today: 0 })
    const { ever, today, inFlight } = count
    checkCaps(key, { ever: ever + inFlight, today: today + inFlight })
    count.inFlight += 1
    return (wasReleased) => {
      count.inFlight -= 1
      if (!wasReleased) return
      count.ever += 1
      count.today += 1
    }
  }

  #countOf(keyId: string): Promise<Count> {
    const known = this.#counts.get(keyId)
    if (known !== undefined) return known
    const read = this.#read(keyId)
    this.#counts.set(keyId, read)
    read.catch(() => this.#counts.delete(keyId))
    return read
  }

  async #read(keyId: string): Promise<Count> {
    const count: Count = { ever: 0, day: 0, today: 0, inFlight: 0 }
    let seq = 0
    for (;;) {
      const rows = await this.#records.auditRows(seq, PAGE)
      for (const { time, key, action } of rows) {
        if (key !== keyId || !USE_ACTIONS.has(action)) continue
        const day = Math.floor(time / DAY_MS)
        if (day !== count.day) Object.assign(count, { day, today: 0 })
        count.ever += 1
        count.today += 1
      }
      const last = rows.at(-1)
      if (last === undefined || rows.length < PAGE) return count
      seq = last.seq
    }
  }
}
