import { AirsealError, digestHex, type Digest } from '../src/core/index.ts'
import {
  MEDIA_TYPES,
  parseManifest,
  type Descriptor,
  type Referrers,
  type Repository,
  type StoredManifest,
} from '../src/oci/index.ts'
import type { Contents } from './contents.ts'
import type { Medium } from './medium.ts'

const MAX_MANIFEST = 4 * 1024 * 1024

/**
 * One repository as a bundle shows it, for those who judge: what the medium carries, and, for what a delta leaves out, the registry that
 * has the base. Everything is hashed when it is read. Nothing can be written.
 */
export class BundleRepository implements Repository {
  readonly kind = 'layout'
  readonly exclusive = true
  readonly identity: string
  readonly location: string
  readonly #medium: Medium
  readonly #contents: Contents
  readonly #name: string
  readonly #base: Repository | null

  /** @param base - where the base of a delta lies; null: it can't be asked */
  constructor(name: string, medium: Medium, contents: Contents, base: Repository | null) {
    this.#name = name
    this.#medium = medium
    this.#contents = contents
    this.#base = base
    this.identity = name
    this.location = `bundle ${medium.signed.header.sequence}: ${name}`
  }

  resolveTag(tag: string): Promise<Descriptor> {
    return this.readManifestByTag(tag).then((stored) => {
      if (stored === null) throw this.#absent(`tag ${tag}`)
      return stored.descriptor
    })
  }

  resolveOnly(): Promise<Descriptor> {
    return Promise.reject(new AirsealError('DIGEST_REQUIRED', 'a bundle is asked by digest'))
  }

  async readManifest(digest: Digest): Promise<StoredManifest> {
    if (!this.#carries(digest) && this.#base !== null) return this.#base.readManifest(digest)
    const bytes = await this.#medium.blob(digest, MAX_MANIFEST)
    const manifest = parseManifest(bytes)
    const { mediaType, annotations, artifactType } = manifest
    const descriptor = { mediaType, digest, size: bytes.length, annotations }
    return {
      descriptor: artifactType === undefined ? descriptor : { ...descriptor, artifactType },
      bytes,
      manifest,
    }
  }

  async readManifestByTag(tag: string): Promise<StoredManifest | null> {
    const { images, attached } = this.#contents
    const image = images.find((one) => one.repository === this.#name && one.tag === tag)
    const about = attached.find(
      (one) =>
        one.repository === this.#name &&
        one.kind !== 'referrer' &&
        `sha256-${digestHex(one.subject)}.${one.kind}` === tag,
    )
    const found = image ?? about
    return found === undefined ? null : this.readManifest(found.digest)
  }

  async hasManifest(digest: Digest): Promise<boolean> {
    return this.#carries(digest) || ((await this.#base?.hasManifest(digest)) ?? false)
  }

  async readBlob(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
  ): Promise<Uint8Array> {
    if (!this.#carries(digest) && this.#base !== null)
      return this.#base.readBlob({ digest, size }, maxBytes)
    const bytes = await this.#medium.blob(digest, maxBytes)
    if (bytes.length !== size)
      throw new AirsealError(
        'DIGEST_MISMATCH',
        `${digest} in ${this.location} has another size than was stated`,
      )
    return bytes
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return this.#carries(digest) || ((await this.#base?.hasBlob(digest)) ?? false)
  }

  referrers(digest: Digest): Promise<Referrers> {
    const descriptors = this.#contents.attached
      .filter(
        (one) => one.kind === 'referrer' && one.repository === this.#name && one.subject === digest,
      )
      .map((one): Descriptor => ({
        mediaType: one.mediaType === '' ? MEDIA_TYPES.ociManifest : one.mediaType,
        digest: one.digest,
        size: one.size,
        annotations: {},
      }))
    return Promise.resolve({ descriptors, fallback: false })
  }

  writeBlob(): Promise<never> {
    return Promise.reject(readOnly())
  }

  writeManifest(): Promise<never> {
    return Promise.reject(readOnly())
  }

  addReferrer(): Promise<never> {
    return Promise.reject(readOnly())
  }

  exclusively(): Promise<never> {
    return Promise.reject(readOnly())
  }

  #carries(digest: Digest): boolean {
    return this.#medium.carries(digest)
  }

  #absent(what: string): AirsealError {
    return new AirsealError('IMAGE_NOT_FOUND', `${this.location} has no ${what}`)
  }
}

function readOnly(): AirsealError {
  return new AirsealError('INTERNAL', 'a bundle is not written to')
}
