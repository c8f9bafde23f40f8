import {
  AirsealError,
  asAirsealError,
  bytesEqual,
  utf8,
  verifyMessage,
  type PublicKey,
} from '../core/index.ts'
import { parseCheckpoint, parseSignedNote } from '../tlog/index.ts'
import type { StoredCheckpoint } from './store.ts'

/** @throws AirsealError LOG_DAMAGED when the stored note is not one that the log signed for this size and root */
export async function checkNote(
  { size, root, note }: StoredCheckpoint,
  origin: string,
  key: PublicKey,
): Promise<void> {
  if (!(await isOurs(size, root, note, origin, key))) {
    throw new AirsealError(
      'LOG_DAMAGED',
      `the checkpoint of size ${size} is not what the log signed`,
    )
  }
}

async function isOurs(
  size: number,
  root: Uint8Array,
  note: string,
  origin: string,
  key: PublicKey,
): Promise<boolean> {
  try {
    const { body, signatures } = parseSignedNote(note)
    const said = parseCheckpoint(body)
    const [line] = signatures
    if (signatures.length !== 1 || line === undefined) return false
    const isSame = said.origin === origin && said.size === size && bytesEqual(said.rootHash, root)
    const isNamed =
      origin.startsWith(`${line.name} - `) &&
      key.id.startsWith(Buffer.from(line.keyHint).toString('hex'))
    return isSame && isNamed && (await verifyMessage(key, 'sha256', utf8(body), line.signature))
  } catch (error) {
    if (asAirsealError(error).code === 'CHECKPOINT_INVALID') return false
    throw error
  }
}
