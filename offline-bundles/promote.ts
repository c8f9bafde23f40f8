import { canonicalJson, digestHex, type Digest, type JsonObject } from '../src/core/index.ts'
import {
  appendStoredLayer,
  type StoredManifest,
  type StreamingRepository,
} from '../src/oci/index.ts'
import { lostBase, type CheckedBundle } from './check.ts'
import type { Progress } from './progress.ts'
import type { PlannedManifest } from './structure.ts'

/** Where images go. */
export interface Destination {
  /** `HOST[/PREFIX]`, for messages and the ledger. */
  readonly name: string
  /** @param path - below the prefix */
  open(path: string): StreamingRepository
  /** The path as the registry itself sees it: with the prefix, without host. */
  path(path: string): string
}

/** Repository in which everything waits until all of it is there. */
const STAGING = 'airseal-staging'
const PARALLEL = 3

/**
 * Moves a checked bundle into a registry in two steps: first everything into the staging repository, hashed on the way; then, from there, to
 * its places, tags last. Both are idempotent, so an interrupted import goes on where it was.
 */
export class Promoter {
  readonly #bundle: CheckedBundle
  readonly #to: Destination
  readonly #carried: ReadonlyMap<Digest, number>
  readonly #omitted: ReadonlyMap<Digest, string>

