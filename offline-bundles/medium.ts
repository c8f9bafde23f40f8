import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { AirsealError, bytesEqual, digestOf, type Digest } from '../src/core/index.ts'
import { checkedChunks } from '../src/oci/index.ts'
import { parseHeader, type SignedHeader, type Volume } from './header.ts'
import { LIMITS } from './limits.ts'
import { chunksOfFile, listFiles, readFileOf, volumeDirectories } from './medium-files.ts'
import { blobOf, HEADER, SUMS } from './names.ts'
import { parseSums } from './sums.ts'

/** A file on one volume; nothing is known of its bytes until they are read. */
interface Piece {
  readonly name: string
  readonly digest: Digest
  readonly size: number
  readonly volume: number
  readonly path: string
  readonly shown: string
}

/** Counts bytes as they are hashed, for progress. */
export type OnBytes = (bytes: number) => void

/** The volumes of one bundle that are at hand. */
export class Medium {
  readonly signed: SignedHeader
  /** Numbers, from 1, of the volumes that are not at hand. */
  readonly missing: readonly number[]
  readonly #files: ReadonlyMap<string, Piece>
  readonly #blobs: ReadonlyMap<Digest, readonly Piece[]>
  /** Pieces of blobs of which another copy is used. */
  readonly #idle: Piece[] = []

  readonly #volumes: ReadonlyMap<number, string>

  constructor(
    signed: SignedHeader,
    pieces: readonly Piece[],
    volumes: ReadonlyMap<number, string>,
  ) {
    this.signed = signed
    this.#volumes = volumes
    this.missing = signed.header.volumes.flatMap((_, at) => (volumes.has(at + 1) ? [] : [at + 1]))
    const files = new Map<string, Piece>()
    const blobs = new Map<Digest, Piece[]>()
    for (const piece of pieces) {
      const blob = blobOf(piece.name)
      if (blob === null) {
        if (files.has(piece.name)) throw twice(piece)
        files.set(piece.name, piece)
        continue
      }
      const known = blobs.get(blob.digest) ?? []
      // The same blob may lie in several layouts; the first one serves.
      if (blob.part === null) {
        if (piece.digest !== blob.digest) throw otherName(piece)
        if (known.length === 0) blobs.set(blob.digest, [piece])
        else this.#idle.push(piece)
        continue
      }
      const isNext =
        known.length === blob.part - 1 && known.every(({ name }) => blobOf(name)?.part !== null)
      if (isNext) blobs.set(blob.digest, [...known, piece])
      else this.#idle.push(piece)
    }
    this.#files = files
    this.#blobs = blobs
  }

