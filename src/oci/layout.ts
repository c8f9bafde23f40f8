import { basename, join } from 'node:path'
import { AirsealError, digestHex, digestOf, isDigest, utf8, type Digest } from '../core/index.ts'
import { checkedChunks } from './blob-stream.ts'
import {
  isDirectory,
  isRegular,
  makeDirectory,
  readRegular,
  realDirectory,
  sizeOfRegular,
  streamRegular,
  writeWhole,
} from './layout-files.ts'
import {
  checkLayoutFile,
  emptyIndex,
  findTag,
  isAbout,
  isSaved,
  manifestDigests,
  parseLayoutIndex,
  withEntry,
  withImage,
  type LayoutIndex,
} from './layout-index.ts'
import { withLayoutLock } from './layout-lock.ts'
import { manifestsNaming } from './layout-scan.ts'
import { MAX_MANIFEST, parseManifest, type Descriptor } from './manifest.ts'
import { isTag } from './reference.ts'
import type {
  BlobStream,
  Referrer,
  Referrers,
  Repository,
  StoredManifest,
  StreamingRepository,
} from './repository.ts'

/** Makes an empty layout in `directory`, which must exist; does nothing when one is there. @throws AirsealError LAYOUT_INVALID, STORAGE */
export async function initLayout(directory: string): Promise<void> {
  const root = await realDirectory(directory)
  await withLayoutLock(root, async () => {
    await makeDirectory(join(root, 'blobs'))
    await makeDirectory(join(root, 'blobs', 'sha256'))
    const index = join(root, 'index.json')
    if ((await readRegular(index, MAX_MANIFEST)) === null) await writeWhole(index, emptyIndex())
    const layout = join(root, 'oci-layout')
    if ((await readRegular(layout, 4_096)) === null)
      await writeWhole(layout, utf8('{"imageLayoutVersion":"1.0.0"}'))
  })
}

/**
 * The OCI layout in `directory` (OCI image specification 1.1, "Image Layout"). File names come from digests only, never from what is
 * written in the layout; links inside it are not followed.
 * @throws AirsealError LAYOUT_INVALID when there is none
 */
export async function openLayoutRepository(directory: string): Promise<StreamingRepository> {
  const root = await realDirectory(directory)
  const path = join(root, 'oci-layout')
  const layout = await readRegular(path, 4_096)
  if (layout === null)
    throw new AirsealError('LAYOUT_INVALID', `"${directory}" holds no file oci-layout`)
  checkLayoutFile(layout, path)
  for (const each of [join(root, 'blobs'), join(root, 'blobs', 'sha256')]) {
    if (!(await isDirectory(each)))
      throw new AirsealError('LAYOUT_INVALID', `${each} is not a directory`)
  }
  return new LayoutRepository(root, false)
}

class LayoutRepository implements StreamingRepository {
  readonly kind = 'layout'
  readonly exclusive = true
  readonly identity: string
  readonly location: string
  readonly #root: string

  /** True inside {@link exclusively}: the lock is held already. */
  readonly #locked: boolean

  constructor(root: string, locked: boolean) {
    this.#root = root
    this.#locked = locked
    this.identity = basename(root)
    this.location = `oci:${root}`
  }

  async resolveTag(tag: string): Promise<Descriptor> {
    const stored = await this.readManifestByTag(tag)
    if (stored === null) throw this.#notFound(`tag ${tag.slice(0, 128)}`)
    return stored.descriptor
  }

  async resolveOnly(): Promise<Descriptor> {
    const index = await this.#index()
    const found = new Map<Digest, Descriptor>()
    for (const entry of index.entries) if (!isAbout(entry)) found.set(entry.digest, entry)
    const images: Descriptor[] = []
    for (const { digest, mediaType } of found.values()) {
      const { descriptor, manifest } = await this.#read(digest, mediaType)
      if (manifest.subject === undefined) images.push(descriptor)
    }
    const [only, ...others] = images
    if (only === undefined) throw this.#notFound('image')
    if (others.length > 0) {
      throw new AirsealError(
        'DIGEST_REQUIRED',
        `${this.location} holds ${images.length} images: name one by tag or digest`,
      )
    }
    return only
  }

  readManifest(digest: Digest): Promise<StoredManifest> {
    return this.#read(digest, '')
  }

