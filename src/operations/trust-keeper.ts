import type { Signer } from '../../keys/index.ts'
import {
  AirsealError,
  asAirsealError,
  canonicalJson,
  sha256Hex,
  type JsonObject,
} from '../core/index.ts'
import type { SiteTrust } from '../evidence/index.ts'
import type { Caller } from '../http/index.ts'
import {
  ageOf,
  chainAfter,
  compileTrustFiles,
  contentOf,
  differences,
  proposalState,
  requireClock,
  requireTimely,
  restricted,
  sealBundle,
  signedBytes,
  trustOf,
  unsignedBundle,
  verifyTrustUpdate,
  withSignature,
  sealProposal,
  type SignedTrustBundle,
  type TrustDocument,
  type TrustFile,
  type TrustProposal,
  type TrustRoots,
} from '../trust/index.ts'
import { auditRow, type SiteParts } from './site-parts.ts'
import { TrustStore, type TrustRecords } from './trust-records.ts'
import { firstRoot, makeRoot, openRoot, type OnlineRoot } from './trust-root.ts'

const DAY = 24 * 60 * 60 * 1000
/** Who the audit trail names for what the service does by itself. */
const SERVICE: Caller = { kind: 'socket' }

export interface TrustKeeperParts extends Pick<
  SiteParts,
  'directory' | 'clock' | 'records' | 'passphrase' | 'notify'
> {
  readonly config: SiteParts['config']['trust']
  /**
   * What the rest of the site contributes to the bundle, as it is now: keys, logs, URL. Taken over at each change, and whenever
   * {@link TrustKeeper.refresh} is called.
   */
  readonly contribute: (document: TrustDocument) => TrustDocument
  /** A first document without roots: everything that is not contributed. */
  readonly enclave: string
}

/** What came of a change: the version that was published, or null where it waits for the roots. */
export interface Outcome {
  readonly published: number | null
  readonly version: number
  /** What differs from the version in force before (published), or from the one in force now (waiting). */
  readonly changes: readonly string[]
}

export type Change = (document: TrustDocument) => TrustDocument

/** The trust of a site: the bundle in force, what waits for its roots, and what follows from both. */
export interface TrustKeeper {
  /** The bundle in force. */
  bundle(): SignedTrustBundle
  draft(): TrustDocument | null
  /** @throws AirsealError NOT_FOUND */
  version(version: number): Promise<SignedTrustBundle>
  onlineRoot(): OnlineRoot | null
  /** Files of the bundle in force, by name. */
  files(): ReadonlyMap<string, TrustFile>
  /** What verification believes now. @throws AirsealError TRUST_STALE when the bundle is too old to count */
  current(): SiteTrust
  /** Publishes a change, or keeps it for the roots where these are offline. What it takes away counts at once. */
  edit(caller: Caller, action: string, change: Change, detail?: JsonObject): Promise<Outcome>
  /** Takes over what the site contributes, and renews the bundle when half of its life has passed. Never throws. */
  refresh(): Promise<void>
  /** The next version with what waits for it, signed by the online root where that is one of the roots. */
  propose(caller: Caller, change: Change): Promise<TrustProposal>
  /** @throws AirsealError TRUST_THRESHOLD, TRUST_ROLLBACK, TRUST_CHAIN, TRUST_EXPIRED, TRUST_CLOCK: the bundle in force stays */
  publish(caller: Caller, proposal: TrustProposal): Promise<Outcome>
  /** The same for a bundle of this enclave that was signed elsewhere. */
  install(caller: Caller, bundle: SignedTrustBundle): Promise<Outcome>
  /** Gives the roots a new online key, and publishes. @throws AirsealError TRUST_ROOT_OFFLINE */
  rotateOnline(caller: Caller): Promise<Outcome>
  /** Called after each change of what {@link TrustKeeper.current} or {@link TrustKeeper.files} give. */
  onChange(listener: () => void | Promise<void>): void
}

