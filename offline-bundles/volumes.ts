import { AirsealError } from '../src/core/index.ts'
import { LIMITS } from './limits.ts'
import { blobOf, partName } from './names.ts'

/** A file to be written: its bytes from `offset` on. */
export interface PlannedPiece {
  /** Name of the whole file. */
  readonly file: string
  /** Name of this piece: the same, or with the number of the part. */
  readonly name: string
  readonly offset: number
  readonly size: number
}

/** Usable bytes of media by name, a little below what they hold. */
const MEDIA: ReadonlyMap<string, number> = new Map([
  ['dvd', 4_700_000_000],
  ['bd25', 25_000_000_000],
  ['bd50', 50_000_000_000],
])
const LEAST = 4 * 1024 * 1024
/** Sector of optical media. */
const SECTOR = 2_048
/** For header, sums, directories and the file system itself. */
const RESERVE = 1024 * 1024
/** Entry of a file in directories and SHA256SUMS. */
const ENTRY = SECTOR + 256

/** Bytes of `--volume-size`. @throws AirsealError USAGE */
export function volumeSize(text: string): number {
  const named = MEDIA.get(text)
  if (named !== undefined) return named
  const size = /^[1-9][0-9]{0,15}$/.test(text) ? Number(text) : NaN
  if (!Number.isSafeInteger(size) || size < LEAST) {
    throw new AirsealError(
      'USAGE',
      `--volume-size ${text}: want dvd, bd25, bd50 or a number of bytes, at least ${LEAST}`,
    )
  }
  return size
}

/**
 * Puts files onto volumes: in the order given, each volume filled before the next is begun. Only blobs are cut. The same files give the
 * same volumes.
 * @param capacity - bytes of a volume; null: one volume holds everything and nothing is cut
 * @throws AirsealError USAGE when documents do not fit, or too many volumes would be needed
 */
export function planVolumes(
  files: readonly { readonly name: string; readonly size: number }[],
  capacity: number | null,
): readonly (readonly PlannedPiece[])[] {
  if (capacity === null)
    return [files.map(({ name, size }) => ({ file: name, name, offset: 0, size }))]
  const room = capacity - RESERVE
  const volumes: PlannedPiece[][] = [[]]
  let left = room
  const next = (): void => {
    volumes.push([])
    left = room
  }
  for (const { name, size } of files) {
    const whole = cost(size)
    if (whole > left && (blobOf(name) === null || (whole <= room && left < LEAST / 4))) next()
    if (blobOf(name) === null && whole > left)
      throw new AirsealError(
        'USAGE',
        `a volume of ${capacity} bytes does not hold ${name} (${size} bytes)`,
      )
    if (whole <= left && size <= LIMITS.part) {
      volumes.at(-1)?.push({ file: name, name, offset: 0, size })
      left -= whole
      continue
    }
    for (let offset = 0, part = 1; offset < size; part++) {
      const fits = Math.floor((left - ENTRY) / SECTOR) * SECTOR
      if (fits < SECTOR) {
        next()
        part--
        continue
      }
      const length = Math.min(size - offset, fits, LIMITS.part)
      volumes.at(-1)?.push({ file: name, name: partName(name, part), offset, size: length })
      left -= cost(length)
      offset += length
    }
  }
  if (volumes.length > LIMITS.volumes)
    throw new AirsealError('USAGE', `${volumes.length} volumes would be needed: choose larger ones`)
  return volumes
}

function cost(size: number): number {
  return Math.ceil(size / SECTOR) * SECTOR + ENTRY
}