  async readManifestByTag(tag: string): Promise<StoredManifest | null> {
    if (!isTag(tag))
      throw new AirsealError('REFERENCE_INVALID', `"${tag.slice(0, 128)}" is not a tag`)
    const entry = findTag(await this.#index(), tag)
    return entry === null ? null : this.#read(entry.digest, entry.mediaType)
  }

  hasManifest(digest: Digest): Promise<boolean> {
    return isRegular(this.#path(digest))
  }

  async readBlob(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
  ): Promise<Uint8Array> {
    if (size > maxBytes) {
      throw new AirsealError(
        'TOO_LARGE',
        `blob ${digest} has ${size} bytes, at most ${maxBytes} are read`,
      )
    }
    const bytes = await this.#blob(digest, maxBytes)
    if (bytes === null) throw this.#notFound(`blob ${digest}`)
    if (bytes.length !== size) {
      throw new AirsealError(
        'DIGEST_MISMATCH',
        `${digest} in ${this.location} has another size than was stated`,
      )
    }
    return bytes
  }

  hasBlob(digest: Digest): Promise<boolean> {
    return isRegular(this.#path(digest))
  }

  async writeBlob(bytes: Uint8Array): Promise<{ digest: Digest; size: number }> {
    const digest = digestOf(bytes)
    const there = await readRegular(this.#path(digest), bytes.length).catch(() => null)
    // What is there with other bytes was damaged: it is replaced.
    if (there === null || digestOf(there) !== digest) await writeWhole(this.#path(digest), bytes)
    return { digest, size: bytes.length }
  }

  streamBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>): AsyncIterable<Uint8Array> {
    const { digest } = descriptor
    const missing = this.#notFound(`blob ${digest}`)
    return checkedChunks(streamRegular(this.#path(digest), missing), descriptor, this.location)
  }

  async writeBlobFrom({ digest, size, open }: BlobStream): Promise<'written' | 'present'> {
    const there = await sizeOfRegular(this.#path(digest))
    if (there === size) return 'present'
    await writeWhole(this.#path(digest), checkedChunks(open(), { digest, size }, 'the source'))
    return 'written'
  }

  /** A layout is one repository: there is no other to take it from. */
  mountBlob(): Promise<boolean> {
    return Promise.resolve(false)
  }

  deleteManifest(): Promise<boolean> {
    return Promise.resolve(false)
  }

  async writeManifest(bytes: Uint8Array, mediaType: string, target: string): Promise<Descriptor> {
    const digest = digestOf(bytes)
    if (isDigest(target) ? target !== digest : !isTag(target)) {
      throw new AirsealError(
        'REFERENCE_INVALID',
        `"${target.slice(0, 128)}" is neither a tag nor the digest of the manifest`,
      )
    }
    const manifest = parseManifest(bytes, mediaType)
    await this.writeBlob(bytes)
    const { annotations, artifactType } = manifest
    const descriptor = {
      mediaType,
      digest,
      size: bytes.length,
      annotations,
      ...(artifactType === undefined ? {} : { artifactType }),
    }
    if (!isDigest(target)) await this.#enter(descriptor, target)
    return descriptor
  }

  async listImage(descriptor: Descriptor): Promise<void> {
    const list = async () => {
      const path = join(this.#root, 'index.json')
      await writeWhole(path, withImage(await this.#index(), descriptor))
    }
    await (this.#locked ? list() : withLayoutLock(this.#root, list))
  }

  async referrers(digest: Digest): Promise<Referrers> {
    const descriptors: Descriptor[] = []
    const index = await this.#index()
    // cosign's `save` stores bundles, and then lists only the image.
    const unlisted = isSaved(index) ? await manifestsNaming(this.#root, digest) : []
    for (const each of new Set([...manifestDigests(index), ...unlisted])) {
      const stored = await this.#readIfGood(each)
      if (stored?.manifest.subject?.digest === digest) descriptors.push(stored.descriptor)
    }
    return { descriptors, fallback: false }
  }

  async addReferrer({ descriptor, manifest, blobs }: Referrer): Promise<void> {
    for (const blob of blobs) await this.writeBlob(blob)
    await this.writeBlob(manifest)
    await this.#enter(descriptor, undefined)
  }

  /** One lock for the whole layout, since index.json is one file. */
  exclusively<T>(_tag: string, work: (inside: Repository) => Promise<T>): Promise<T> {
    return this.#locked
      ? work(this)
      : withLayoutLock(this.#root, () => work(new LayoutRepository(this.#root, true)))
  }

  async #enter(descriptor: Descriptor, tag: string | undefined): Promise<void> {
    const enter = async () => {
      await writeWhole(
        join(this.#root, 'index.json'),
        withEntry(await this.#index(), descriptor, tag),
      )
    }
    await (this.#locked ? enter() : withLayoutLock(this.#root, enter))
  }

  async #index(): Promise<LayoutIndex> {
    const path = join(this.#root, 'index.json')
    const bytes = await readRegular(path, MAX_MANIFEST)
    if (bytes === null)
      throw new AirsealError('LAYOUT_INVALID', `${this.location} holds no file index.json`)
    return parseLayoutIndex(bytes, path)
  }

  async #read(digest: Digest, mediaType: string): Promise<StoredManifest> {
    const bytes = await this.#blob(digest, MAX_MANIFEST)
    if (bytes === null) throw this.#notFound(`manifest ${digest}`)
    const manifest = parseManifest(bytes, mediaType)
    const { annotations, artifactType } = manifest
    const descriptor = { mediaType: manifest.mediaType, digest, size: bytes.length, annotations }
    return {
      descriptor: artifactType === undefined ? descriptor : { ...descriptor, artifactType },
      bytes,
      manifest,
    }
  }

  /** Null for an entry that is no manifest we read or is not there: one bad entry does not hide the others. */
  async #readIfGood(digest: Digest): Promise<StoredManifest | null> {
    try {
      return await this.#read(digest, '')
    } catch (error) {
      const code = error instanceof AirsealError ? error.code : undefined
      if (code === 'IMAGE_NOT_FOUND' || code === 'MANIFEST_INVALID') return null
      throw error
    }
  }

  async #blob(digest: Digest, maxBytes: number): Promise<Uint8Array | null> {
    const bytes = await readRegular(this.#path(digest), maxBytes)
    if (bytes !== null && digestOf(bytes) !== digest) {
      throw new AirsealError('DIGEST_MISMATCH', `${digest} in ${this.location} holds other bytes`)
    }
    return bytes
  }

  #path(digest: Digest): string {
    return join(this.#root, 'blobs', 'sha256', digestHex(digest))
  }

  #notFound(what: string): AirsealError {
    return new AirsealError('IMAGE_NOT_FOUND', `${this.location} has no ${what}`)
  }
}