/** Opens the stored trust of a site, or makes its version 1. @throws AirsealError PASSPHRASE, STORAGE, KEY_UNAVAILABLE… */
export async function openTrust(parts: TrustKeeperParts): Promise<TrustKeeper> {
  const { clock, config, notify } = parts
  const store = new TrustStore(parts.records)
  let stored: TrustRecords = (await store.load()) ?? (await first(parts, store))
  let derived = derive(parts, stored)
  let queue: Promise<unknown> = Promise.resolve()
  const listeners: (() => void | Promise<void>)[] = []

  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = queue.then(work)
    queue = result.catch(() => undefined)
    return result
  }

  async function replace(
    next: TrustRecords,
    caller: Caller,
    action: string,
    detail: JsonObject,
  ): Promise<void> {
    const row = auditRow(parts, caller, `trust-${action}`, {
      version: next.current.document.version,
      digest: next.current.digest,
      ...detail,
    })
    // Derived before it is stored: what can't be compiled never comes into force.
    const following = derive(parts, next)
    await store.save(stored, next, row)
    stored = next
    derived = following
    await tell()
  }

  async function tell(): Promise<void> {
    for (const listener of listeners) {
      try {
        await listener()
      } catch (thrown) {
        notify(`airseal: after a change of trust: ${asAirsealError(thrown).message}`)
      }
    }
  }

  function nextOf(document: TrustDocument): TrustDocument {
    const { current } = stored
    const now = clock()
    return {
      ...document,
      version: current.document.version + 1,
      previous: current.digest,
      created: now,
      expires: now + config.lifetimeDays * DAY,
      updateDays: config.updateDays,
    }
  }

  /** The online root, when its signature alone is enough now and for the next version. */
  function soleRoot(next: TrustRoots): OnlineRoot | null {
    const { root, current } = stored
    const enough = ({ threshold, keys }: TrustRoots): boolean =>
      threshold === 1 && keys.some(({ key }) => key.id === root?.keyId)
    return root !== null && enough(current.document.roots) && enough(next) ? root : null
  }

  /** The same, opened. One that can't be reached is as good as offline: what takes away must not wait for it. */
  async function openSole(next: TrustRoots): Promise<Signer | null> {
    const root = soleRoot(next)
    return root && openReachable(parts, root)
  }

  async function change(
    caller: Caller,
    action: string,
    wish: Change,
    detail: JsonObject,
  ): Promise<Outcome> {
    const { current, draft } = stored
    const wanted = parts.contribute(wish(draft ?? current.document))
    const changes = differences(current.document, wanted)
    const same = contentOf(wanted) === contentOf(current.document)
    if (same && !isHalfOver(current.document, clock())) {
      if (draft !== null) await replace({ ...stored, draft: null }, caller, action, detail)
      return { published: null, version: current.document.version, changes: [] }
    }
    const takesAway =
      contentOf(restricted(current.document, wanted)) !== contentOf(current.document)
    // What takes away must not wait for a clock that is right: with a wrong one nothing is published, and it counts here all the same.
    if (!takesAway) requireClock(current.document, clock())
    const signer = isClockBehind(current.document, clock()) ? null : await openSole(wanted.roots)
    if (signer !== null) {
      const bundle = await seal(nextOf(wanted), [signer])
      await accept(bundle, { ...stored, draft: null }, caller, action, {
        ...detail,
        changes: [...changes],
      })
      return { published: bundle.document.version, version: bundle.document.version, changes }
    }
    if (!same) {
      const next = { ...stored, draft: wanted }
      await replace(next, caller, `${action}-draft`, { ...detail, changes: [...changes] })
    }
    return { published: null, version: current.document.version, changes }
  }

  async function seal(
    document: TrustDocument,
    signers: readonly Signer[],
  ): Promise<SignedTrustBundle> {
    const unsigned = unsignedBundle(document)
    try {
      const signatures = await Promise.all(
        signers.map(async (signer) => ({
          keyid: signer.publicKey.id,
          sig: await signer.sign(signedBytes(unsigned.payload)),
        })),
      )
      return sealBundle(unsigned, signatures, chainAfter(stored.current))
    } finally {
      for (const signer of signers) await signer.close()
    }
  }

  /** Everything that is asked of a new version, whoever made it. */
  async function accept(
    bundle: SignedTrustBundle,
    next: Omit<TrustRecords, 'current'>,
    caller: Caller,
    action: string,
    detail: JsonObject,
  ): Promise<void> {
    if (!verifyTrustUpdate(stored.current, bundle)) return
    requireClock(stored.current.document, clock())
    requireTimely(bundle.document, clock())
    await replace({ ...next, current: bundle }, caller, action, detail)
  }

  async function installNow(
    caller: Caller,
    action: string,
    bundle: SignedTrustBundle,
  ): Promise<Outcome> {
    const { current, draft } = stored
    const { document } = bundle
    const changes = differences(current.document, document)
    // What was wanted and is now said has been done; what takes away goes on doing so until it is said.
    const open =
      draft === null || contentOf(parts.contribute(document)) === contentOf(draft)
        ? null
        : { ...document, revocations: restricted(document, draft).revocations }
    const left = open !== null && contentOf(open) !== contentOf(document) ? open : null
    const held = document.roots.keys.some(({ key }) => key.id === stored.root?.keyId)
    const next = { draft: left, root: held ? stored.root : null }
    await accept(bundle, next, caller, action, { changes: [...changes] })
    return { published: document.version, version: stored.current.document.version, changes }
  }

  const keeper: TrustKeeper = {
    bundle: () => stored.current,
    draft: () => stored.draft,
    version: (version) => store.version(version),
    onlineRoot: () => stored.root,
    files: () => derived.files,
    current: () => derived.current(clock()),
    edit: (caller, action, wish, detail = {}) => inTurn(() => change(caller, action, wish, detail)),
    refresh: () =>
      inTurn(async () => {
        try {
          await change(SERVICE, 'refresh', (document) => document, {})
        } catch (thrown) {
          const { code, message } = asAirsealError(thrown)
          notify(`airseal: trust could not be renewed: ${message} [${code}]`)
        }
      }),
    propose: (caller, wish) =>
      inTurn(async () => {
        const { current, draft } = stored
        const wanted = parts.contribute(wish(draft ?? current.document))
        const next = unsignedBundle(nextOf(wanted))
        const row = auditRow(parts, caller, 'trust-propose', {
          version: next.document.version,
          changes: [...differences(current.document, wanted)],
        })
        await parts.records.audit(row)
        return signedHere({ current, next, signatures: [] })
      }),
    publish: (caller, proposal) =>
      inTurn(() => {
        requireSigned(proposal)
        return installNow(caller, 'publish', sealProposal(proposal))
      }),
    install: (caller, bundle) => inTurn(() => installNow(caller, 'import', bundle)),
    rotateOnline: (caller) =>
      inTurn(async () => {
        const { roots } = stored.current.document
        const old = soleRoot(roots)
        if (old === null || roots.keys.length !== 1) {
          throw new AirsealError(
            'TRUST_ROOT_OFFLINE',
            'the root key is not here, or not the only one: name the new root keys, and have both sets sign',
          )
        }
        const version = roots.version + 1
        const { root, publicKey } = await makeRoot(parts, `trust-root-${version}.key`)
        const next = { version, threshold: 1, keys: [{ name: `root-${version}`, key: publicKey }] }
        const wanted = parts.contribute({
          ...(stored.draft ?? stored.current.document),
          roots: next,
        })
        const changes = differences(stored.current.document, wanted)
        const signers = [await openRoot(parts, old), await openRoot(parts, root)]
        const bundle = await seal(nextOf(wanted), signers)
        await accept(bundle, { draft: null, root }, caller, 'rotate-root', {
          changes: [...changes],
        })
        return { published: bundle.document.version, version: bundle.document.version, changes }
      }),
    onChange: (listener) => {
      listeners.push(listener)
    },
  }

  /** The online root signs what its operator proposes, when it is one of the old or of the new roots. */
  async function signedHere(proposal: TrustProposal): Promise<TrustProposal> {
    const { root } = stored
    const roots = [proposal.current.document.roots, proposal.next.document.roots]
    if (root === null || !roots.some(({ keys }) => keys.some(({ key }) => key.id === root.keyId)))
      return proposal
    const signer = await openReachable(parts, root)
    if (signer === null) return proposal
    try {
      const sig = await signer.sign(signedBytes(proposal.next.payload))
      return withSignature(proposal, { keyid: root.keyId, sig })
    } finally {
      await signer.close()
    }
  }
  return keeper
}

