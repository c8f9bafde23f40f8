import {
  verifyCheckpoint,
  type CarriedTrust,
  type TrustReader,
} from '../../offline-bundles/index.ts'
import { AirsealError, parseDigest, utf8 } from '../core/index.ts'
import type { Records } from '../log/index.ts'
import { parseTrustBundle, trustOf, verifyTrustUpdate } from '../trust/index.ts'

/** How offline-bundles reads trust bundles. */
export const trustReader: TrustReader = {
  read(bytes): CarriedTrust {
    const bundle = parseTrustBundle(bytes)
    const { enclave, version } = bundle.document
    return { enclave, version, digest: parseDigest(bundle.digest), ...trustOf(bundle) }
  },
  update: (current, next) => verifyTrustUpdate(parseTrustBundle(current), parseTrustBundle(next)),
}

/** The trust bundle that this site publishes. @throws AirsealError NOT_FOUND */
export async function ownTrustBundle(records: Records): Promise<Uint8Array> {
  const stored = await records.document('trust', 'current')
  if (stored === null)
    throw new AirsealError('NOT_FOUND', 'this site has published no trust bundle yet')
  return utf8(stored.text)
}

/** A checkpoint of the log of the enclave whose trust bundle is given. @throws AirsealError TRANSFER_UNTRUSTED, CHECKPOINT_INVALID */
export function verifiedCheckpoint(
  checkpoint: string,
  trust: Uint8Array,
): Promise<{ readonly size: number; readonly root: Uint8Array }> {
  return verifyCheckpoint(utf8(checkpoint), trustReader.read(trust).believed.logs)
}
