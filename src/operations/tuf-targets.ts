import type { JsonObject } from '../core/index.ts'
import type { PublicFile } from '../public-files.ts'
import type { TargetFiles } from '../tuf/index.ts'

/** Names that clients of Sigstore ask for, where they differ from ours. */
const RENAMED: ReadonlyMap<string, string> = new Map([
  ['signing_config.json', 'signing_config.v0.2.json'],
])
/** What Sigstore's older clients know a key's use by. */
const USAGES: readonly (readonly [RegExp, string])[] = [
  [/^rekor.*\.pub$/, 'Rekor'],
  [/^ctfe.*\.pub$/, 'CTFE'],
  [/^fulcio.*\.pem$/, 'Fulcio'],
  [/^tsa.*\.pem$/, 'TSA'],
]
const TARGET_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/**
 * What the repository publishes: every public trust file of the site.
 * @param uri - URL of the service, for the keys that older clients look up
 */
export function targetFiles(files: ReadonlyMap<string, PublicFile>, uri: string): TargetFiles {
  const targets = new Map<string, { bytes: Uint8Array; custom: JsonObject | null }>()
  for (const [name, { bytes }] of files) {
    const target = RENAMED.get(name) ?? name
    if (!TARGET_NAME.test(target)) continue
    const usage = USAGES.find(([pattern]) => pattern.test(target))?.[1]
    const custom = usage === undefined ? null : { sigstore: { status: 'Active', uri, usage } }
    targets.set(target, { bytes, custom })
  }
  return targets
}
