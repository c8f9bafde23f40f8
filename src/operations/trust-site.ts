import {
  canonicalJson,
  isObject,
  parseJson,
  type JsonObject,
  type PublicKey,
} from '../core/index.ts'
import { parseTrustedRoot, trustedRootText } from '../sigstore/index.ts'
import {
  unsignedBundle,
  withLog,
  type SignerKey,
  type TrustDocument,
  type TrustFile,
} from '../trust/index.ts'
import type { TrustKeeper } from './trust-keeper.ts'

/** Name of the file that says what the operator took back and the roots have yet to sign. */
const RESTRICTIONS_FILE = 'trust-restrictions.json'

export interface Contribution {
  readonly publicUrl: string
  readonly logKey: PublicKey
  /** The log's first moment, milliseconds since 1970. */
  readonly start: number
  /** Keys that sign, and those that did. `otherLogs`: ids of the logs in the bundle beside the site's own, hex. */
  readonly keys: (otherLogs: readonly string[]) => readonly SignerKey[]
  /** Root of the TUF repository that is served below the URL, JSON in UTF-8; null: not loaded, undefined: none is served. */
  readonly tufRoot: () => Uint8Array | null | undefined
}

/** What a site itself has to say in its bundle: its URL, its log, its keys. The rest is the operator's. */
export function contributionOf(site: Contribution): (document: TrustDocument) => TrustDocument {
  const start = `${new Date(site.start).toISOString().slice(0, 19)}Z`
  const text = trustedRootText({ baseUrl: site.publicUrl, logPublicKey: site.logKey, start })
  const own = parseJson(text)
  const logs = isObject(own) && Array.isArray(own['tlogs']) ? own['tlogs'] : []
  const log = logs[0] as JsonObject
  const tufOf = ({ tuf }: TrustDocument): TrustDocument['tuf'] => {
    const root = site.tufRoot()
    if (root === null) return tuf
    return root === undefined ? null : { mirror: `${site.publicUrl}/tuf`, root }
  }
  return (document) => {
    const trustedRoot = withLog(document.trustedRoot, log)
    const logs = parseTrustedRoot(canonicalJson(trustedRoot)).logs.map(({ logId }) => logId)
    const keys = site.keys(logs.filter((id) => id !== site.logKey.id))
    return { ...document, url: site.publicUrl, keys, trustedRoot, tuf: tufOf(document) }
  }
}

/** Name of an enclave after its log, in the letters that names may have. */
export function enclaveName(logName: string): string {
  const name = logName.replace(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '')
  return name === '' ? 'log' : name.slice(0, 128)
}

/** Files for `public/`: those of the bundle in force, and what was taken back since. */
export function publishedFiles(keeper: TrustKeeper): ReadonlyMap<string, TrustFile> {
  const draft = keeper.draft()
  if (draft === null) return keeper.files()
  const bytes = unsignedBundle(draft).payload
  return new Map([
    ...keeper.files(),
    [RESTRICTIONS_FILE, { contentType: 'application/json', bytes }],
  ])
}