async function openReachable(parts: TrustKeeperParts, root: OnlineRoot): Promise<Signer | null> {
  try {
    return await openRoot(parts, root)
  } catch (thrown) {
    const { code, message } = asAirsealError(thrown)
    if (code !== 'KEY_UNAVAILABLE') throw thrown
    parts.notify(`airseal: the trust root key is not here: ${message}`)
    return null
  }
}

/** Says which set of roots lacks signatures; the bundle alone could only tell of its own. */
function requireSigned(proposal: TrustProposal): void {
  const { signed, missing, missingNew } = proposalState(proposal)
  if (missing === 0 && missingNew === 0) return
  const who = signed.map(({ name }) => name).join(', ') || 'nobody'
  throw new AirsealError(
    'TRUST_THRESHOLD',
    `the proposal is signed by ${who}: ${missing} more of the roots in force must sign, and ${missingNew} more of the new ones`,
  )
}

function isClockBehind(document: TrustDocument, now: number): boolean {
  try {
    requireClock(document, now)
    return false
  } catch {
    return true
  }
}

function isHalfOver({ created, expires }: TrustDocument, now: number): boolean {
  return now > created + (expires - created) / 2
}

async function first(parts: TrustKeeperParts, store: TrustStore): Promise<TrustRecords> {
  const { root, publicKey } = await firstRoot(parts)
  const now = parts.clock()
  const document = parts.contribute({
    enclave: parts.enclave,
    version: 1,
    created: now,
    expires: now + parts.config.lifetimeDays * DAY,
    updateDays: parts.config.updateDays,
    previous: null,
    url: '',
    roots: { version: 1, threshold: 1, keys: [{ name: 'root-1', key: publicKey }] },
    keys: [],
    trustedRoot: { mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' },
    foreign: [],
    revocations: { keys: [], images: [], entries: [] },
    policies: [{ name: 'default', scope: '*', keys: null }],
    tuf: null,
  })
  const unsigned = unsignedBundle(document)
  const signer = await openRoot(parts, root)
  const sig = await signer.sign(signedBytes(unsigned.payload)).finally(() => signer.close())
  const current = sealBundle(unsigned, [{ keyid: root.keyId, sig }], [])
  const records = { current, draft: null, root }
  const detail = { version: 1, digest: current.digest }
  await store.save(null, records, auditRow(parts, SERVICE, 'trust-init', detail))
  return records
}

interface Derived {
  readonly files: ReadonlyMap<string, TrustFile>
  readonly current: (now: number) => SiteTrust
}

/** What follows from the stored trust. */
function derive({ config }: TrustKeeperParts, { current, draft }: TrustRecords): Derived {
  const { document } = current
  const counting = draft === null ? document : restricted(document, draft)
  const mark = draft === null ? '' : `+${sha256Hex(contentOf(counting)).slice(0, 8)}`
  const believed = new Map<string, SiteTrust>()
  return {
    files: compileTrustFiles(current),
    current: (now) => {
      const own = ageOf(document, config, now)
      if (own.stage === 'enforce') {
        const clock = new Date(now).toISOString()
        throw new AirsealError(
          'TRUST_STALE',
          `trust version ${document.version} is too old to count: ${own.reason ?? ''}; the clock of this machine says ${clock}`,
        )
      }
      const foreign = document.foreign.filter(
        (root) =>
          root.kind !== 'enclave' || ageOf(root.bundle.document, config, now).stage !== 'enforce',
      )
      const names = new Set(foreign.map(({ name }) => name))
      const key = canonicalJson([...names])
      const known = believed.get(key)
      if (known !== undefined) return known
      const fresh = { ...counting, foreign: counting.foreign.filter(({ name }) => names.has(name)) }
      const gone = document.foreign.filter(({ name }) => !names.has(name))
      const version = `${document.version}${mark}${gone.map(({ name }) => `-${name}`).join('')}`
      const trust = { version, ...trustOf({ document: fresh }) }
      believed.set(key, trust)
      return trust
    },
  }
}
