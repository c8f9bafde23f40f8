import type { Digest } from '../core/index.ts'
import type { Descriptor, Manifest } from './manifest.ts'

/** A manifest as it is stored: `bytes` hash to `descriptor.digest`, checked by us. */
export interface StoredManifest {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
  readonly manifest: Manifest
}

/** What refers to a manifest (OCI distribution specification 1.1, "Listing Referrers"). Attacker-controlled: open what is listed before believing it. */
export interface Referrers {
  readonly descriptors: readonly Descriptor[]
  /** True when they come from the tag `sha256-<hex>`, since the registry has no referrers API or lists nothing there. */
  readonly fallback: boolean
}

/** A manifest that names a subject, with everything it needs. */
export interface Referrer {
  /** How it is listed: artifactType and annotations copied from the manifest. */
  readonly descriptor: Descriptor
  readonly manifest: Uint8Array
  /** Config and layers. */
  readonly blobs: readonly Uint8Array[]
  readonly subject: Digest
}

/** A blob of any size that is read as it comes. */
export interface BlobStream {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  /** Opened anew for each try. */
  readonly open: () => AsyncIterable<Uint8Array>
}

/** A {@link Repository} through which blobs of any size pass in bounded memory. */
export interface StreamingRepository extends Repository {
  /**
   * Bytes of a blob as they come; the last piece is given only once all of them have the digest and the size. A cut connection is taken
   * up where it broke. Throws while it is read: IMAGE_NOT_FOUND, DIGEST_MISMATCH, REGISTRY_UNREACHABLE.
   */
  streamBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>): AsyncIterable<Uint8Array>
  /** Stores a blob unless it is there. What differs from its digest is never completed. @throws DIGEST_MISMATCH */
  writeBlobFrom(blob: BlobStream): Promise<'written' | 'present'>
  /** Takes a blob over from another repository (without host) of the same registry. False: that could not be done. */
  mountBlob(digest: Digest, from: string): Promise<boolean>
  /** Forgets a manifest. False: the place does not let it go. */
  deleteManifest(digest: Digest): Promise<boolean>
}

/**
 * One repository of a registry, or one OCI layout on disk. Safe to call concurrently, also by several processes.
 * Everything read is untrusted; bytes named by a digest are hashed and compared before they are returned (DIGEST_MISMATCH).
 * Transient faults are retried inside, within the time of the settings. Besides the codes named below every method may throw
 * REGISTRY_AUTH, REGISTRY_UNREACHABLE, REGISTRY_ERROR, REGISTRY_REFUSED (registry) or LAYOUT_INVALID, STORAGE, STORAGE_FULL (layout).
 */
export interface Repository {
  readonly kind: 'registry' | 'layout'
  /** What a signature calls the image: repository with its registry and without tag; for a layout the base name of its directory. */
  readonly identity: string
  /** Name for messages, and the same for all objects that reach the same place: `registry/repository` or `oci:/absolute/directory`. */
  readonly location: string

  /** Descriptor of what the tag names now. One request; the digest is computed from the bytes. @throws IMAGE_NOT_FOUND, MANIFEST_INVALID */
  resolveTag(tag: string): Promise<Descriptor>
  /** Descriptor of the only image of a layout. @throws DIGEST_REQUIRED when there are several, and always for a registry */
  resolveOnly(): Promise<Descriptor>
  /** @throws IMAGE_NOT_FOUND, DIGEST_MISMATCH, MANIFEST_INVALID, TOO_LARGE (4 MiB) */
  readManifest(digest: Digest): Promise<StoredManifest>
  /** Null when there is no such tag. @throws MANIFEST_INVALID, TOO_LARGE */
  readManifestByTag(tag: string): Promise<StoredManifest | null>
  hasManifest(digest: Digest): Promise<boolean>

  /** @throws IMAGE_NOT_FOUND, DIGEST_MISMATCH (also for another size than the descriptor's), TOO_LARGE beyond `maxBytes` */
  readBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>, maxBytes: number): Promise<Uint8Array>
  hasBlob(digest: Digest): Promise<boolean>
  /** Stores `bytes`; does nothing when they are there. When it returns, the blob is durable as far as the other side says so. */
  writeBlob(bytes: Uint8Array): Promise<{ digest: Digest; size: number }>
  /**
   * Stores a manifest under `target`, a tag or the digest of `bytes`; a tag is moved. Blobs it names must be there already.
   * To add to a tag that others write too, use appendLegacyLayer or addReferrer instead.
   */
  writeManifest(bytes: Uint8Array, mediaType: string, target: string): Promise<Descriptor>

  /** Lists a stored manifest as an image, marked as cosign's `save` does it. Only layouts have it: a registry has no such list. */
  listImage?(descriptor: Descriptor): Promise<void>

  /** Empty when there are none. @throws TOO_LARGE beyond 1000 entries or 20 pages */
  referrers(digest: Digest): Promise<Referrers>
  /**
   * Stores blobs, then the manifest by digest, and sees to it that it is listed: by the registry itself, or else in the fallback tag.
   * Idempotent: run it again after any fault. Concurrent writers lose nothing as long as each one reads and writes within seconds.
   * @throws REGISTRY_CONTENTION when others kept undoing it; REGISTRY_REFUSED when the fallback tag holds something that is not an index
   */
  addReferrer(referrer: Referrer): Promise<void>

  /**
   * Runs `work` with other writers of this tag shut out as far as the place can: a layout's all, a registry's only in this process.
   * `work` must write through the repository that it is given.
   */
  exclusively<T>(tag: string, work: (inside: Repository) => Promise<T>): Promise<T>
  /** True when {@link exclusively} shuts out every writer, so that what was written need not be looked after. */
  readonly exclusive: boolean
}
