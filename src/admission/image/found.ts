import type { ImageName } from './name.ts'

/** One image in an object, and where it stands. */
export interface FoundImage {
  /** `containers`, `initContainers`, `ephemeralContainers`, `volumes`, or the name of an own extractor. */
  readonly group: string
  /** Name of the container or volume, else its position. */
  readonly key: string
  /** As written. */
  readonly text: string
  readonly image: ImageName
  /** JSON pointer (RFC 6901) from the object to the text. */
  readonly pointer: string
  /** Whether a digest may be written there. */
  readonly pinnable: boolean
}

/** One part of a JSON pointer. */
export function pointerPart(text: string | number): string {
  return String(text).replaceAll('~', '~0').replaceAll('/', '~1')
}
