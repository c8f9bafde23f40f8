import { AirsealError, parseDigest, type Digest } from '../core/index.ts'

/** Content of a registry. */
export interface RegistryReference {
  readonly kind: 'registry'
  /** `host` or `host:port`, lower case; `index.docker.io` for Docker Hub. */
  readonly registry: string
  readonly repository: string
  /** Absent when the text names none: `latest` is never assumed. */
  readonly tag?: string
  readonly digest?: Digest
}

/** Content of an OCI layout on disk. */
export interface LayoutReference {
  readonly kind: 'layout'
  /** As written: relative paths are the caller's to resolve. */
  readonly directory: string
  readonly tag?: string
  readonly digest?: Digest
}

export type Reference = RegistryReference | LayoutReference

const HOST =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*|\[[0-9a-f:.]{2,45}\])$/
const PORT = /^[1-9][0-9]{0,4}$/
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/
const HUB = 'index.docker.io'

/** True for a tag by the grammar of the OCI distribution specification 1.1 ("Pulling manifests"). */
export function isTag(text: string): boolean {
  return TAG.test(text)
}

/**
 * Reads `host[:port]/repository[:tag][@sha256:…]`, Docker Hub's short names (`alpine` is `index.docker.io/library/alpine`, as cosign
 * has it), `oci:DIR`, `oci:DIR:tag` and `oci:DIR@sha256:…`. One spelling for one thing: whatever would be normalised on the way
 * (upper case, `127.1`, a trailing dot, a scheme) is refused.
 * @throws AirsealError REFERENCE_INVALID
 */
export function parseReference(text: string): Reference {
  if (text.length === 0 || text.length > 4_096 || CONTROL.test(text)) {
    throw invalid(text, 'is empty, too long or has control characters')
  }
  if (text.startsWith('oci:')) return parseLayout(text, text.slice('oci:'.length))
  const { name, digest } = splitDigest(text)
  const colon = name.lastIndexOf(':')
  const tagged = colon > name.lastIndexOf('/')
  const tag = tagged ? name.slice(colon + 1) : undefined
  const path = tagged ? name.slice(0, colon) : name
  if (tag !== undefined && !isTag(tag)) throw invalid(text, 'has a tag that breaks the rules')

  const slash = path.indexOf('/')
  const first = slash === -1 ? '' : path.slice(0, slash)
  const named = first === 'localhost' || /[.:]/.test(first)
  let registry = named ? first : HUB
  let repository = named ? path.slice(slash + 1) : path
  if (registry === 'docker.io') registry = HUB
  if (registry === HUB && !repository.includes('/')) repository = `library/${repository}`

  checkRegistry(registry, text)
  if (repository.length > 255 || !repository.split('/').every((part) => COMPONENT.test(part))) {
    throw invalid(text, 'has a repository that is not lower-case words joined by "/"')
  }
  return { kind: 'registry', registry, repository, ...optional(tag, digest) }
}

/** Text that {@link parseReference} reads back as the same. */
export function formatReference(reference: Reference): string {
  const name =
    reference.kind === 'layout'
      ? `oci:${reference.directory}`
      : `${reference.registry}/${reference.repository}`
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  return name + tag + (reference.digest === undefined ? '' : `@${reference.digest}`)
}

function parseLayout(text: string, rest: string): LayoutReference {
  const { name, digest } = splitDigest(rest)
  const colon = name.lastIndexOf(':')
  const tagged = colon !== -1 && isTag(name.slice(colon + 1))
  const directory = tagged ? name.slice(0, colon) : name
  if (directory === '') throw invalid(text, 'names no directory')
  return {
    kind: 'layout',
    directory,
    ...optional(tagged ? name.slice(colon + 1) : undefined, digest),
  }
}

function splitDigest(text: string): { name: string; digest: Digest | undefined } {
  const at = text.indexOf('@sha')
  if (at === -1) return { name: text, digest: undefined }
  return { name: text.slice(0, at), digest: parseDigest(text.slice(at + 1)) }
}

function checkRegistry(registry: string, text: string): void {
  const colon = registry.endsWith(']') ? -1 : registry.lastIndexOf(':')
  const host = colon === -1 ? registry : registry.slice(0, colon)
  const port = colon === -1 ? '443' : registry.slice(colon + 1)
  if (host.length > 253 || !HOST.test(host) || !PORT.test(port) || Number(port) > 65_535) {
    throw invalid(text, 'has a registry that is not host or host:port in lower case')
  }
  // `0x7f.1` and `127.1` are loopback to whoever dials: what is not written as it will be dialled is refused.
  if (!URL.canParse(`https://${host}`) || new URL(`https://${host}`).hostname !== host) {
    throw invalid(text, 'has a registry address in an unusual spelling')
  }
}

function optional(tag: string | undefined, digest: Digest | undefined) {
  return { ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}

function invalid(text: string, why: string): AirsealError {
  return new AirsealError('REFERENCE_INVALID', `image reference "${text.slice(0, 120)}" ${why}`)
}
