import { asAirsealError, verifyMessage, utf8, type Clock, type PublicKey } from './core/index.ts'
import type { TransparencyLog } from './log/index.ts'
import { parseCheckpoint, parseSignedNote } from './tlog/index.ts'

export interface Readiness {
  readonly ready: boolean
  readonly checks: Readonly<Record<string, string>>
}

/** An answer is kept this long, so that probes can't wear out the key back-end. Milliseconds. */
const KEEP_MS = 1_000

/** Ready means: a fresh checkpoint was signed, and what came back reads and verifies. */
export function createReadiness(
  log: TransparencyLog,
  logKey: PublicKey,
  clock: Clock,
): () => Promise<Readiness> {
  let last: { readonly time: number; readonly answer: Promise<Readiness> } | null = null
  return () => {
    const now = clock()
    if (last === null || now < last.time || now - last.time > KEEP_MS)
      last = { time: now, answer: probe(log, logKey) }
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
