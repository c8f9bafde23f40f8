import { AirsealError, type Digest } from '../src/core/index.ts'
import type { Descriptor, StoredManifest } from '../src/oci/index.ts'
import type { Attached, AttachedKind, Contents } from './contents.ts'

/** A manifest in the order in which registries take them: what it names comes before it. */
export interface PlannedManifest {
  readonly repository: string
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  /** Tags to give it; empty: only its digest. */
  readonly tags: readonly string[]
  /** What it says about another manifest, and which. */
  readonly about: { readonly kind: AttachedKind; readonly subject: Digest } | null
}

/** What must be in the registry when the import is done. */
export interface ImportPlan {
  readonly manifests: readonly PlannedManifest[]
  /** Blobs by repository. */
  readonly blobs: ReadonlyMap<string, ReadonlyMap<Digest, number>>
  /** Blobs of layers that registries may leave elsewhere. */
  readonly foreign: ReadonlySet<Digest>
}

const MAX_DEPTH = 8

/**
 * Follows every image and everything attached through the manifests, and checks that all they name is carried, left out by the base, or left
 * out by choice of platform; and that nothing else is on the medium.
 * @param read - a manifest, hashed; from the base when the medium does not carry it; null: it is in the base, which can't be asked
 * @throws AirsealError MEDIUM_INVALID naming what is missing or too many
 */
export async function planImport(
  contents: Contents,
  read: (repository: string, digest: Digest) => Promise<StoredManifest | null>,
): Promise<ImportPlan> {
  const carried = new Map(contents.blobs.map(({ digest, size }) => [digest, size]))
  const omitted = new Map(contents.omitted.map(({ digest, size }) => [digest, size]))
  const absent = new Set(contents.absent)
  const used = new Set<Digest>()
  const planned = new Map<string, PlannedManifest>()
  const blobs = new Map<string, Map<Digest, number>>()
  const foreign = new Set<Digest>()
  const present = new Set<string>()

  const need = (digest: Digest, size: number, by: string): void => {
    const known = carried.get(digest) ?? omitted.get(digest)
    if (known === undefined) throw invalid(`lacks ${digest}, which ${by} names`)
    if (known !== size) throw invalid(`states another size for ${digest} than ${by} does`)
    used.add(digest)
  }

  const visit = async (
    repository: string,
    one: Pick<Descriptor, 'digest' | 'size' | 'mediaType'>,
    role: Pick<PlannedManifest, 'tags' | 'about'>,
    depth: number,
  ): Promise<void> => {
    const { digest } = one
    const key = `${repository} ${digest} ${role.about?.kind ?? ''} ${role.about?.subject ?? ''}`
    const known = planned.get(key)
    if (known !== undefined) {
      const tags = [...new Set([...known.tags, ...role.tags])]
      planned.set(key, { ...known, tags })
      return
    }
    if (depth > MAX_DEPTH) throw invalid(`nests manifests deeper than ${MAX_DEPTH}`)
    need(digest, one.size, `an entry of ${repository}`)
    const stored = await read(repository, digest)
    present.add(`${repository} ${digest}`)
    if (stored === null) return
    const { manifest } = stored
    const children = manifest.kind === 'index' ? manifest.manifests : []
    for (const child of children) {
      if (!absent.has(child.digest))
        await visit(repository, child, { tags: [], about: null }, depth + 1)
    }
    if (manifest.kind === 'image') {
      const mine = blobs.get(repository) ?? new Map<Digest, number>()
      blobs.set(repository, mine)
      for (const blob of [manifest.config, ...manifest.layers]) {
        const elsewhere =
          blob.mediaType.includes('.foreign.') || blob.mediaType.includes('.nondistributable.')
        if (elsewhere && !carried.has(blob.digest) && !omitted.has(blob.digest)) {
          foreign.add(blob.digest)
          continue
        }
        need(blob.digest, blob.size, `${digest} of ${repository}`)
        mine.set(blob.digest, blob.size)
      }
    }
    if (role.about?.kind === 'referrer' && manifest.subject?.digest !== role.about.subject)
      throw invalid(`lists ${digest} as referrer of ${role.about.subject}, which it does not name`)
    planned.set(key, {
      repository,
      digest,
      mediaType: manifest.mediaType,
      size: one.size,
      ...role,
    })
  }

  for (const { repository, tag, ...image } of contents.images)
    await visit(repository, image, { tags: tag === null ? [] : [tag], about: null }, 0)
  // What is attached to something attached waits for it.
  let waiting = contents.attached
  while (waiting.length > 0) {
    const later: Attached[] = []
    for (const each of waiting) {
      const { repository, kind, subject, ...about } = each
      if (present.has(`${repository} ${subject}`))
        await visit(repository, about, { tags: [], about: { kind, subject } }, 0)
      else later.push(each)
    }
    const [stuck] = later
    if (stuck !== undefined && later.length === waiting.length)
      throw invalid(
        `attaches ${stuck.digest} to ${stuck.subject}, which is not in ${stuck.repository}`,
      )
    waiting = later
  }
  const idle = contents.blobs.find(({ digest }) => !used.has(digest))
  if (idle !== undefined) throw invalid(`lists ${idle.digest}, which no manifest names`)
  return { manifests: [...planned.values()], blobs, foreign }
}

function invalid(problem: string): AirsealError {
  return new AirsealError('MEDIUM_INVALID', `contents.json ${problem}`)
}
