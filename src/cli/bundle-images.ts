import { readFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import {
  asSavedByCosign,
  isRepositoryName,
  unpackArchive,
  type ExportImage,
} from '../../offline-bundles/index.ts'
import { AirsealError, parseDigest } from '../core/index.ts'
import {
  isTag,
  openRepository,
  parseReference,
  resolveReference,
  type Reference,
  type RegistrySettings,
} from '../oci/index.ts'
import { absoluteImage } from './image-argument.ts'

/** An image as it was asked for, with the name that it gets over there. */
export interface WantedImage {
  readonly from: string
  /** `REPOSITORY[:TAG]`; null: as it is called here. */
  readonly as: string | null
}

const MAX_LIST = 8 * 1024 * 1024

/** Lines of a list file: a reference, and optionally the name over there; `#` begins a comment. @throws AirsealError USAGE */
export async function readImageList(path: string): Promise<WantedImage[]> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('USAGE', `--list ${path} can't be read`, { cause })
  })
  if (text.length > MAX_LIST) throw new AirsealError('USAGE', `--list ${path} is too long`)
  return text.split('\n').flatMap((line, at) => {
    const [from, as = null, ...rest] = line
      .replace(/(?:^|\s)#.*$/, '')
      .trim()
      .split(/\s+/)
    if (from === undefined || from === '') return []
    if (rest.length > 0)
      throw new AirsealError(
        'USAGE',
        `--list ${path}: line ${at + 1}: want REFERENCE [REPOSITORY[:TAG]]`,
      )
    return [{ from, as }]
  })
}

/** Opens where an image lies, and fixes its digest. */
export async function resolveImage(
  { from, as }: WantedImage,
  settings: RegistrySettings,
  scratch: () => Promise<string>,
): Promise<ExportImage> {
  const { text, reference } = await readName(from, scratch)
  const opened = await openRepository(reference, settings)
  const source =
    reference.kind === 'layout' ? await asSavedByCosign(opened, reference.directory) : opened
  const { digest } = await resolveReference(source, reference)
  const named = text.startsWith(ARCHIVE)
    ? { ...reference, directory: archiveName(text).file }
    : reference
  const name = nameOverThere(named, as)
  return { ...name, from: text, digest: parseDigest(digest), source }
}

/** A tar is unpacked first: what is in it lies in a layout then. */
async function readName(
  from: string,
  scratch: () => Promise<string>,
): Promise<{ text: string; reference: Reference }> {
  if (!from.startsWith(ARCHIVE)) {
    const text = absoluteImage(from)
    return { text, reference: parseReference(text) }
  }
  const { file, tag } = archiveName(from)
  const directory = await scratch()
  await unpackArchive(file, directory)
  const reference: Reference = { kind: 'layout', directory, ...(tag === null ? {} : { tag }) }
  return { text: `${ARCHIVE}${file}${tag === null ? '' : `:${tag}`}`, reference }
}

export const ARCHIVE = 'oci-archive:'

/** File of `oci-archive:FILE[:TAG]`. @throws AirsealError USAGE */
export function archiveName(text: string): { file: string; tag: string | null } {
  const rest = text.slice(ARCHIVE.length)
  const colon = rest.lastIndexOf(':')
  const tag = colon === -1 ? '' : rest.slice(colon + 1)
  if (rest === '') throw new AirsealError('USAGE', `${text} names no file`)
  return isTag(tag)
    ? { file: resolve(rest.slice(0, colon)), tag }
    : { file: resolve(rest), tag: null }
}

function nameOverThere(
  reference: Reference,
  as: string | null,
): { repository: string; tag: string | null } {
  if (as !== null) {
    const colon = as.lastIndexOf(':')
    const [repository, tag] = colon === -1 ? [as, null] : [as.slice(0, colon), as.slice(colon + 1)]
    const parsed = parseReference(`registry.invalid/${as}`)
    if (!isRepositoryName(repository) || parsed.digest !== undefined)
      throw new AirsealError('USAGE', `"${as.slice(0, 100)}" is not REPOSITORY[:TAG]`)
    return { repository, tag }
  }
  const tag = reference.tag ?? null
  if (reference.kind === 'registry') return { repository: reference.repository, tag }
  const name = basename(reference.directory, '.tar')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return { repository: name === '' ? 'image' : name, tag }
}