  constructor(bundle: CheckedBundle, to: Destination) {
    this.#bundle = bundle
    this.#to = to
    this.#carried = new Map(bundle.contents.blobs.map(({ digest, size }) => [digest, size]))
    this.#omitted = new Map(
      bundle.contents.omitted.map(({ digest, repository }) => [digest, repository]),
    )
  }

  /** Nothing under any name that somebody uses changes. @throws AirsealError MEDIUM_DAMAGED, TRANSFER_BASE, and what registries throw */
  async stage(progress: Progress): Promise<void> {
    const { plan, contents } = this.#bundle
    const manifests = new Set(plan.manifests.map(({ digest }) => digest))
    const layers = new Map<Digest, number>()
    for (const blobs of plan.blobs.values())
      for (const [digest, size] of blobs) layers.set(digest, size)
    const bytes = contents.blobs.reduce(
      (sum, { digest, size }) => sum + (manifests.has(digest) ? 0 : size),
      0,
    )
    progress.step(`staging in ${this.#to.name}/${STAGING}`, bytes)
    const staging = this.#to.open(STAGING)
    await each([...layers], PARALLEL, async ([digest, size]) => {
      await this.#bring(staging, digest, size, null, progress)
    })
    for (const planned of unique(plan.manifests)) await this.#put(staging, planned, planned.digest)
  }

  /** Puts everything to its place. */
  async promote(progress: Progress): Promise<void> {
    const { plan } = this.#bundle
    progress.step(`promoting to ${this.#to.name}`, 0)
    for (const [name, blobs] of plan.blobs) {
      const repository = this.#to.open(name)
      await each([...blobs], PARALLEL, async ([digest, size]) => {
        await this.#bring(repository, digest, size, STAGING, progress)
      })
    }
    for (const planned of plan.manifests) {
      if (planned.about?.kind !== 'referrer')
        await this.#put(this.#to.open(planned.repository), planned, planned.digest)
    }
    for (const planned of plan.manifests) if (planned.about !== null) await this.#attach(planned)
    for (const planned of plan.manifests) {
      for (const tag of planned.tags)
        await this.#put(this.#to.open(planned.repository), planned, tag)
    }
  }

  /** Empties the staging repository as far as the registry allows it. */
  async clean(): Promise<void> {
    const staging = this.#to.open(STAGING)
    for (const { digest } of unique(this.#bundle.plan.manifests).reverse())
      await staging.deleteManifest(digest).catch(() => false)
  }

  async #bring(
    repository: StreamingRepository,
    digest: Digest,
    size: number,
    from: string | null,
    progress: Progress,
  ): Promise<void> {
    const isCarried = this.#carried.has(digest)
    const count = (bytes: number): void => {
      if (from === null) progress.add(bytes)
    }
    const open = () => this.#bundle.medium.chunks({ digest, size }, count)
    if (await repository.hasBlob(digest)) {
      // What is there already is read all the same: the medium is whole, or nothing of it counts.
      if (from === null && isCarried) for await (const _ of open());
      return
    }
    if (from !== null && (await repository.mountBlob(digest, this.#to.path(from)))) return
    if (isCarried) {
      await repository.writeBlobFrom({ digest, size, open })
      return
    }
    const home = this.#omitted.get(digest) ?? ''
    if (await repository.mountBlob(digest, this.#to.path(home))) return
    const base = this.#to.open(home)
    const ofBase = () => base.streamBlob({ digest, size })
    await repository.writeBlobFrom({ digest, size, open: ofBase }).catch((error: unknown) => {
      throw this.#lost(error, digest, home)
    })
  }

  async #put(
    repository: StreamingRepository,
    planned: PlannedManifest,
    target: string,
  ): Promise<void> {
    const { bytes } = await this.#read(planned)
    if (target === planned.digest && (await repository.hasManifest(planned.digest))) return
    await repository.writeManifest(bytes, planned.mediaType, target)
  }

  async #attach(planned: PlannedManifest): Promise<void> {
    const { about } = planned
    if (about === null) return
    const repository = this.#to.open(planned.repository)
    const stored = await this.#read(planned)
    if (about.kind === 'referrer') {
      const { manifest, descriptor, bytes } = stored
      const artifactType =
        descriptor.artifactType ??
        (manifest.kind === 'image' ? manifest.config.mediaType : undefined)
      await repository.addReferrer({
        descriptor: artifactType === undefined ? descriptor : { ...descriptor, artifactType },
        manifest: bytes,
        blobs: [],
        subject: about.subject,
      })
    } else await mergeTag(repository, `sha256-${digestHex(about.subject)}.${about.kind}`, stored)
  }

  #read({ repository, digest }: PlannedManifest): Promise<StoredManifest> {
    return this.#bundle
      .repository(repository)
      .readManifest(digest)
      .catch((error: unknown) => {
        throw this.#lost(error, digest, this.#omitted.get(digest) ?? repository)
      })
  }

  #lost(error: unknown, digest: Digest, home: string): unknown {
    return lostBase(error, this.#bundle.medium.signed.header, digest, `${this.#to.name}/${home}`)
  }
}

/**
 * Puts what came under a tag of signatures. What this side added there stays: then layers are added, else the manifest is taken as it is.
 */
async function mergeTag(
  repository: StreamingRepository,
  tag: string,
  { bytes, descriptor, manifest }: StoredManifest,
): Promise<void> {
  const current = await repository.readManifestByTag(tag)
  if (current?.descriptor.digest === descriptor.digest) return
  const theirs = layersOf(manifest.json)
  const names = new Set(theirs.map((layer) => canonicalJson(layer)))
  const isCovered = layersOf(current?.manifest.json ?? {}).every((layer) =>
    names.has(canonicalJson(layer)),
  )
  if (current === null || isCovered)
    await repository.writeManifest(bytes, descriptor.mediaType, tag)
  else for (const layer of theirs) await appendStoredLayer(repository, tag, layer)
}

function layersOf(json: JsonObject): readonly JsonObject[] {
  return Array.isArray(json['layers']) ? (json['layers'] as JsonObject[]) : []
}

function unique(manifests: readonly PlannedManifest[]): PlannedManifest[] {
  return [...new Map(manifests.map((one) => [one.digest, one])).values()]
}

/** Runs `work` for each item, at most `limit` at once; all have ended when it returns or throws. */
async function each<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0
  let failed = false
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined && !failed; item = items[next++]) {
      await work(item).catch((error: unknown) => {
        failed = true
        throw error
      })
    }
  }
  for (const one of await Promise.allSettled(Array.from({ length: limit }, worker)))
    if (one.status === 'rejected') throw one.reason
}
