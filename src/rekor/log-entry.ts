import { toBase64, toHex } from '../core/index.ts'
import type { LoggedEntry } from '../log/index.ts'

/** JSON text `{ENTRY ID: entry}` in which Rekor's clients receive an entry. They refuse members beside these. */
export function logEntryText(entry: LoggedEntry): string {
  const { proof } = entry
  const hashes = proof.hashes.length === 0 ? '' : `"${proof.hashes.map(toHex).join('","')}"`
  // Only the checkpoint holds characters that need escaping.
  return `{"${entry.entryId}":{"body":"${toBase64(entry.body)}","integratedTime":${entry.integratedTime},"logID":"${entry.logId}","logIndex":${entry.logIndex},"verification":{"inclusionProof":{"checkpoint":${checkpointText(proof.checkpoint)},"hashes":[${hashes}],"logIndex":${proof.index},"rootHash":"${toHex(proof.rootHash)}","treeSize":${proof.treeSize}},"signedEntryTimestamp":"${toBase64(entry.signedEntryTimestamp)}"}}}`
}

/** Entries of one batch share their checkpoint. */
let known = { checkpoint: '', text: '""' }

/**
 * JSON string of a checkpoint in ASCII: one dash outside of Latin-1 would make the engine keep the whole answer in two bytes a character
 * and encode it slowly.
 */
function checkpointText(checkpoint: string): string {
  if (known.checkpoint !== checkpoint) {
    const escaped = JSON.stringify(checkpoint).replace(
      /[\u0080-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    // What replaces inside a text of two bytes a character stays one; read anew, it has one byte.
    known = { checkpoint, text: Buffer.from(escaped, 'latin1').toString('latin1') }
  }
  return known.text
}
