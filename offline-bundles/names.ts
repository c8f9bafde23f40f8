import { AirsealError, type Digest } from '../src/core/index.ts'

/** Names that do not depend on the content. */
export const HEADER = 'header.json'
export const SUMS = 'SHA256SUMS'
export const CONTENTS = 'contents.json'
export const CHECKPOINT = 'log/checkpoint'
export const CONSISTENCY = 'log/consistency.json'

const FIXED: ReadonlySet<string> = new Set([CONTENTS, CHECKPOINT, CONSISTENCY])

/** Lower-case ASCII only, so that no two names can collide by case or by Unicode form, and none leaves the directory. */
const FILES: readonly RegExp[] = [
  /^images\/[0-9]{4}\/(?:oci-layout|index\.json)$/,
  /^images\/[0-9]{4}\/blobs\/sha256\/[0-9a-f]{64}(?:\.[0-9]{4})?$/,
  /^log\/entries-[0-9]{4}\.json$/,
  /^trust\/[0-9]{8}\.json$/,
  /^policies\/[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?$/,
]

const BLOB = /^images\/[0-9]{4}\/blobs\/sha256\/([0-9a-f]{64})(?:\.([0-9]{4}))?$/

/** True for a name that a bundle's file may have. Nothing else is ever opened. */
export function isFileName(name: string): boolean {
  return FIXED.has(name) || (name.length <= 200 && FILES.some((form) => form.test(name)))
}

/** Directories that may hold files of a bundle. */
export function isDirectoryName(name: string): boolean {
  return /^(?:images(?:\/[0-9]{4}(?:\/blobs(?:\/sha256)?)?)?|log|trust|policies)$/.test(name)
}

/** Digest and, for a part of a blob, its number; null for every other file. */
export function blobOf(
  name: string,
): { readonly digest: Digest; readonly part: number | null } | null {
  const [, hex, part] = BLOB.exec(name) ?? []
  return hex === undefined
    ? null
    : { digest: `sha256:${hex}`, part: part === undefined ? null : Number(part) }
}

export function layoutName(shard: number): string {
  return `images/${String(shard).padStart(4, '0')}`
}

export function partName(name: string, part: number): string {
  return `${name}.${String(part).padStart(4, '0')}`
}

/** Directory of a volume below the output of an export with several. */
export function volumeName(number: number): string {
  return `volume-${String(number).padStart(4, '0')}`
}

export function trustName(version: number): string {
  return `trust/${String(version).padStart(8, '0')}.json`
}

export function entriesName(number: number): string {
  return `log/entries-${String(number).padStart(4, '0')}.json`
}

const ENCLAVE = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/

/** Name of a side: lower-case letters, digits, dots and hyphens, at most 63. @throws AirsealError USAGE */
export function enclaveName(text: string): string {
  if (!ENCLAVE.test(text) || text === 'head') {
    throw new AirsealError(
      'USAGE',
      `"${text.slice(0, 80)}" is no name of an enclave: want lower-case letters, digits, "." and "-", at most 63`,
    )
  }
  return text
}

export function isEnclaveName(text: string): boolean {
  return ENCLAVE.test(text) && text !== 'head'
}

/** Target of a bundle that is meant for whoever trusts its sender. */
export const ANYONE = 'any'
