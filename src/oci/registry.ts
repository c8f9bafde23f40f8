import { AirsealError, digestOf, isDigest, type Digest } from '../core/index.ts'
import { createClient, errorCode, type RegistryClient } from './client.ts'
import { delay, serialised } from './concurrency.ts'
import { checkAllowed } from './hosts.ts'
import type { HttpAnswer } from './http.ts'
import { MAX_MANIFEST, parseManifest, type Descriptor } from './manifest.ts'
import { MANIFEST_KINDS } from './media-types.ts'
import { isTag, type RegistryReference } from './reference.ts'
import { addToFallback, readFallback } from './referrers.ts'
import { listReferrers } from './referrers-api.ts'
import type {
  BlobStream,
  Referrer,
  Referrers,
  Repository,
  StoredManifest,
  StreamingRepository,
} from './repository.ts'
import type { RegistrySettings } from './settings.ts'
import { checkedChunks } from './blob-stream.ts'
import { mountBlob, uploadBlob } from './upload.ts'

/** Tries in a row that brought not a byte. */
const MAX_IDLE_TRIES = 3
const MAX_UPLOADS = 3
const ACCEPT = [...MANIFEST_KINDS.keys()].join(', ')

/**
 * A repository of a registry that speaks the OCI distribution specification 1.0 or 1.1. Nothing is requested yet.
 * @param options - `signal` ends what is under way
 * @throws AirsealError REGISTRY_REFUSED when the settings shut the registry out
 */
export function openRegistryRepository(
  reference: Pick<RegistryReference, 'registry' | 'repository'>,
  settings: RegistrySettings,
  options: { readonly signal?: AbortSignal } = {},
): StreamingRepository {
  const { registry, repository } = reference
  checkAllowed(registry, settings)
  return new RegistryRepository(
    registry,
    repository,
    createClient({ registry, repository }, settings, options.signal),
  )
}

class RegistryRepository implements StreamingRepository {
  readonly kind = 'registry'
  readonly exclusive = false
  readonly identity: string
  readonly location: string
  readonly #client: RegistryClient
  readonly #base: string

  constructor(registry: string, repository: string, client: RegistryClient) {
    this.identity = `${registry}/${repository}`
    this.location = this.identity
    this.#client = client
    this.#base = `/v2/${repository}`
  }

  async resolveTag(tag: string): Promise<Descriptor> {
    const stored = await this.readManifestByTag(tag)
    if (stored === null) throw this.#notFound(`tag ${tag.slice(0, 128)}`)
    return stored.descriptor
  }

  resolveOnly(): Promise<Descriptor> {
    return Promise.reject(
      new AirsealError('DIGEST_REQUIRED', `${this.location} is named without digest or tag`),
    )
  }

  async readManifest(digest: Digest): Promise<StoredManifest> {
    const stored = await this.#manifest(digest)
    if (stored === null) throw this.#notFound(`manifest ${digest}`)
    if (stored.descriptor.digest !== digest) throw this.#mismatch(digest, stored.descriptor.digest)
    return stored
  }

  async readManifestByTag(tag: string): Promise<StoredManifest | null> {
    if (!isTag(tag))
      throw new AirsealError('REFERENCE_INVALID', `"${tag.slice(0, 128)}" is not a tag`)
    return this.#manifest(tag)
  }

