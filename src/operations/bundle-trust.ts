import {
  verifyCheckpoint,
  type CarriedTrust,
  type TrustReader,
} from '../../offline-bundles/index.ts'
import { asAirsealError, parseDigest, utf8 } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import {
  bundleFile,
  parseTrustBundle,
  rootsFingerprint,
  trustOf,
  verifyTrustUpdate,
} from '../trust/index.ts'
import type { SiteParts } from './site-parts.ts'
import { importTrust } from './trust-import.ts'

/** How offline-bundles reads trust bundles. */
export const trustReader: TrustReader = {
  read(bytes): CarriedTrust {
    const bundle = parseTrustBundle(bytes)
    const { enclave, version } = bundle.document
    return { enclave, version, digest: parseDigest(bundle.digest), ...trustOf(bundle) }
  },
  update: (current, next) => verifyTrustUpdate(parseTrustBundle(current), parseTrustBundle(next)),
}

/** The trust bundle that this site publishes, as a file. */
export function ownTrustBundle({ trustKeeper }: Pick<SiteParts, 'trustKeeper'>): Uint8Array {
  return bundleFile(trustKeeper.bundle())
}

/**
 * Lets what a known side signed count here, in its own log: its trust bundle is carried in ours. Where our roots are offline they must sign that
 * first, which `airseal trust status` tells; what came in through the gate is not touched by it.
 */
export async function carryTrust(
  site: SiteParts,
  caller: Caller,
  { trust, enclave }: { readonly trust: Uint8Array; readonly enclave: string },
): Promise<void> {
  const bundle = parseTrustBundle(trust)
  const own = site.trustKeeper.bundle().document
  // Ours, come back.
  if (enclave === own.enclave) return
  const known = own.foreign.find(({ name }) => name === enclave)
  if (known?.kind === 'enclave' && known.bundle.document.version >= bundle.document.version) return
  const now = site.clock()
  const pin = rootsFingerprint(bundle.document.roots)
  const options = { name: null, pin, source: 'airseal bundle', fetched: now }
  try {
    await importTrust(site.trustKeeper, caller, trust, options, now)
  } catch (thrown) {
    site.notify(
      `airseal: the trust of ${enclave} is not carried yet: ${asAirsealError(thrown).message}`,
    )
  }
}

/** A checkpoint of the log of the enclave whose trust bundle is given. @throws AirsealError TRANSFER_UNTRUSTED, CHECKPOINT_INVALID */
export function verifiedCheckpoint(
  checkpoint: string,
  trust: Uint8Array,
): Promise<{ readonly size: number; readonly root: Uint8Array }> {
  return verifyCheckpoint(utf8(checkpoint), trustReader.read(trust).believed.logs)
}
