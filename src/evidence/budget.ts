import { AirsealError } from '../core/index.ts'

/** Bytes of evidence that one request may make us read, over all its images. */
const MAX_REQUEST_BYTES = 128 * 1024 * 1024
/** Bytes of evidence that all requests together may hold at a time. */
const MAX_HELD_BYTES = 512 * 1024 * 1024

let held = 0

/** Counts the evidence of one request. */
export interface ByteBudget {
  /** To be told before the bytes are read. @throws AirsealError TOO_LARGE, OVERLOADED */
  readonly account: (bytes: number) => void
  /** Gives back what the request held. */
  release(): void
}

/** One image is bounded by itself; a hundred of them, four at a time, would still fill the memory. */
export function createByteBudget(): ByteBudget {
  let used = 0
  return {
    account: (bytes) => {
      if (used + bytes > MAX_REQUEST_BYTES) {
        throw new AirsealError(
          'TOO_LARGE',
          `the images of one request have more than ${MAX_REQUEST_BYTES} bytes of evidence: ask for fewer at a time`,
        )
      }
      if (held + bytes > MAX_HELD_BYTES)
        throw new AirsealError('OVERLOADED', 'too much evidence is being judged at a time')
      used += bytes
      held += bytes
    },
    release: () => {
      held -= used
      used = 0
    },
  }
}