  async hasManifest(digest: Digest): Promise<boolean> {
    const answer = await this.#client.call({
      method: 'HEAD',
      path: `${this.#base}/manifests/${digest}`,
      headers: { accept: ACCEPT },
    })
    return this.#exists(answer, `manifest ${digest}`)
  }

  async readBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    maxBytes: number,
  ): Promise<Uint8Array> {
    const { digest, size } = descriptor
    if (size > maxBytes) {
      throw new AirsealError(
        'TOO_LARGE',
        `blob ${digest} has ${size} bytes, at most ${maxBytes} are read`,
      )
    }
    const answer = await this.#client.call({
      method: 'GET',
      path: `${this.#base}/blobs/${digest}`,
      // Room for the body of an error; what goes beyond the size that was declared is refused below.
      maxBytes: Math.max(size, 65_536),
      blob: true,
    })
    if (answer.status === 404) throw this.#notFound(`blob ${digest}`)
    this.#expect(answer, 200, `blob ${digest}`)
    const actual = digestOf(answer.body)
    if (actual !== digest || answer.body.length !== size) throw this.#mismatch(digest, actual)
    return answer.body
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    const answer = await this.#client.call({
      method: 'HEAD',
      path: `${this.#base}/blobs/${digest}`,
      blob: true,
    })
    return this.#exists(answer, `blob ${digest}`)
  }

  async writeBlob(bytes: Uint8Array): Promise<{ digest: Digest; size: number }> {
    const digest = digestOf(bytes)
    if (!(await this.hasBlob(digest))) {
      const answer = await uploadBlob(this.#client, this.#base, digest, bytes)
      this.#expect(answer, 201, `upload of blob ${digest}`)
    }
    return { digest, size: bytes.length }
  }

  streamBlob(descriptor: Pick<Descriptor, 'digest' | 'size'>): AsyncIterable<Uint8Array> {
    return checkedChunks(this.#blobChunks(descriptor), descriptor, this.location)
  }

  /** Goes on where a connection broke off, as long as each try brings something. */
  async *#blobChunks({ digest, size }: Pick<Descriptor, 'digest' | 'size'>) {
    let at = 0
    for (let idle = 0; ;) {
      const answer = await this.#client.call({
        method: 'GET',
        path: `${this.#base}/blobs/${digest}`,
        ...(at === 0 ? {} : { headers: { range: `bytes=${at}-${size - 1}` } }),
        blob: true,
        streaming: true,
      })
      if (answer.status === 404) throw this.#notFound(`blob ${digest}`)
      if (answer.status !== 206) this.#expect(answer, 200, `blob ${digest}`)
      let skip = answer.status === 206 ? 0 : at
      const before = at
      try {
        for await (const chunk of answer.stream ?? []) {
          const fresh = chunk.subarray(Math.min(skip, chunk.length))
          skip -= chunk.length - fresh.length
          at += fresh.length
          if (fresh.length > 0) yield fresh
        }
        return
      } catch (error) {
        const cut = error instanceof AirsealError && error.code === 'REGISTRY_UNREACHABLE'
        idle = at > before ? 0 : idle + 1
        if (!cut || idle === MAX_IDLE_TRIES || at >= size) throw error
      }
    }
  }

  async writeBlobFrom({ digest, size, open }: BlobStream): Promise<'written' | 'present'> {
    if (await this.hasBlob(digest)) return 'present'
    for (let tried = 1; ; tried++) {
      try {
        const body = { size, open: () => checkedChunks(open(), { digest, size }, 'the source') }
        // For each megabyte another second: a line slower than that is taken for dead.
        const timeoutMs = 60_000 + size / 1_000
        const answer = await uploadBlob(this.#client, this.#base, digest, body, timeoutMs)
        this.#expect(answer, 201, `upload of blob ${digest}`)
        return 'written'
      } catch (error) {
        const cut = error instanceof AirsealError && error.code === 'REGISTRY_UNREACHABLE'
        if (!cut || tried === MAX_UPLOADS) throw error
        await delay(200 * 2 ** tried)
      }
    }
  }

  mountBlob(digest: Digest, from: string): Promise<boolean> {
    return mountBlob(this.#client, this.#base, digest, from)
  }

  async deleteManifest(digest: Digest): Promise<boolean> {
    const path = `${this.#base}/manifests/${digest}`
    const answer = await this.#client.call({ method: 'DELETE', path, push: true, again: false })
    return answer.status === 202 || answer.status === 404
  }

  async writeManifest(bytes: Uint8Array, mediaType: string, target: string): Promise<Descriptor> {
    return (await this.#putManifest(bytes, mediaType, target)).descriptor
  }

  async referrers(digest: Digest): Promise<Referrers> {
    const listed = await listReferrers(this.#client, this.#base, digest)
    if (listed !== null && listed.length > 0) return { descriptors: listed, fallback: false }
    // Also when the registry lists nothing: it may have learnt to after the referrers were pushed.
    const descriptors = await readFallback(this, digest)
    return { descriptors, fallback: listed === null || descriptors.length > 0 }
  }

  async addReferrer({ descriptor, manifest, blobs, subject }: Referrer): Promise<void> {
    for (const blob of blobs) await this.writeBlob(blob)
    const { answer } = await this.#putManifest(manifest, descriptor.mediaType, descriptor.digest)
    if (answer.headers['oci-subject'] === subject) return
    const listed = await listReferrers(this.#client, this.#base, subject)
    if (listed?.some(({ digest }) => digest === descriptor.digest) === true) return
    await addToFallback(this, subject, descriptor)
  }

  exclusively<T>(tag: string, work: (inside: Repository) => Promise<T>): Promise<T> {
    return serialised(`${this.location}:${tag}`, () => work(this))
  }

  async #manifest(target: string): Promise<StoredManifest | null> {
    const answer = await this.#client.call({
      method: 'GET',
      path: `${this.#base}/manifests/${target}`,
      headers: { accept: ACCEPT },
      maxBytes: MAX_MANIFEST,
    })
    if (answer.status === 404) return null
    const what = `manifest ${target}`
    this.#expect(answer, 200, what)
    const bytes = answer.body
    const digest = digestOf(bytes)
    this.#checkStated(answer, digest)
    if (isDigest(target) && target !== digest) throw this.#mismatch(target, digest)
    const manifest = parseManifest(bytes, answer.headers['content-type'] ?? '')
    const { mediaType, annotations, artifactType } = manifest
    const descriptor = { mediaType, digest, size: bytes.length, annotations }
    return {
      descriptor: artifactType === undefined ? descriptor : { ...descriptor, artifactType },
      bytes,
      manifest,
    }
  }

  async #putManifest(bytes: Uint8Array, mediaType: string, target: string) {
    const digest = digestOf(bytes)
    if (isDigest(target) ? target !== digest : !isTag(target)) {
      throw new AirsealError(
        'REFERENCE_INVALID',
        `"${target.slice(0, 128)}" is neither a tag nor the digest of the manifest`,
      )
    }
    const answer = await this.#client.call({
      method: 'PUT',
      path: `${this.#base}/manifests/${target}`,
      headers: { 'content-type': mediaType },
      body: bytes,
      push: true,
      // A tag written late by a second try would undo what others wrote since.
      again: isDigest(target),
    })
    this.#expect(answer, 201, `push of manifest ${target}`)
    this.#checkStated(answer, digest)
    const { annotations } = parseManifest(bytes, mediaType)
    return { answer, descriptor: { mediaType, digest, size: bytes.length, annotations } }
  }

  #exists(answer: HttpAnswer, what: string): boolean {
    if (answer.status === 404) return false
    this.#expect(answer, 200, what)
    return true
  }

  #expect(answer: HttpAnswer, status: number, what: string): void {
    if (answer.status === status || (answer.status === 200 && status === 201)) return
    throw new AirsealError(
      'REGISTRY_ERROR',
      `${this.location} answered ${answer.status}${errorCode(answer)} for ${what}`,
    )
  }

  /** A registry that states another digest than its own bytes have is wrong in one of the two. */
  #checkStated(answer: HttpAnswer, digest: Digest): void {
    const stated = answer.headers['docker-content-digest']
    if (typeof stated === 'string' && isDigest(stated) && stated !== digest)
      throw this.#mismatch(stated, digest)
  }

  #notFound(what: string): AirsealError {
    return new AirsealError('IMAGE_NOT_FOUND', `${this.location} has no ${what}`)
  }

  #mismatch(wanted: string, actual: string): AirsealError {
    return new AirsealError(
      'DIGEST_MISMATCH',
      `${this.location} sent ${actual} where ${wanted} was meant`,
    )
  }
}
