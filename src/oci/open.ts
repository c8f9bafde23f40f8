import { AirsealError } from '../core/index.ts'
import { openLayoutRepository } from './layout.ts'
import type { Descriptor } from './manifest.ts'
import type { Reference } from './reference.ts'
import { openRegistryRepository } from './registry.ts'
import type { Repository, StreamingRepository } from './repository.ts'
import type { RegistrySettings } from './settings.ts'

export interface OpenOptions {
  /** Stops everything under way; what was waited for then throws REGISTRY_UNREACHABLE. Layouts pay no heed: they are local. */
  readonly signal?: AbortSignal
}

/** Opens the repository or layout that `reference` lies in. No request is made yet. @throws LAYOUT_INVALID, REGISTRY_REFUSED */
export async function openRepository(
  reference: Reference,
  settings: RegistrySettings,
  options: OpenOptions = {},
): Promise<StreamingRepository> {
  return reference.kind === 'layout'
    ? await openLayoutRepository(reference.directory)
    : openRegistryRepository(reference, settings, options)
}

/**
 * Fixes what `reference` names, once: everything after speaks of the digest. A digest beats a tag beside it (as kubelet has it);
 * with neither, it is the only image of a layout.
 * @throws AirsealError IMAGE_NOT_FOUND, DIGEST_REQUIRED, and what {@link Repository} says
 */
export async function resolveReference(
  repository: Repository,
  reference: Reference,
): Promise<Descriptor> {
  if (reference.digest !== undefined)
    return (await repository.readManifest(reference.digest)).descriptor
  if (reference.tag !== undefined) return repository.resolveTag(reference.tag)
  if (repository.kind === 'registry') {
    throw new AirsealError(
      'DIGEST_REQUIRED',
      `${repository.location} is named without digest or tag`,
    )
  }
  return repository.resolveOnly()
}
