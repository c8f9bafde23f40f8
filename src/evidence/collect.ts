import { asAirsealError, fromUtf8 } from '../core/index.ts'
import type { AirsealError, Digest } from '../core/index.ts'
import {
  type Account,
  type LegacyLayer,
  readLegacyLayers,
  readReferredEvidence,
  type Repository,
} from '../oci/index.ts'
import type { Evidence } from '../verify/index.ts'

/** What is asked for: signatures or attestations. */
export type EvidenceKind = 'signature' | 'attestation'

export interface Collected {
  /** Legacy layers in their order, then what refers to the image in its own. Of other kinds than were asked for there are bundles only. */
  readonly evidence: readonly Evidence[]
  /** What kept a place from being read. The other place may still have enough. */
  readonly faults: readonly AirsealError[]
}

const TAGS = { signature: 'sig', attestation: 'att' } as const

/**
 * Reads what lies beside the image `digest`: the `.sig` or `.att` tag, bundles that refer to it, and layers in cosign's experimental OCI 1.1
 * layout. Bounded by the repository's own limits on number and size. Never rejects: faults are part of the result.
 * @param account - told how many bytes are about to be read
 */
export async function collectEvidence(
  repository: Repository,
  digest: Digest,
  kinds: readonly EvidenceKind[],
  account?: Account,
): Promise<Collected> {
  const [referred, ...tagged] = await Promise.allSettled([
    readReferredEvidence(repository, digest, account),
    ...kinds.map((kind) => readLegacyLayers(repository, digest, TAGS[kind], account)),
  ])
  const layers = tagged.flatMap((one, at) => {
    const kind = kinds[at]
    return one.status === 'fulfilled' && kind !== undefined ? legacyOf(one.value, kind) : []
  })
  const found = referred.status === 'fulfilled' ? referred.value : null
  return {
    evidence: [
      ...layers,
      ...(kinds.includes('signature') ? legacyOf(found?.signatures ?? [], 'signature') : []),
      ...(kinds.includes('attestation') ? legacyOf(found?.attestations ?? [], 'attestation') : []),
      ...(found?.bundles ?? []).map(({ blob }): Evidence => ({
        format: 'bundle',
        text: textOf(blob),
      })),
    ],
    faults: [...tagged, referred].flatMap((one) =>
      one.status === 'rejected' ? [asAirsealError(one.reason)] : [],
    ),
  }
}

function legacyOf(layers: readonly LegacyLayer[], kind: EvidenceKind): Evidence[] {
  return layers.map(({ blob, annotations }) => ({
    format: 'legacy',
    kind,
    payload: blob,
    annotations,
  }))
}

/** Empty text, which no verifier accepts, for bytes that are not UTF-8: one bad bundle must not hide the good ones. */
function textOf(blob: Uint8Array): string {
  try {
    return fromUtf8(blob, 'the bundle')
  } catch {
    return ''
  }
}
