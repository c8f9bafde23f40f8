import { digestHex, utf8, type Digest, type JsonObject } from '../src/core/index.ts'
import { MEDIA_TYPES } from '../src/oci/index.ts'
import type { Attached, Contents, Named } from './contents.ts'
import { LIMITS } from './limits.ts'
import { layoutName } from './names.ts'

const REF_NAME = 'org.opencontainers.image.ref.name'
const REPOSITORY = 'vnd.airseal.repository'
const COSIGN_KINDS = {
  image: 'dev.cosignproject.cosign/image',
  index: 'dev.cosignproject.cosign/imageIndex',
  sig: 'dev.cosignproject.cosign/sigs',
  att: 'dev.cosignproject.cosign/atts',
} as const

export const LAYOUT_FILE = utf8('{"imageLayoutVersion":"1.0.0"}')

/** One image layout of a bundle: its entries, and the repositories that they are for. */
export interface PlannedLayout {
  /** `images/0001` */
  readonly name: string
  readonly repositories: ReadonlySet<string>
  readonly index: Uint8Array
}

interface Entry {
  readonly named: Named
  readonly ref: string | null
  readonly annotations: Readonly<Record<string, string>>
}

/**
 * Spreads what is carried over image layouts: one, unless it would have more entries than strict readers take, or two repositories have
 * different signatures of the same image (their tags would collide).
 */
export function planLayouts(
  { images, attached }: Pick<Contents, 'images' | 'attached'>,
  isCarried: (digest: Digest) => boolean,
): readonly PlannedLayout[] {
  const byRepository = new Map<string, Entry[]>()
  for (const entry of [...images.map(imageEntry), ...attached.map(attachedEntry)]) {
    if (!isCarried(entry.named.digest)) continue
    const entries = byRepository.get(entry.named.repository) ?? []
    entries.push(entry)
    byRepository.set(entry.named.repository, entries)
  }
  const layouts: { refs: Map<string, Digest>; repositories: Set<string>; entries: Entry[] }[] = []
  for (const [repository, entries] of [...byRepository].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const fits = layouts.find(
      (layout) =>
        layout.entries.length + entries.length <= LIMITS.layoutEntries &&
        entries.every(
          ({ ref, named }) =>
            ref === null || (layout.refs.get(ref) ?? named.digest) === named.digest,
        ),
    )
    const layout = fits ?? {
      refs: new Map<string, Digest>(),
      repositories: new Set<string>(),
      entries: [],
    }
    if (fits === undefined) layouts.push(layout)
    layout.repositories.add(repository)
    for (const entry of entries) {
      if (entry.ref !== null && layout.refs.has(entry.ref)) continue
      if (entry.ref !== null) layout.refs.set(entry.ref, entry.named.digest)
      layout.entries.push(entry)
    }
  }
  return layouts.map(({ repositories, entries }, at) => ({
    name: layoutName(at + 1),
    repositories,
    index: indexBytes(entries),
  }))
}

/** `repository:tag`, which the grammar of reference names allows: tags alone would collide. */
function imageEntry(image: Contents['images'][number]): Entry {
  const ref = image.tag === null ? null : `${image.repository}:${image.tag}`
  const isIndex =
    image.mediaType === MEDIA_TYPES.ociIndex || image.mediaType === MEDIA_TYPES.dockerList
  return {
    named: image,
    ref,
    annotations: { kind: isIndex ? COSIGN_KINDS.index : COSIGN_KINDS.image },
  }
}

function attachedEntry(attached: Attached): Entry {
  const { kind, subject } = attached
  if (kind === 'referrer') return { named: attached, ref: null, annotations: {} }
  const annotations: Readonly<Record<string, string>> =
    kind === 'sbom' ? {} : { kind: COSIGN_KINDS[kind] }
  return { named: attached, ref: `sha256-${digestHex(subject)}.${kind}`, annotations }
}

function indexBytes(entries: readonly Entry[]): Uint8Array {
  const manifests = entries.map(({ named, ref, annotations }): JsonObject => {
    const all = {
      ...annotations,
      ...(ref === null ? {} : { [REF_NAME]: ref }),
      [REPOSITORY]: named.repository,
    }
    const sorted = Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1))
    return {
      mediaType: named.mediaType,
      size: named.size,
      digest: named.digest,
      annotations: Object.fromEntries(sorted),
    }
  })
  const unique = new Map(manifests.map((entry) => [JSON.stringify(entry), entry]))
  const sorted = [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
  return utf8(
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: sorted }),
  )
}
