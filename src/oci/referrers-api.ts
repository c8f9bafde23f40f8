import { AirsealError, type Digest } from '../core/index.ts'
import { errorCode, type RegistryClient } from './client.ts'
import { MAX_ENTRIES, MAX_MANIFEST, parseManifest, type Descriptor } from './manifest.ts'
import { MEDIA_TYPES } from './media-types.ts'

const MAX_PAGES = 20
/** Answers of registries without this API: unknown path, refused path, refused Accept, refused method. */
const ABSENT = new Set([400, 404, 405, 406])

/**
 * Referrers of `subject` as the registry lists them (OCI distribution specification 1.1, "Listing Referrers"), not filtered by type;
 * null when it has no such API. Pages are followed on the same path only.
 * @throws AirsealError TOO_LARGE beyond 1000 entries or 20 pages, REGISTRY_REFUSED for a page elsewhere or one that was there already
 */
export async function listReferrers(
  client: RegistryClient,
  base: string,
  subject: Digest,
): Promise<readonly Descriptor[] | null> {
  const start = `${base}/referrers/${subject}`
  const seen = new Set<string>()
  const listed: Descriptor[] = []
  for (let path: string | null = start; path !== null;) {
    if (seen.has(path))
      throw new AirsealError(
        'REGISTRY_REFUSED',
        `${client.origin} lists referrers in a circle (${start})`,
      )
    seen.add(path)
    const page = await readPage(client, path, start)
    if (page === null) {
      if (path === start) return null
      throw new AirsealError(
        'REGISTRY_ERROR',
        `${client.origin} lost a page of its list of referrers (${start})`,
      )
    }
    listed.push(...page.descriptors)
    if (listed.length > MAX_ENTRIES || seen.size > MAX_PAGES) {
      throw new AirsealError(
        'TOO_LARGE',
        `${subject} has too many referrers: more than ${MAX_ENTRIES}, or ${MAX_PAGES} pages`,
      )
    }
    path = page.next
  }
  return listed
}

async function readPage(client: RegistryClient, path: string, start: string) {
  const answer = await client.call({
    method: 'GET',
    path,
    headers: { accept: MEDIA_TYPES.ociIndex },
    maxBytes: MAX_MANIFEST,
  })
  if (ABSENT.has(answer.status)) return null
  if (answer.status !== 200) {
    throw new AirsealError(
      'REGISTRY_ERROR',
      `${client.origin} answered ${answer.status}${errorCode(answer)} for ${start}`,
    )
  }
  const contentType = answer.headers['content-type'] ?? ''
  if (contentType.split(';', 1)[0]?.trim().toLowerCase() !== MEDIA_TYPES.ociIndex) return null
  const manifest = parseManifest(answer.body, contentType)
  const descriptors = manifest.kind === 'index' ? manifest.manifests : []
  return { descriptors, next: nextPage(client.origin, path, start, answer.headers['link']) }
}

/** Path of the page that the Link header (RFC 8288) names as next; null when this was the last. */
function nextPage(
  origin: string,
  path: string,
  start: string,
  link: string | string[] | undefined,
): string | null {
  const text = Array.isArray(link) ? link.join(',') : link
  if (text === undefined) return null
  const target = /<([^<>]{1,4000})>\s*;[^<]*?\brel\s*=\s*"?next\b/.exec(text)?.[1]
  if (target === undefined) return null
  const next = URL.canParse(target, origin + path) ? new URL(target, origin + path) : undefined
  if (next?.origin !== origin || next.pathname !== start) {
    throw new AirsealError(
      'REGISTRY_REFUSED',
      `${origin} lists referrers on a page elsewhere (${start})`,
    )
  }
  return next.pathname + next.search
}
