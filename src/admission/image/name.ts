import { AirsealError, parseDigest, type Digest } from '../../core/index.ts'

/** An image as Kyverno reads it: the registry is filled in, `library/` is not, and no tag and no digest means `latest`. */
export interface ImageName {
  /** `docker.io` when none is written. */
  readonly registry: string
  /** Repository without registry. */
  readonly path: string
  /** Last part of the path. */
  readonly name: string
  /** Empty when only a digest is given. */
  readonly tag: string
  readonly digest: Digest | null
}

const DEFAULT_REGISTRY = 'docker.io'
const MAX_TEXT = 1_024
const PATH =
  /^[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const REGISTRY =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/

/**
 * Reads the image of a container.
 * @throws AirsealError REFERENCE_INVALID for what the kubelet would not pull either
 */
export function parseImageName(text: string): ImageName {
  const fail = (why: string): AirsealError =>
    new AirsealError('REFERENCE_INVALID', `image "${text.slice(0, 120)}" ${why}`)
  if (text.length > MAX_TEXT) throw fail('is too long')
  const at = text.indexOf('@')
  const digest = at === -1 ? null : parseDigest(text.slice(at + 1))
  const named = at === -1 ? text : text.slice(0, at)
  const full = withRegistry(named)
  const slash = full.indexOf('/')
  const registry = full.slice(0, slash)
  const rest = full.slice(slash + 1)
  const colon = rest.lastIndexOf(':')
  const path = colon === -1 ? rest : rest.slice(0, colon)
  const tag = colon === -1 ? (digest === null ? 'latest' : '') : rest.slice(colon + 1)
  if (!REGISTRY.test(registry)) throw fail('names no registry')
  if (path.length > 255 || !PATH.test(path)) throw fail('names no repository')
  if (colon !== -1 && !TAG.test(tag)) throw fail('has a malformed tag')
  return { registry, path, name: path.slice(path.lastIndexOf('/') + 1), tag, digest }
}

/** The first part is a registry when it has a dot, a colon or an upper-case letter, or is `localhost`. */
function withRegistry(text: string): string {
  const slash = text.indexOf('/')
  const first = slash === -1 ? '' : text.slice(0, slash)
  const isRegistry =
    slash !== -1 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())
  return isRegistry ? text : `${DEFAULT_REGISTRY}/${text}`
}

/** As policies match it: with a digest, the tag is left out. */
export function imageText({ registry, path, tag, digest }: ImageName): string {
  return digest === null ? `${registry}/${path}:${tag}` : `${registry}/${path}@${digest}`
}

/** Everything that is written, tag and digest. */
export function fullImageText({ registry, path, tag, digest }: ImageName): string {
  return `${registry}/${path}${tag === '' ? '' : `:${tag}`}${digest === null ? '' : `@${digest}`}`
}

/** The members that variables see under `images.containers.NAME`. */
export function imageMembers(image: ImageName, pointer: string): Record<string, string> {
  const { registry, path, name, tag, digest } = image
  return {
    registry,
    path,
    name,
    ...(tag === '' ? {} : { tag }),
    ...(digest === null ? {} : { digest }),
    reference: imageText(image),
    referenceWithTag: `${registry}/${path}:${tag}`,
    jsonPointer: pointer,
  }
}
