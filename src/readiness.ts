import { asAirsealError, verifyMessage, utf8, type Clock, type PublicKey } from './core/index.ts'
import type { Keyring } from './keyring/index.ts'
import type { TransparencyLog } from './log/index.ts'
import { parseCheckpoint, parseSignedNote } from './tlog/index.ts'

export interface Readiness {
  /**
   * Whether the service should get requests: it logs and verifies. A key back-end that is away must not take verification out of use, so
   * signing is told apart.
   */
  readonly ready: boolean
  /** What works; asked for one by one with `?for=`. */
  readonly functions: Readonly<Record<'sign' | 'verify' | 'log', boolean>>
  /** The same in words, or the code of a failure. */
  readonly checks: Readonly<Record<string, string>>
}

/** Another part of the site that can be unfit, or has something to say. */
export type ReadinessCheck = () => Promise<{ readonly ready: boolean; readonly text: string }>

export interface ReadinessParts {
  readonly log: TransparencyLog
  readonly logKey: PublicKey
  readonly keyring: Keyring
  readonly clock: Clock
  /** Whether the trust bundle counts; verification rests on it. */
  readonly trust: ReadinessCheck
  /** What there is to say of the TUF repository; nothing it says makes the service unready. */
  readonly tuf: () => Promise<string>
}

interface Found {
  readonly ready: boolean
  readonly text: string
}

/** An answer of the log is kept this long, so that probes can't wear out its key. Milliseconds. */
const KEEP_MS = 1_000

/**
 * The log is ready when a fresh checkpoint was signed, and what came back reads and verifies; signing, when the last self-test or use of the
 * default key went well: its back-end is not asked here.
 */
export function createReadiness(parts: ReadinessParts): () => Promise<Readiness> {
  let last: { readonly time: number; readonly answer: Promise<readonly [Found, Found]> } | null =
    null
  return async () => {
    const now = parts.clock()
    if (last === null || now < last.time || now - last.time > KEEP_MS)
      last = { time: now, answer: Promise.all([probeLog(parts), probeTrust(parts)]) }
    const [log, trust] = await last.answer
    const sign = signCheck(parts)
    const verify = log.ready && trust.ready
    return {
      ready: verify,
      functions: { sign: sign.ready && log.ready, verify, log: log.ready },
      checks: {
        checkpoint: log.text,
        trust: trust.text,
        sign: sign.text,
        tuf: await parts.tuf().catch((thrown: unknown) => asAirsealError(thrown).code),
      },
    }
  }
}

async function probeLog({ log, logKey }: ReadinessParts): Promise<Found> {
  try {
    const head = await log.signedHead()
    const note = parseSignedNote(head.checkpoint)
    const { size } = parseCheckpoint(note.body)
    const signature = note.signatures[0]?.signature ?? new Uint8Array()
    const ready =
      size === head.treeSize && (await verifyMessage(logKey, 'sha256', utf8(note.body), signature))
    const text = ready
      ? `signed and verified at size ${size}`
      : 'a fresh checkpoint does not verify'
    return { ready, text }
  } catch (thrown) {
    return { ready: false, text: asAirsealError(thrown).code }
  }
}

async function probeTrust({ trust }: ReadinessParts): Promise<Found> {
  try {
    return await trust()
  } catch (thrown) {
    return { ready: false, text: asAirsealError(thrown).code }
  }
}

/** Only the code of a failure: everybody may read this, and messages name places. */
function signCheck({ keyring }: ReadinessParts): Found {
  const key = keyring.registry.default()
  if (key === null) return { ready: false, text: 'KEY_UNKNOWN' }
  if (key.state !== 'active') return { ready: false, text: `key "${key.name}" is ${key.state}` }
  const health = keyring.health(key.name)
  if (health === null) return { ready: false, text: `key "${key.name}" is not tested yet` }
  const since = new Date(health.time).toISOString()
  return health.isGood
    ? { ready: true, text: `key "${key.name}" signs, seen ${since}` }
    : {
        ready: false,
        text: `key "${key.name}": ${health.code ?? 'KEY_UNAVAILABLE'}, seen ${since}`,
      }
}
