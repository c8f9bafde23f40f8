import { AirsealError, bytesEqual, fromHex, utf8, verifyMessage } from '../core/index.ts'
import type { InclusionProofEvidence } from '../sigstore/index.ts'
import { parseCheckpoint, parseSignedNote } from '../tlog/index.ts'
import type { TrustedLog } from './model.ts'
import { refusal, type Refusal } from './reasons.ts'

/** Version of a log's contract. */
export type LogVersion = 1 | 2

/** Rekor v1: host name, then the tree id (at most 63 bits). */
const ORIGIN = /^(\S{1,255}) - (?:0|[1-9][0-9]{0,18})$/
/** Signature lines with the log's own name and key hint that are tried. */
const MAX_TRIED = 4

/**
 * Whether the checkpoint of a proof is the log's and states the very tree of the proof. The key hint is the start of the log
 * id; the name on the signature line is the host of the log, and so is the origin, with the tree id behind it for Rekor v1. Other signature lines (witnesses) are passed over.
 * @returns null when it is
 */
export async function checkCheckpoint(
  proof: InclusionProofEvidence,
  log: TrustedLog,
  version: LogVersion = 1,
): Promise<Refusal | null> {
  const parsed = parse(proof.checkpoint)
  if ('reason' in parsed) return parsed
  const { note, checkpoint } = parsed
  if (checkpoint.size !== proof.treeSize || !bytesEqual(checkpoint.rootHash, proof.rootHash)) {
    return invalid('states another tree than the inclusion proof')
  }
  const name = version === 1 ? ORIGIN.exec(checkpoint.origin)?.[1] : checkpoint.origin
  if (name === undefined || (name !== log.host && name !== log.hostAndPort)) {
    return invalid(`does not have the origin "${log.host}${version === 1 ? ' - <tree id>' : ''}"`)
  }
  const hint = fromHex(log.logId.slice(0, 8), 'log id')
  const candidates = note.signatures.filter(
    (signature) => signature.name === name && bytesEqual(signature.keyHint, hint),
  )
  for (const { signature } of candidates.slice(0, MAX_TRIED)) {
    if (await verifyMessage(log.key, 'sha256', utf8(note.body), signature)) return null
  }
  return invalid('has no valid signature by the log')
}

function parse(text: string) {
  try {
    const note = parseSignedNote(text)
    return { note, checkpoint: parseCheckpoint(note.body) }
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('CHECKPOINT_INVALID', thrown.message)
  }
}

function invalid(problem: string): Refusal {
  return refusal('CHECKPOINT_INVALID', `the checkpoint ${problem}`)
}
