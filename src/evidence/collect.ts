import { asAirsealError, fromUtf8 } from '../core/index.ts'
import type { AirsealError, Digest } from '../core/index.ts'
import { readBundles, readLegacyLayers, type Repository } from '../oci/index.ts'
import type { Evidence } from '../verify/index.ts'

/** What is asked for: signatures or attestations. */
export type EvidenceKind = 'signature' | 'attestation'

export interface Collected {
  /** Legacy layers in their order, then bundles in theirs. */
  readonly evidence: readonly Evidence[]
  /** What kept a place from being read. The other place may still have enough. */
  readonly faults: readonly AirsealError[]
}

/**
 * Reads what lies beside the image `digest`: the `.sig` or `.att` tag and the bundles that refer to it. Bounded by the repository's own
 * limits on number and size. Never rejects: faults are part of the result.
 */
export async function collectEvidence(
  repository: Repository,
  digest: Digest,
  kind: EvidenceKind,
): Promise<Collected> {
  const [legacy, bundles] = await Promise.allSettled([
    readLegacyLayers(repository, digest, kind === 'signature' ? 'sig' : 'att'),
    readBundles(repository, digest),
  ])
  const layers = legacy.status === 'fulfilled' ? legacy.value : []
  const found = bundles.status === 'fulfilled' ? bundles.value : []
  return {
    evidence: [
      ...layers.map(({ blob, annotations }): Evidence => ({
        format: 'legacy',
        kind,
        payload: blob,
        annotations,
      })),
      ...found.map(({ blob }): Evidence => ({ format: 'bundle', text: textOf(blob) })),
    ],
    faults: [legacy, bundles].flatMap((one) =>
      one.status === 'rejected' ? [asAirsealError(one.reason)] : [],
    ),
  }
}

/** Empty text, which no verifier accepts, for bytes that are not UTF-8: one bad bundle must not hide the good ones. */
function textOf(blob: Uint8Array): string {
  try {
    return fromUtf8(blob, 'the bundle')
  } catch {
    return ''
  }
}
