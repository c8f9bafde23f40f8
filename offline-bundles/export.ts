import { lstat, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { AirsealError, digestHex, digestOf, utf8, type Digest } from '../src/core/index.ts'
import { parseManifest } from '../src/oci/index.ts'
import { collectImages, type Collected, type ExportImage } from './collect.ts'
import { contentsBytes, type ContentFile, type Contents } from './contents.ts'
import { DurableWriter, syncDirectory } from './durable.ts'
import { parseHeader, type Header, type Kind } from './header.ts'
import { LAYOUT_FILE, planLayouts, type PlannedLayout } from './layouts.ts'
import { consistencyBytes, ENTRIES_A_FILE, entriesBytes } from './log-part.ts'
import { chunksOfFile } from './medium-files.ts'
import {
  CHECKPOINT,
  CONSISTENCY,
  CONTENTS,
  entriesName,
  HEADER,
  SUMS,
  trustName,
  volumeName,
} from './names.ts'
import type { Progress } from './progress.ts'
import type { LogSnapshot, Preparation, SenderSite, Unfinished } from './sender.ts'
import { planVolumes } from './volumes.ts'
import { writeVolumes, type SourceFile } from './write-volumes.ts'

export interface ExportRequest {
  readonly images: readonly ExportImage[]
  /** Directory to be made. */
  readonly output: string
  readonly kind: Kind
  /** Null: the only one there is, else anyone. */
  readonly target: string | null
  readonly platforms: readonly string[]
  /** Bytes of a volume; null: one directory. */
  readonly capacity: number | null
  readonly label: string | null
  readonly progress: Progress
}

export interface ExportResult {
  readonly header: Header
  readonly digest: Digest
  readonly output: string
  /** Bytes of all volumes. */
  readonly bytes: number
  /** True when an interrupted export was finished instead of making a new one. */
  readonly finished: boolean
}

/**
 * Makes a bundle. Nothing bears the name `output` before everything is durable; what an interrupted run left beside it
 * (`OUTPUT.partial`) is checked and used by the next one.
 * @throws AirsealError USAGE when `output` exists, TRANSFER_UNFINISHED, TRANSFER_BASE, STORAGE, STORAGE_FULL, and what sources throw
 */
export async function exportBundle(
  site: SenderSite,
  request: ExportRequest,
): Promise<ExportResult> {
  const output = resolve(request.output)
  const partial = `${output}.partial`
  const { progress } = request
  const prepared = await site.prepare(request.target, request.kind)
  if (prepared.unfinished !== null) {
    const done = await finishEarlier(site, prepared, prepared.unfinished, output, request.kind)
    if (done !== null) return done
  }
  if ((await lstat(output).catch(() => null)) !== null)
    throw new AirsealError('USAGE', `${output} exists: a bundle gets a directory of its own`)
  await mkdir(partial, { recursive: true, mode: 0o755 }).catch((cause: unknown) => {
    throw new AirsealError('STORAGE', `${partial} can't be made`, { cause })
  })

  progress.step('collecting images', 0)
  const spool = new DurableWriter(join(partial, 'spool'))
  const collected = await collectImages(request.images, {
    platforms: request.platforms,
    keep: async ({ descriptor, bytes }) => {
      await spool.write(digestHex(descriptor.digest), bytes)
    },
    onImage: () => undefined,
  })
  const snapshot = await site.snapshot()
  progress.step('collecting log entries', 0)
  const documents = await documentsOf(site, prepared, snapshot, collected, spool.root)
  const { contents, files } = plan(prepared, collected, documents, spool.root, request.kind)
  const contentBytes = contentsBytes(contents)
  const all = [bytesFile(CONTENTS, contentBytes), ...files]
  const volumes = planVolumes(all, request.capacity)

  progress.step(
    'writing',
    all.reduce((sum, { size }) => sum + size, 0),
  )
  const written = await writeVolumes(partial, volumes, all, progress)
  const { target } = prepared
  const directory = written[0]?.directory ?? partial
  const text = await site.seal({
    target,
    kind: request.kind,
    contents: digestOf(contentBytes),
    volumes: written.map(({ volume }) => volume),
    snapshot,
    label: request.label,
    output,
    directory,
    auditSeq: prepared.auditSeq,
  })
  return finish(site, partial, output, text, false)
}

/** A number that was taken must reach a medium: else the receiver would find a gap. */
async function finishEarlier(
  site: SenderSite,
  { target }: Preparation,
  unfinished: Unfinished,
  output: string,
  kind: Kind,
): Promise<ExportResult | null> {
  const { sequence, header } = unfinished
  const there = await readFile(join(await firstVolume(unfinished.output), HEADER)).catch(() => null)
  if (there?.toString() === header) {
    await site.written(target, sequence)
    return unfinished.output === output ? resultOf(header, output, true) : null
  }
  if (unfinished.output === output) {
    const partial = `${output}.partial`
    if (await isWhole(partial, parseHeader(utf8(header)).header))
      return finish(site, partial, output, header, true)
  }
  if (kind === 'rebase') return null
  throw new AirsealError(
    'TRANSFER_UNFINISHED',
    `bundle ${sequence} for ${target} was signed, but its medium was not finished: run the export to ${unfinished.output} again; if ${unfinished.output}.partial is lost, export with --kind rebase`,
  )
}

/** Puts the header onto every volume, then gives the whole its name. */
async function finish(
  site: SenderSite,
  partial: string,
  output: string,
  text: string,
  finished: boolean,
): Promise<ExportResult> {
  const { header } = parseHeader(utf8(text))
  await rm(join(partial, 'spool'), { recursive: true, force: true })
  const directories =
    header.volumes.length === 1
      ? [partial]
      : header.volumes.map((_, at) => join(partial, volumeName(at + 1)))
  for (const directory of directories) {
    const writer = new DurableWriter(directory)
    await writer.write(HEADER, utf8(text))
    await writer.sync()
  }
  await rename(partial, output).catch((cause: unknown) => {
    throw new AirsealError('STORAGE', `${partial} can't be renamed to ${output}`, { cause })
  })
  await syncDirectory(dirname(output))
  await site.written(header.target, header.sequence)
  return resultOf(text, output, finished)
}

function resultOf(text: string, output: string, finished: boolean): ExportResult {
  const { header, digest } = parseHeader(utf8(text))
  const bytes = header.volumes.reduce((sum, volume) => sum + volume.bytes, 0)
  return { header, digest, output, bytes, finished }
}

async function firstVolume(output: string): Promise<string> {
  const one = await lstat(join(output, HEADER)).catch(() => null)
  return one === null ? join(output, volumeName(1)) : output
}

/** Every volume has the SHA256SUMS of the header; they were written after the files they list. */
async function isWhole(partial: string, { volumes }: Header): Promise<boolean> {
  for (const [at, { sums }] of volumes.entries()) {
    const directory = volumes.length === 1 ? partial : join(partial, volumeName(at + 1))
    const bytes = await readFile(join(directory, SUMS)).catch(() => null)
    if (bytes === null || digestOf(bytes) !== sums) return false
  }
  return true
}

/** Log part, trust part and policies. */
async function documentsOf(
  site: SenderSite,
  { target, trust, policies }: Preparation,
  snapshot: LogSnapshot,
  collected: Collected,
  spool: string,
): Promise<readonly SourceFile[]> {
  const keys = await searchKeys(collected, spool)
  const entries = await site.entries(keys, snapshot)
  const documents = [
    bytesFile(CHECKPOINT, utf8(snapshot.checkpoint)),
    bytesFile(CONSISTENCY, consistencyBytes(await site.consistency(target, snapshot))),
    bytesFile(trustName(trust.version), trust.bytes),
    ...[...policies].map(([name, bytes]) => bytesFile(`policies/${name}`, bytes)),
  ]
  for (let at = 0, number = 1; at < entries.length; at += ENTRIES_A_FILE, number++)
    documents.push(
      bytesFile(entriesName(number), entriesBytes(entries.slice(at, at + ENTRIES_A_FILE))),
    )
  return documents
}

/** What the log lists entries under: digests of images, and of what was signed about them. */
async function searchKeys({ manifests, attached }: Collected, spool: string): Promise<string[]> {
  const keys = new Set<string>(manifests.keys())
  for (const { digest } of attached) {
    const manifest = parseManifest(await readFile(join(spool, digestHex(digest))))
    if (manifest.kind === 'image') for (const layer of manifest.layers) keys.add(layer.digest)
  }
  return [...keys]
}

function plan(
  { base, held }: Preparation,
  collected: Collected,
  documents: readonly SourceFile[],
  spool: string,
  kind: Kind,
): { contents: Contents; files: readonly SourceFile[] } {
  const known =
    kind === 'delta' && base !== null
      ? held
      : new Map<Digest, { size: number; repository: string }>()
  const isCarried = (digest: Digest): boolean => !known.has(digest)
  const layouts = planLayouts(collected, isCarried)
  const pieces = new Map([...collected.manifests, ...collected.blobs])
  const carried = [...pieces].filter(([digest]) => isCarried(digest))
  const omitted = [...pieces].flatMap(([digest, { size }]) => {
    const there = known.get(digest)
    return there === undefined ? [] : [{ digest, size, repository: there.repository }]
  })
  const contents: Contents = {
    images: collected.images,
    attached: unique(collected.attached),
    blobs: carried.map(([digest, { size, repositories }]) => {
      const [repository = ''] = repositories
      return { digest, size, repository }
    }),
    omitted,
    absent: [...collected.absent].filter((digest) => !pieces.has(digest)),
    files: documents.map(({ name, size, digest }): ContentFile => ({ name, size, digest })),
  }
  return { contents, files: [...documents, ...imageFiles(layouts, collected, isCarried, spool)] }
}

/** The same thing may be found by way of two images. */
function unique(attached: Collected['attached']): Collected['attached'] {
  return [...new Map(attached.map((each) => [JSON.stringify(each), each])).values()]
}

/** Small things first: the first volume then tells everything but layers. */
function imageFiles(
  layouts: readonly PlannedLayout[],
  { manifests, blobs }: Collected,
  isCarried: (digest: Digest) => boolean,
  spool: string,
): readonly SourceFile[] {
  const heads: SourceFile[] = []
  const named: SourceFile[] = []
  const large: SourceFile[] = []
  for (const { name, repositories, index } of layouts) {
    const isWanted = ({ repositories: of }: { repositories: ReadonlySet<string> }): boolean =>
      [...of].some((one) => repositories.has(one))
    heads.push(bytesFile(`${name}/oci-layout`, LAYOUT_FILE), bytesFile(`${name}/index.json`, index))
    const path = (digest: Digest): string => `${name}/blobs/sha256/${digestHex(digest)}`
    for (const [digest, piece] of manifests) {
      if (!isCarried(digest) || !isWanted(piece)) continue
      const kept = join(spool, digestHex(digest))
      const open = () => chunksOfFile(kept, piece.size, kept)
      named.push({ name: path(digest), size: piece.size, digest, open })
    }
    for (const [digest, piece] of blobs) {
      if (!isCarried(digest) || !isWanted(piece)) continue
      const open = () => piece.source.streamBlob({ digest, size: piece.size })
      const list = piece.size <= SMALL ? named : large
      list.push({ name: path(digest), size: piece.size, digest, open })
    }
  }
  const byName = (a: SourceFile, b: SourceFile): number => (a.name < b.name ? -1 : 1)
  return [...heads, ...named.sort(byName), ...large.sort(byName)]
}

/** Configurations, signatures and SBOMs; layers are larger. Bytes. */
const SMALL = 1024 * 1024

function bytesFile(name: string, bytes: Uint8Array): SourceFile {
  async function* open(): AsyncIterable<Uint8Array> {
    yield await Promise.resolve(bytes)
  }
  return { name, size: bytes.length, digest: digestOf(bytes), open }
}
