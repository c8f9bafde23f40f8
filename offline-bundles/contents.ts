import { canonicalJson, utf8, type Digest, type JsonObject } from '../src/core/index.ts'
import { isTag } from '../src/oci/index.ts'
import { LIMITS } from './limits.ts'
import { isFileName } from './names.ts'
import { Reader } from './reading.ts'

/** A manifest that the bundle carries (or leaves out) for one repository. */
export interface Named {
  /** Path in the receiving registry, below its prefix. */
  readonly repository: string
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
}

export interface ContentImage extends Named {
  readonly tag: string | null
  /** Where the sender took it from, for people. */
  readonly from: string
}

const ATTACHED = ['sig', 'att', 'sbom', 'referrer'] as const
export type AttachedKind = (typeof ATTACHED)[number]

/** Something that is said about an image: under a tag of cosign's, or as a manifest with a subject. */
export interface Attached extends Named {
  readonly kind: AttachedKind
  readonly subject: Digest
}

/** A blob or manifest. Under `omitted` the base brought it, and it is not on the medium. */
export interface ContentPiece {
  readonly digest: Digest
  readonly size: number
  /** A repository that needs it, or into which the base put it. */
  readonly repository: string
}

export interface ContentFile {
  readonly name: string
  readonly digest: Digest
  readonly size: number
}

/** What a bundle holds; FORMAT.md §4. Its digest is the content root. */
export interface Contents {
  readonly images: readonly ContentImage[]
  readonly attached: readonly Attached[]
  /** Blobs and manifests on the medium, each once, with a repository that needs it. */
  readonly blobs: readonly ContentPiece[]
  readonly omitted: readonly ContentPiece[]
  /** Children of indexes that were left out by choice of platform. */
  readonly absent: readonly Digest[]
  /** Files below log/, trust/ and policies/. */
  readonly files: readonly ContentFile[]
}

const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/

export function isRepositoryName(text: string): boolean {
  return text.length <= 200 && REPOSITORY.test(text)
}

/** Canonical JSON of the contents, everything sorted: the same content gives the same bytes. */
export function contentsBytes(contents: Contents): Uint8Array {
  const sorted = <T>(items: readonly T[], key: (item: T) => string): T[] =>
    [...items].sort((a, b) => (key(a) < key(b) ? -1 : 1))
  const json: JsonObject = {
    format: 1,
    images: sorted(
      contents.images,
      (each) => `${each.repository} ${each.tag ?? ''} ${each.digest}`,
    ).map((each) => ({ ...each })),
    attached: sorted(
      contents.attached,
      (each) => `${each.repository} ${each.subject} ${each.kind} ${each.digest}`,
    ).map((each) => ({ ...each })),
    blobs: sorted(contents.blobs, ({ digest }) => digest).map((each) => ({ ...each })),
    omitted: sorted(contents.omitted, ({ digest }) => digest).map((each) => ({ ...each })),
    absent: [...contents.absent].sort(),
    files: sorted(contents.files, ({ name }) => name).map((each) => ({ ...each })),
  }
  return utf8(`${canonicalJson(json)}\n`)
}

/** @throws AirsealError MEDIUM_INVALID */
export function parseContents(bytes: Uint8Array): Contents {
  const reader = Reader.parse(bytes, 'contents.json')
  if (reader.raw('format') !== 1) throw reader.fail('has another format than 1')
  reader.only('format', 'images', 'attached', 'blobs', 'omitted', 'absent', 'files')
  const contents: Contents = {
    images: reader.objects('images', LIMITS.images).map((item) => ({
      ...named(item.only('repository', 'digest', 'mediaType', 'size', 'tag', 'from')),
      tag: item.has('tag') ? tagOf(item) : null,
      from: item.text('from'),
    })),
    attached: reader.objects('attached', LIMITS.files).map((item) => {
      item.only('repository', 'digest', 'mediaType', 'size', 'kind', 'subject')
      const kind = ATTACHED.find((one) => one === item.raw('kind'))
      if (kind === undefined) throw item.fail('has an unknown kind')
      return { ...named(item), kind, subject: item.digest('subject') }
    }),
    blobs: reader.objects('blobs', LIMITS.files).map(piece),
    omitted: reader.objects('omitted', LIMITS.files).map(piece),
    absent: reader.digests('absent', LIMITS.files),
    files: reader.objects('files', LIMITS.files).map((item) => ({
      name: fileName(item.only('name', 'digest', 'size')),
      digest: item.digest('digest'),
      size: item.whole('size'),
    })),
  }
  for (const list of [contents.blobs, contents.omitted]) {
    if (new Set(list.map(({ digest }) => digest)).size !== list.length)
      throw reader.fail('lists a digest twice')
  }
  if (new Set(contents.files.map(({ name }) => name)).size !== contents.files.length)
    throw reader.fail('lists a file twice')
  const tags = contents.images.flatMap(({ repository, tag }) =>
    tag === null ? [] : [`${repository}:${tag}`],
  )
  if (new Set(tags).size !== tags.length) throw reader.fail('gives one tag to two images')
  return contents
}

function piece(item: Reader): ContentPiece {
  return {
    digest: item.only('digest', 'size', 'repository').digest('digest'),
    size: item.whole('size'),
    repository: repositoryOf(item),
  }
}

function named(item: Reader): Named {
  return {
    repository: repositoryOf(item),
    digest: item.digest('digest'),
    mediaType: item.text('mediaType', undefined, 255),
    size: item.whole('size'),
  }
}

function repositoryOf(item: Reader): string {
  const text = item.text('repository')
  if (!isRepositoryName(text)) throw item.fail('has no proper repository')
  return text
}

function tagOf(item: Reader): string {
  const tag = item.text('tag')
  if (!isTag(tag)) throw item.fail('has no proper tag')
  return tag
}

function fileName(item: Reader): string {
  const name = item.text('name')
  if (!isFileName(name)) throw item.fail('names no file of a bundle')
  return name
}