  get names(): readonly string[] {
    return [...this.#files.keys()]
  }

  /** Of all files at hand. */
  get bytes(): number {
    let sum = 0
    for (const { size } of this.pieces()) sum += size
    return sum
  }

  /** Blobs and manifests of which at least a part is at hand. */
  get digests(): readonly Digest[] {
    return [...this.#blobs.keys()]
  }

  /** Digest that SHA256SUMS names for a document; undefined when there is none. */
  sumOf(name: string): Digest | undefined {
    return this.#files.get(name)?.digest
  }

  /** Every file, in the order of volumes. */
  *pieces(): Iterable<Piece> {
    yield* this.#files.values()
    for (const pieces of this.#blobs.values()) yield* pieces
    yield* this.#idle
  }

  /** Hashes what importing does not read: what is for other tools. @throws AirsealError MEDIUM_DAMAGED */
  async checkRest(): Promise<void> {
    for (const piece of [...this.#files.values(), ...this.#idle]) await checkPiece(piece)
  }

  /** Volumes at hand, by number, with their directories. */
  get volumes(): ReadonlyMap<number, string> {
    return this.#volumes
  }

  carries(digest: Digest): boolean {
    return this.#blobs.has(digest)
  }

  hasBlob({ digest, size }: { readonly digest: Digest; readonly size: number }): boolean {
    const pieces = this.#blobs.get(digest) ?? []
    return pieces.length > 0 && pieces.reduce((sum, piece) => sum + piece.size, 0) === size
  }

  /** A document, its bytes as SHA256SUMS has them. @throws AirsealError MEDIUM_DAMAGED, MEDIUM_INVALID */
  async document(name: string, most: number): Promise<Uint8Array> {
    const piece = this.#files.get(name)
    if (piece === undefined) {
      const volumes =
        this.missing.length === 0 ? '' : ` (volume ${this.missing.join(', ')} is not at hand)`
      throw new AirsealError('MEDIUM_INVALID', `the bundle has no file ${name}${volumes}`)
    }
    const bytes = await readFileOf(piece.path, most, piece.shown)
    if (digestOf(bytes) !== piece.digest) throw damaged(piece)
    return bytes
  }

  /** A blob or manifest whole. @throws AirsealError IMAGE_NOT_FOUND, MEDIUM_DAMAGED, TOO_LARGE */
  async blob(digest: Digest, most: number): Promise<Uint8Array> {
    const pieces = this.#of(digest)
    const size = pieces.reduce((sum, piece) => sum + piece.size, 0)
    if (size > most)
      throw new AirsealError('TOO_LARGE', `${digest} has ${size} bytes, at most ${most} are read`)
    const parts: Uint8Array[] = []
    for await (const chunk of this.chunks({ digest, size })) parts.push(chunk)
    return Buffer.concat(parts)
  }

  /** Bytes of a blob as they come, the last ones only when all are right. The error names the file and the volume that is bad. */
  async *chunks(
    blob: { readonly digest: Digest; readonly size: number },
    count?: OnBytes,
  ): AsyncIterable<Uint8Array> {
    const pieces = this.#of(blob.digest)
    try {
      yield* checkedChunks(joined(pieces, count), blob, 'the bundle')
    } catch (error) {
      if (!(error instanceof AirsealError) || error.code !== 'DIGEST_MISMATCH') throw error
      for (const piece of pieces) await checkPiece(piece)
      throw new AirsealError(
        'MEDIUM_INVALID',
        `the parts of ${blob.digest} are not that blob: ${error.message}`,
      )
    }
  }

  /** Hashes every file. @throws AirsealError MEDIUM_DAMAGED at the first that differs */
  async checkAll(count: OnBytes): Promise<void> {
    for (const piece of this.pieces()) await checkPiece(piece, count)
  }

  #of(digest: Digest): readonly Piece[] {
    const pieces = this.#blobs.get(digest)
    if (pieces === undefined)
      throw new AirsealError('IMAGE_NOT_FOUND', `the bundle has no blob ${digest}`)
    return pieces
  }
}

async function* joined(pieces: readonly Piece[], count?: OnBytes): AsyncIterable<Uint8Array> {
  for (const { path, size, shown } of pieces) {
    for await (const chunk of chunksOfFile(path, size, shown)) {
      yield chunk
      count?.(chunk.length)
    }
  }
}

async function checkPiece(piece: Piece, count?: OnBytes): Promise<void> {
  const hash = createHash('sha256')
  for await (const chunk of joined([piece], count)) hash.update(chunk)
  if (`sha256:${hash.digest('hex')}` !== piece.digest) throw damaged(piece)
}

/** The volumes in some directories, with one header. Nothing is verified. */
export interface FoundVolumes {
  readonly signed: SignedHeader
  readonly directories: readonly string[]
}

/** Reads header.json of every volume; they must be the same. @throws AirsealError MEDIUM_INVALID */
export async function findVolumes(paths: readonly string[]): Promise<FoundVolumes> {
  const directories: string[] = []
  for (const path of paths) directories.push(...(await volumeDirectories(path)))
  let signed: SignedHeader | null = null
  for (const directory of directories) {
    const path = join(directory, HEADER)
    const bytes = await readFileOf(path, LIMITS.header, path)
    if (signed === null) signed = parseHeader(bytes)
    else if (!bytesEqual(bytes, signed.bytes))
      throw new AirsealError(
        'MEDIUM_INVALID',
        `${directory} is a volume of another bundle than ${directories[0]}`,
      )
  }
  if (signed === null) throw new AirsealError('MEDIUM_INVALID', 'there is no volume')
  return { signed, directories }
}

/**
 * Compares each volume with the header (which was verified before): its SHA256SUMS, that all files are there and no others, and their
 * size together. The bytes of the files are hashed when they are used.
 * @throws AirsealError MEDIUM_INVALID, MEDIUM_DAMAGED
 */
export async function openMedium({ signed, directories }: FoundVolumes): Promise<Medium> {
  const { volumes } = signed.header
  const pieces: Piece[] = []
  const seen = new Map<number, string>()
  for (const directory of directories) {
    const path = join(directory, SUMS)
    const sums = await readFileOf(path, LIMITS.sums, path)
    const digest = digestOf(sums)
    const at = volumes.findIndex((volume) => volume.sums === digest)
    const volume = volumes[at]
    if (volume === undefined)
      throw new AirsealError(
        'MEDIUM_DAMAGED',
        `${path} is not the one that the signed header names`,
      )
    // A copy that was taken in before, of a volume that is at hand again.
    if (seen.has(at + 1)) continue
    seen.set(at + 1, directory)
    pieces.push(...(await piecesOf(directory, sums, volume, at + 1, volumes.length)))
  }
  pieces.sort((a, b) => a.volume - b.volume || (a.name < b.name ? -1 : 1))
  return new Medium(signed, pieces, seen)
}

async function piecesOf(
  directory: string,
  bytes: Uint8Array,
  volume: Volume,
  number: number,
  of: number,
): Promise<Piece[]> {
  const where = of === 1 ? directory : `volume ${number} of ${of} (${directory})`
  const sums = parseSums(bytes, join(directory, SUMS))
  const listed = new Map(sums.map(({ name, digest }) => [name, digest]))
  if (sums.length !== volume.files)
    throw new AirsealError(
      'MEDIUM_INVALID',
      `${where} lists ${sums.length} files, its header ${volume.files}`,
    )
  const sizes = await listFiles(directory, (name) => listed.has(name), where)
  const pieces: Piece[] = []
  let total = 0
  for (const [name, digest] of listed) {
    const size = sizes.get(name)
    const shown = of === 1 ? join(directory, name) : `${name} on volume ${number} of ${of}`
    if (size === undefined) throw new AirsealError('MEDIUM_DAMAGED', `${shown} is missing`)
    total += size
    pieces.push({ name, digest, size, volume: number, path: join(directory, name), shown })
  }
  if (total !== volume.bytes) {
    throw new AirsealError(
      'MEDIUM_DAMAGED',
      `the files of ${where} have ${total} bytes together, the header says ${volume.bytes}: one is cut off or grew`,
      { details: { volume: number } },
    )
  }
  return pieces
}

function damaged({ shown }: Piece): AirsealError {
  return new AirsealError(
    'MEDIUM_DAMAGED',
    `${shown} does not have the bytes that SHA256SUMS names`,
  )
}

function otherName({ shown }: Piece): AirsealError {
  return new AirsealError('MEDIUM_INVALID', `${shown} is named after another digest than its own`)
}

function twice({ name }: Piece): AirsealError {
  return new AirsealError('MEDIUM_INVALID', `two volumes hold ${name}`)
}
