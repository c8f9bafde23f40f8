/** What is read of a medium at most. FORMAT.md repeats these figures; a test keeps the two equal. */
export const LIMITS = {
  /** Bytes of header.json. */
  header: 1024 * 1024,
  /** Bytes of one SHA256SUMS. */
  sums: 32 * 1024 * 1024,
  /** Bytes of contents.json. */
  contents: 32 * 1024 * 1024,
  /** Bytes of one file below log/, trust/ or policies/. */
  document: 16 * 1024 * 1024,
  /** Files of one bundle. */
  files: 200_000,
  volumes: 1_000,
  images: 10_000,
  /** Log entries carried. */
  entries: 100_000,
  trustVersions: 100,
  policies: 1_000,
  /** Earlier headers that a rebase names. */
  history: 1_000,
  /** Entries of one image layout: what strict readers take. */
  layoutEntries: 1_000,
  /** Bytes of one part of a blob that is cut at the end of a volume: what FAT holds in one file, in whole sectors. */
  part: 0xffff_f800,
} as const
