import { fromUtf8 } from '../core/index.ts'
import { parseTrustedRoot } from '../sigstore/index.ts'
import { type Revocations, type Trust, trustFromRoot, type TrustedKey } from '../verify/index.ts'

/** Everything that a site believes at one moment. */
export interface SiteTrust {
  /** Names this state; another state has another name. Verdicts carry it. */
  readonly version: string
  readonly keys: readonly TrustedKey[]
  readonly believed: Required<Omit<Trust, 'keys' | 'revoked'>>
  readonly revoked: Revocations
}

/** Nothing is revoked. */
const NO_REVOCATIONS: Revocations = { digests: new Map(), entries: new Map() }

/**
 * What trust files say.
 * @param trustedRoot - JSON in UTF-8
 * @throws AirsealError TRUST_INVALID
 */
export function siteTrustOf(material: {
  readonly version: string
  readonly keys: readonly TrustedKey[]
  readonly trustedRoot: Uint8Array
  readonly revoked?: Revocations
}): SiteTrust {
  const { version, keys, trustedRoot, revoked = NO_REVOCATIONS } = material
  const root = parseTrustedRoot(fromUtf8(trustedRoot, 'the trusted root', 'TRUST_INVALID'))
  return { version, keys, believed: trustFromRoot(root), revoked }
}
