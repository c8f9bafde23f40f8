import { readFile } from 'node:fs/promises'
import type { Config } from '../config.ts'
import { AirsealError, publicKeyFromPem } from '../core/index.ts'
import type { DataDirectory } from '../data-directory.ts'
import { siteTrustOf, type SiteTrust } from '../evidence/index.ts'
import { ageOf, parseTrustBundle, readUnsigned, restricted, trustOf } from '../trust/index.ts'

export interface FileTrustOptions {
  /** File of --trusted-root; null: what the data directory says. */
  readonly trustedRoot: string | null
  /** True when the keys of the data directory are asked for. */
  readonly ownKeysWanted: boolean
  readonly limits: Config['trust']
  /** Milliseconds since 1970. */
  readonly now: number
}

/**
 * What is believed where no service runs: the trust bundle in `public/` of the data directory, with what was taken back since; the logs and
 * authorities of --trusted-root, when given, in place of the bundle's. Without a bundle, the plain key there.
 * @throws AirsealError DATA_DIRECTORY, TRUST_INVALID, TRUST_BUNDLE_INVALID, TRUST_STALE
 */
export async function fileTrust(
  directory: DataDirectory,
  { trustedRoot, ownKeysWanted, limits, now }: FileTrustOptions,
): Promise<SiteTrust> {
  const own = await bundleTrust(directory, limits, now)
  if (trustedRoot === null && own !== null) return own
  const path = trustedRoot ?? `${directory.public}/trusted_root.json`
  const root = await readFile(path).catch((cause: unknown) => {
    throw absent(path, '--trusted-root', cause)
  })
  const keys = own?.keys ?? (await plainKey(directory, ownKeysWanted))
  const version = own === null ? 'files' : `${own.version}, ${path}`
  return siteTrustOf({ version, keys, trustedRoot: root, ...(own && { revoked: own.revoked }) })
}

async function bundleTrust(
  directory: DataDirectory,
  limits: Config['trust'],
  now: number,
): Promise<SiteTrust | null> {
  const bytes = await readFile(`${directory.public}/trust-bundle.json`).catch(() => null)
  if (bytes === null) return null
  const { document } = parseTrustBundle(bytes)
  const { stage, reason } = ageOf(document, limits, now)
  if (stage === 'enforce')
    throw new AirsealError(
      'TRUST_STALE',
      `trust version ${document.version} is too old to count: ${reason ?? ''}; the clock of this machine says ${new Date(now).toISOString()}`,
    )
  const wanted = await readFile(`${directory.public}/trust-restrictions.json`).catch(() => null)
  const counting = wanted === null ? document : restricted(document, readUnsigned(wanted).document)
  const version = `${document.version}${wanted === null ? '' : '+'}`
  return { version, ...trustOf({ document: counting }) }
}

async function plainKey(directory: DataDirectory, wanted: boolean): Promise<SiteTrust['keys']> {
  const path = `${directory.public}/cosign.pub`
  const text = await readFile(path, 'utf8').catch(() => null)
  if (text !== null) return [{ name: 'signing', key: publicKeyFromPem(text), validFor: null }]
  if (!wanted) return []
  throw absent(path, '--key')
}

function absent(path: string, option: string, cause?: unknown): AirsealError {
  return new AirsealError(
    'DATA_DIRECTORY',
    `${path} can't be read: name a data directory with --data, or give ${option}`,
    { cause },
  )
}
