import { asAirsealError, verifyMessage, utf8, type Clock, type PublicKey } from './core/index.ts'
import type { TransparencyLog } from './log/index.ts'
import { parseCheckpoint, parseSignedNote } from './tlog/index.ts'

export interface Readiness {
  readonly ready: boolean
  readonly checks: Readonly<Record<string, string>>
}

/** An answer is kept this long, so that probes can't wear out the key back-end. Milliseconds. */
const KEEP_MS = 1_000

/** Another part of the site that can be unfit, or has something to say. */
export type ReadinessCheck = () => Promise<{ readonly ready: boolean; readonly text: string }>

/** Ready means: a fresh checkpoint was signed, what came back reads and verifies, and every other check agrees. */
export function createReadiness(
  log: TransparencyLog,
  logKey: PublicKey,
  clock: Clock,
  others: Readonly<Record<string, ReadinessCheck>> = {},
): () => Promise<Readiness> {
  let last: { readonly time: number; readonly answer: Promise<Readiness> } | null = null
  return () => {
    const now = clock()
    if (last === null || now < last.time || now - last.time > KEEP_MS)
      last = { time: now, answer: withOthers(probe(log, logKey), others) }
    return last.answer
  }
}

async function probe(log: TransparencyLog, logKey: PublicKey): Promise<Readiness> {
  try {
    const head = await log.signedHead()
    const note = parseSignedNote(head.checkpoint)
    const { size } = parseCheckpoint(note.body)
    const signature = note.signatures[0]?.signature ?? new Uint8Array()
    const good =
      size === head.treeSize && (await verifyMessage(logKey, 'sha256', utf8(note.body), signature))
    return {
      ready: good,
      checks: {
        checkpoint: good
          ? `signed and verified at size ${size}`
          : 'a fresh checkpoint does not verify',
      },
    }
  } catch (thrown) {
    return { ready: false, checks: { checkpoint: asAirsealError(thrown).code } }
  }
}

async function withOthers(
  first: Promise<Readiness>,
  others: Readonly<Record<string, ReadinessCheck>>,
): Promise<Readiness> {
  const { ready, checks } = await first
  const found = await Promise.all(
    Object.entries(others).map(async ([name, check]) => {
      const { ready, text } = await check().catch((thrown: unknown) => ({
        ready: false,
        text: asAirsealError(thrown).code,
      }))
      return { name, ready, text }
    }),
  )
  return {
    ready: ready && found.every((check) => check.ready),
    checks: { ...checks, ...Object.fromEntries(found.map(({ name, text }) => [name, text])) },
  }
}
