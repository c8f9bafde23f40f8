import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { utf8, type PublicKey } from './core/index.ts'
import { writeFileWhole, type DataDirectory } from './data-directory.ts'
import { signingConfigText, trustedRootText } from './sigstore/index.ts'

export interface PublicFile {
  readonly contentType: string
  readonly bytes: Uint8Array
}

export interface PublicMaterial {
  readonly signingKey: PublicKey
  readonly logKey: PublicKey
  /** URL of the log as clients reach it. */
  readonly publicUrl: string
  /** Milliseconds since 1970: the log's first moment. */
  readonly start: number
}

/** The files that verifiers need, by name. The same material gives the same bytes. */
export function publicFiles(material: PublicMaterial): ReadonlyMap<string, PublicFile> {
  const start = `${new Date(material.start).toISOString().slice(0, 19)}Z`
  const { publicUrl, logKey, signingKey } = material
  const pem = (key: PublicKey): PublicFile => ({
    contentType: 'application/x-pem-file',
    bytes: utf8(key.pem),
  })
  const json = (text: string): PublicFile => ({
    contentType: 'application/json',
    bytes: utf8(text),
  })
  return new Map([
    ['cosign.pub', pem(signingKey)],
    ['rekor.pub', pem(logKey)],
    [
      'trusted_root.json',
      json(trustedRootText({ baseUrl: publicUrl, logPublicKey: logKey, start })),
    ],
    [
      'signing_config.json',
      json(signingConfigText({ url: publicUrl, start, operator: new URL(publicUrl).hostname })),
    ],
  ])
}

/** Writes them to `public/` in the data directory. @throws AirsealError STORAGE */
export async function writePublicFiles(
  directory: DataDirectory,
  files: ReadonlyMap<string, PublicFile>,
): Promise<void> {
  await mkdir(directory.public, { recursive: true, mode: 0o700 })
  for (const [name, { bytes }] of files)
    await writeFileWhole(join(directory.public, name), bytes, 0o644)
}
