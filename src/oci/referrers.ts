import { AirsealError, digestHex, utf8, type Digest, type JsonObject } from '../core/index.ts'
import { descriptorJson, MAX_ENTRIES, type Descriptor } from './manifest.ts'
import { MEDIA_TYPES } from './media-types.ts'
import type { Repository, StoredManifest } from './repository.ts'
import { addToTag } from './tag-merge.ts'

/** Tag that lists referrers where the registry itself does not (OCI distribution specification 1.1, "Referrers Tag Schema"). */
function fallbackTag(subject: Digest): string {
  return `sha256-${digestHex(subject)}`
}

/**
 * What the fallback tag lists. Something else than an index there lists nothing: `cosign copy` tags images by that name.
 * @throws AirsealError MANIFEST_INVALID when it is not a manifest at all
 */
export async function readFallback(
  repository: Repository,
  subject: Digest,
): Promise<readonly Descriptor[]> {
  const stored = await repository.readManifestByTag(fallbackTag(subject))
  return stored?.manifest.kind === 'index' ? stored.manifest.manifests : []
}

/** Lists `descriptor` in the fallback tag of `subject`; what is listed there already stays as it is. See addToTag on races. */
export async function addToFallback(
  repository: Repository,
  subject: Digest,
  descriptor: Descriptor,
): Promise<void> {
  const tag = fallbackTag(subject)
  const listed = (current: StoredManifest | null): JsonObject[] => {
    if (current === null) return []
    if (current.manifest.kind === 'index')
      return (current.manifest.json['manifests'] ?? []) as JsonObject[]
    throw new AirsealError(
      'REGISTRY_REFUSED',
      `tag ${tag} of ${repository.location} holds an image, not the list of referrers; it was left as it is, so ${descriptor.digest} is stored but not listed. Remove that tag`,
    )
  }
  const list = {
    items: listed,
    key: (item: JsonObject) => digestIn(item),
    write: async (
      inside: Repository,
      items: readonly JsonObject[],
      current: StoredManifest | null,
    ) => {
      if (items.length > MAX_ENTRIES) {
        throw new AirsealError(
          'TOO_LARGE',
          `${subject} would have too many referrers: ${items.length}`,
        )
      }
      await inside.writeManifest(buildIndex(items, current), MEDIA_TYPES.ociIndex, tag)
    },
  }
  await addToTag(
    repository,
    tag,
    list,
    descriptorJson(descriptor),
    (item) => item['digest'] === descriptor.digest,
  )
}

/** Sorted, so that writers who know the same referrers write the same bytes. */
function buildIndex(items: readonly JsonObject[], current: StoredManifest | null): Uint8Array {
  const annotations = current?.manifest.json['annotations']
  return utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [...items].sort((a, b) => (digestIn(a) < digestIn(b) ? -1 : 1)),
      ...(annotations === undefined ? {} : { annotations }),
    }),
  )
}

/** The manifest was parsed, so there is one. */
function digestIn(item: JsonObject): string {
  return item['digest'] as string
}
