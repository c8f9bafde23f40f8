/** Hears how far long work is. Calls are frequent: what it shows, and how often, is its own affair. */
export interface Progress {
  /** A new step begins; `bytes`: how much there is of it, 0 when unknown. */
  step(what: string, bytes: number): void
  /** So many more bytes of it are done. */
  add(bytes: number): void
}

export const SILENT: Progress = { step: () => undefined, add: () => undefined }
