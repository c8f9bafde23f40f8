import type { Signer } from '../keys/index.ts'
import type { Config } from './config.ts'
import { AirsealError, samePublicKey, type Clock } from './core/index.ts'
import type { SignerKey } from './trust/index.ts'
import { keyBackends, requireImageKey, type KeyBackends } from './key-backends.ts'
import {
  Keyring,
  KeyRegistry,
  validRanges,
  type KeyRecord,
  type RegisteredKey,
} from './keyring/index.ts'
import type { Records, TransparencyLog } from './log/index.ts'

/** Name of the key that a site begins with. */
export const SIGNING_KEY = 'signing'
const OWN_FILE = 'file:keys/cosign.key'

export interface SiteKeys {
  readonly keyring: Keyring
  readonly backends: KeyBackends
  /** The active keys by name, the default one first; it follows the registry. Each use is authorised and audited as a document's. */
  readonly signers: ReadonlyMap<string, Signer>
}

export interface SiteKeysOptions {
  /** Of the data directory. */
  readonly root: string
  readonly config: Config
  readonly log: TransparencyLog & { readonly records: Records }
  readonly clock: Clock
  readonly passphrase: () => Promise<string>
  readonly notify: (line: string) => void
}

/**
 * Loads the registry of keys. At the first start it registers the key that `init` made or that the configuration names; that one is opened,
 * all others when they are first used: while a key back-end is away, everything but signing with its keys works.
 * @throws AirsealError KEY_CHANGED when the configuration names another key than the registered one, KEY_UNSUPPORTED, and as opening gives
 */
export async function openSiteKeys(options: SiteKeysOptions): Promise<SiteKeys> {
  const { root, log, clock, passphrase } = options
  const backends = keyBackends(root, passphrase)
  const registry = await KeyRegistry.open(log.records)
  const keyring = new Keyring({
    registry,
    records: log.records,
    clock,
    open: ({ name, uri, publicKey }) => backends.open(name, uri, publicKey),
    check: (signer) => backends.check(signer),
  })
  if (registry.default() === null) await registerFirst(options, registry, backends)
  else await followConfig(options, registry, backends)
  return { keyring, backends, signers: liveSigners(keyring) }
}

async function registerFirst(
  { config, log, clock }: SiteKeysOptions,
  registry: KeyRegistry,
  backends: KeyBackends,
): Promise<void> {
  const uri = config.keys.signing ?? OWN_FILE
  const signer = await backends.open(SIGNING_KEY, uri)
  await signer.close()
  requireImageKey(signer)
  const { publicKey } = signer
  // Directories of the first schema pinned their key here.
  const pinned = await log.records.setting('signingKeyId')
  if (pinned !== null && pinned !== publicKey.id) {
    throw new AirsealError(
      'KEY_CHANGED',
      `the signing key has SHA-256 ${publicKey.id}, this directory was set up with ${pinned}`,
    )
  }
  const created = Date.parse((await log.records.setting('createdAt')) ?? '')
  const key: KeyRecord = {
    name: SIGNING_KEY,
    uri: backends.stored(uri),
    publicKey,
    state: 'active',
    validFrom: { time: Number.isNaN(created) ? clock() : created, index: 0 },
    validTo: null,
    compromisedFrom: null,
    reason: null,
    successor: null,
    policy: null,
  }
  const detail = { keyName: key.name, uri: key.uri }
  await registry.change(
    { keys: [key], defaultKey: key.name },
    { time: clock(), caller: 'airseal', action: 'key/register', key: publicKey.id, detail },
  )
}

/** The first key may have moved: the same key behind another URI is followed, another key is refused. */
async function followConfig(
  { config, clock, notify }: SiteKeysOptions,
  registry: KeyRegistry,
  backends: KeyBackends,
): Promise<void> {
  const wanted = config.keys.signing
  if (wanted === null || !registry.has(SIGNING_KEY)) return
  const key = registry.get(SIGNING_KEY)
  const uri = backends.stored(wanted)
  if (uri === key.uri) return
  if (key.state !== 'active') {
    notify(
      `airseal: keys.signing is not used: key "${SIGNING_KEY}" is ${key.state}; see airseal key list`,
    )
    return
  }
  const signer = await backends.open(SIGNING_KEY, uri)
  await signer.close()
  if (!samePublicKey(signer.publicKey, key.publicKey)) {
    throw new AirsealError(
      'KEY_CHANGED',
      `keys.signing leads to a key with SHA-256 ${signer.publicKey.id}, registered is ${key.publicKey.id}: put the old URI back, then use \`airseal key import\` and \`key rotate --to\``,
    )
  }
  await registry.change(
    { keys: [{ ...key, uri }] },
    {
      time: clock(),
      caller: 'airseal',
      action: 'key/move',
      key: key.publicKey.id,
      detail: { keyName: key.name, uri, before: key.uri },
    },
  )
}

/** One map for the life of the process, kept equal to the active keys. */
function liveSigners(keyring: Keyring): ReadonlyMap<string, Signer> {
  const signers = new Map<string, Signer>()
  const fill = (): void => {
    signers.clear()
    for (const key of keyring.registry.active()) signers.set(key.name, documentSigner(keyring, key))
  }
  fill()
  keyring.registry.onChange(fill)
  return signers
}

function documentSigner(keyring: Keyring, { name, publicKey }: RegisteredKey): Signer {
  return {
    name,
    publicKey,
    async sign(message) {
      const use = {
        kind: 'document',
        caller: 'airseal',
        repositories: null,
        annotations: null,
        predicateType: null,
        digest: null,
        exists: false,
      } as const
      return (await keyring.signWithKey(name, use, { message })).signature
    },
    close: () => Promise.resolve(),
  }
}

/**
 * The keys of the registry as the trust bundle names them, the default one first: each with the ranges of the log in which it counts.
 * @param logId - of the own log
 * @param otherLogs - ids of the other logs that are trusted
 */
export function signerKeys(
  registry: KeyRegistry,
  logId: string,
  otherLogs: readonly string[],
): readonly SignerKey[] {
  const first = registry.default()?.name
  return registry
    .all()
    .toSorted((a, b) => Number(b.name === first) - Number(a.name === first))
    .map((key) => ({
      name: key.name,
      key: key.publicKey,
      state: key.state,
      validFor: null,
      validIn: validRanges(key, logId, otherLogs),
      reason: key.reason,
    }))
}
