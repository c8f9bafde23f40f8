import { AirsealError, type Digest } from '../core/index.ts'
import {
  openRepository,
  parseReference,
  type Descriptor,
  type Reference,
  type RegistrySettings,
  type Repository,
} from '../oci/index.ts'
import type { Location } from './job.ts'

/** A manifest to sign, and where it is. */
export interface Subject {
  readonly repository: Repository
  readonly location: Location
  readonly descriptor: Descriptor
}

/** Depth of indexes within indexes that `recursive` follows, and manifests it signs. */
const MAX_DEPTH = 3
const MAX_SUBJECTS = 200

/**
 * Fixes what is signed, once: a digest as given, a tag only when that was allowed.
 * @throws AirsealError DIGEST_REQUIRED, IMAGE_NOT_FOUND, and what the registry gives
 */
export async function resolveSubjects(
  image: string,
  options: {
    readonly resolveTag: boolean
    readonly recursive: boolean
    readonly settings: RegistrySettings
  },
): Promise<readonly Subject[]> {
  const reference = parseReference(image)
  const repository = await openRepository(reference, options.settings)
  const digest = await subjectDigest(reference, repository, options.resolveTag)
  const location = locationOf(reference)
  const found = new Map<Digest, Subject>()
  await collect(digest, 0)
  return [...found.values()]

  async function collect(digest: Digest, depth: number): Promise<void> {
    if (found.has(digest)) return
    if (found.size >= MAX_SUBJECTS || depth > MAX_DEPTH) {
      throw new AirsealError(
        'MANIFEST_INVALID',
        `${image} holds more than ${MAX_SUBJECTS} manifests or ${MAX_DEPTH} levels of indexes`,
      )
    }
    const { descriptor, manifest } = await repository.readManifest(digest)
    found.set(digest, { repository, location, descriptor })
    if (!options.recursive || manifest.kind !== 'index') return
    for (const child of manifest.manifests) await collect(child.digest, depth + 1)
  }
}

async function subjectDigest(
  reference: Reference,
  repository: Repository,
  resolveTag: boolean,
): Promise<Digest> {
  if (reference.digest !== undefined) return reference.digest
  if (reference.tag === undefined) {
    if (repository.kind === 'layout') return (await repository.resolveOnly()).digest
    throw new AirsealError('DIGEST_REQUIRED', `${repository.location} is named without digest`)
  }
  const { digest } = await repository.resolveTag(reference.tag)
  if (resolveTag) return digest
  throw new AirsealError(
    'DIGEST_REQUIRED',
    `${repository.location}:${reference.tag} is a tag and can change; now it names ${digest}: sign ${repository.location}@${digest}, or give --resolve-tag`,
  )
}

function locationOf(reference: Reference): Location {
  return reference.kind === 'registry'
    ? { kind: 'registry', registry: reference.registry, repository: reference.repository }
    : { kind: 'layout', directory: reference.directory }
}

/** The repository of a stored job. */
export function repositoryAt(location: Location, settings: RegistrySettings): Promise<Repository> {
  return openRepository(
    location.kind === 'registry'
      ? { kind: 'registry', registry: location.registry, repository: location.repository }
      : { kind: 'layout', directory: location.directory },
    settings,
  )
}
