import { AirsealError, asAirsealError, type JsonObject } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import type { StoredDocument } from '../log/index.ts'
import type { PublicFile } from '../public-files.ts'
import {
  advance,
  createRepository,
  currentOf,
  rolesOf,
  type Lifetimes,
  type RoleKeys,
  type RoleName,
  type Roles,
  type SignersOf,
  type TargetFiles,
} from '../tuf/index.ts'
import type { Config } from '../config.ts'
import { callerName, type SiteParts } from './site-parts.ts'
import { clockFault, dueRoles } from './tuf-health.ts'
import type { PlacedKey, TufKeys } from './tuf-keys.ts'
import { decodeState, encodeState, versionsOf, type TufState } from './tuf-state.ts'
import { tufAlarms } from './tuf-status.ts'
import { targetFiles } from './tuf-targets.ts'

const KIND = 'tuf'
const NAME = 'repository'
const DAY = 86_400_000
const REFRESH_MS = 3_600_000
/** Who the audit trail names for what the service does by itself. */
const SERVICE = 'service'

export interface TufOptions extends Pick<SiteParts, 'clock' | 'records' | 'publicUrl' | 'notify'> {
  readonly keys: TufKeys
  readonly config: Config['tuf']
  /** The public trust files as they are now, by name. */
  readonly trustFiles: () => ReadonlyMap<string, PublicFile>
}

/** The TUF repository of a site: its state, its keys, and its daily care. */
export interface SiteTuf {
  readonly keys: TufKeys
  readonly lifetimes: Lifetimes
  readonly mode: Config['tuf']['mode']
  /** A file below `/tuf/`; null when there is none. Only what was loaded by {@link start} or a command. */
  file(path: string): PublicFile | null
  /** @throws AirsealError TUF_ABSENT */
  state(): Promise<TufState>
  stateOrNull(): Promise<TufState | null>
  /** What the repository is to publish now. */
  wanted(): TargetFiles
  signersOf(state: Pick<TufState, 'keys'>, roles: Roles): SignersOf
  /** Makes keys and repository. @throws AirsealError TUF_PRESENT */
  create(caller: Caller | null): Promise<TufState>
  /**
   * One change at a time: `work` gets the state and gives the next, or the same for no change. Durable, with its audit row, before it is served.
   */
  change(
    caller: Caller | null,
    action: string,
    work: (state: TufState | null, now: number) => Promise<TufState | null>,
    detail?: JsonObject,
  ): Promise<TufState>
  /** Renews what is due and publishes what has changed. @throws AirsealError TUF_CLOCK, TUF_ABSENT */
  refresh(caller: Caller | null, options?: RefreshOptions): Promise<TufState>
  /** Roles whose keys are here in sufficient number. */
  rolesHere(state: TufState): Promise<ReadonlySet<RoleName>>
  /** Loads the repository, makes it where there is none, and takes care of it from then on. Never throws: a service without it still serves. */
  start(): Promise<void>
  /** What {@link start} does every hour, now: for when the trust files have changed. Never throws. */
  attend(): Promise<void>
  close(): Promise<void>
}

interface Loaded {
  readonly document: StoredDocument | null
  readonly state: TufState | null
  readonly served: ReadonlyMap<string, PublicFile>
}

export interface RefreshOptions {
  readonly isClockRight?: boolean
  /** Roles that are signed anew whatever their age. */
  readonly renew?: readonly RoleName[]
}

export function createTuf(options: TufOptions): SiteTuf {
  const { clock, records, config, keys, notify, publicUrl, trustFiles } = options
  const lifetimes: Lifetimes = {
    root: config.rootDays * DAY,
    targets: config.targetsDays * DAY,
    snapshot: config.snapshotDays * DAY,
    timestamp: config.timestampDays * DAY,
  }
  let loaded: Loaded | null = null
  let queue: Promise<unknown> = Promise.resolve()
  let timer: NodeJS.Timeout | null = null
  let told = ''

  async function load(): Promise<Loaded> {
    if (loaded !== null) return loaded
    const document = await records.document(KIND, NAME)
    const state = document === null ? null : decodeState(document.text)
    loaded ??= { document, state, served: servedFiles(state) }
    return loaded
  }

  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = queue.then(work)
    queue = result.catch(() => undefined)
    return result
  }

  const signersOf: SiteTuf['signersOf'] = (state, roles) => (role) =>
    keys.open(
      state.keys,
      roles[role].keys.map(({ id }) => id),
    )

  const change: SiteTuf['change'] = (caller, action, work, detail = {}) =>
    inTurn(async () => {
      const now = clock()
      const { document, state } = await load()
      const next = await work(state, now)
      if (next === null) throw absent()
      if (next === state) return next
      const stored = await records.putDocument({
        kind: KIND,
        name: NAME,
        expected: document?.revision ?? null,
        text: encodeState(next),
        audit: {
          time: now,
          caller: caller === null ? SERVICE : callerName(caller),
          action,
          detail: { ...detail, ...versionsOf(next.files) },
        },
      })
      loaded = { document: stored, state: next, served: servedFiles(next) }
      return next
    })

  const wanted = (): TargetFiles => targetFiles(trustFiles(), publicUrl)

  async function rolesHere(state: TufState): Promise<ReadonlySet<RoleName>> {
    const roles = rolesOf(currentOf(state.files).root.signed)
    const here = new Set<string>()
    for (const place of state.keys) if (await keys.isHere(place)) here.add(place.id)
    const able = (Object.keys(roles) as RoleName[]).filter(
      (role) => roles[role].keys.filter(({ id }) => here.has(id)).length >= roles[role].threshold,
    )
    return new Set(able)
  }

  async function create(caller: Caller | null): Promise<TufState> {
    return change(caller, 'tuf/init', async (state, now) => {
      if (state !== null)
        throw new AirsealError('TUF_PRESENT', 'this site has a TUF repository already')
      const [root, targets, online] = await keysOf(config, keys)
      const places = [
        ...new Map([root, targets, online].map((one) => [one.place.id, one.place])).values(),
      ]
      const only = ({ listed }: PlacedKey): RoleKeys => ({ keys: [listed], threshold: 1 })
      const roles: Roles = {
        root: only(root),
        targets: only(targets),
        snapshot: only(online),
        timestamp: only(online),
      }
      const step = { lifetimes, now, signers: signersOf({ keys: places }, roles) }
      const files = await createRepository(roles, wanted(), step)
      return { origin: 'own', time: now, keys: places, files }
    })
  }

  async function refresh(
    caller: Caller | null,
    { isClockRight = false, renew = [] }: RefreshOptions = {},
  ): Promise<TufState> {
    return change(caller, 'tuf/refresh', async (state, now) => {
      if (state === null) throw absent()
      const fault = clockFault(now, state.time)
      if (fault !== null && !isClockRight)
        throw new AirsealError('TUF_CLOCK', `${fault}; the repository stays as it is`)
      if (state.origin === 'mirror') return state
      const current = currentOf(state.files)
      const roles = rolesOf(current.root.signed)
      const here = await rolesHere(state)
      const due = [...new Set([...renew, ...dueRoles(current, lifetimes, now, here)])]
      const signers = signersOf(state, roles)
      const files = await advance(state.files, {
        lifetimes,
        now,
        signers,
        renew: due,
        ...(here.has('targets') ? { targets: wanted() } : {}),
      })
      return files === state.files ? state : { ...state, time: Math.max(now, state.time), files }
    })
  }

  /** What the service does by itself: it says once what is wrong, and never gives up. */
  async function care(): Promise<void> {
    const said: string[] = []
    try {
      const { state } = await load()
      if (state === null && config.mode === 'own') await create(null)
      else if (state !== null) {
        const now = await refresh(null)
        for (const { level, text } of tufAlarms(site, now, await rolesHere(now), clock()))
          said.push(`${level}: ${text}`)
      }
    } catch (thrown) {
      const { message, code } = asAirsealError(thrown)
      said.push(`${message} [${code}]`)
    }
    for (const line of said) if (!told.includes(`${line}\n`)) notify(`airseal: tuf: ${line}`)
    told = said.map((line) => `${line}\n`).join('')
  }

  const site: SiteTuf = {
    keys,
    lifetimes,
    mode: config.mode,
    file: (path) => loaded?.served.get(path) ?? null,
    state: async () => {
      const { state } = await load()
      if (state === null) throw absent()
      return state
    },
    stateOrNull: async () => (await load()).state,
    wanted,
    signersOf,
    create,
    change,
    refresh,
    rolesHere,
    attend: async () => {
      if (config.mode !== 'off' && timer !== null) await care()
    },
    start: async () => {
      if (config.mode === 'off') return
      await load().catch(() => undefined)
      const first = care()
      // Without a repository the first clients would be told that there is none.
      if (loaded?.state === null) await first
      timer = setInterval(() => void care(), REFRESH_MS)
      timer.unref()
    },
    close: async () => {
      if (timer !== null) clearInterval(timer)
      await queue.catch(() => undefined)
      await keys.close()
    },
  }
  return site
}

/** Those of the configuration, and new ones where it names none. */
async function keysOf(
  config: Config['tuf'],
  keys: TufKeys,
): Promise<readonly [PlacedKey, PlacedKey, PlacedKey]> {
  const { rootKey, targetsKey, onlineKey } = config
  const wanted = { 'tuf-root': rootKey, 'tuf-targets': targetsKey, 'tuf-online': onlineKey }
  const names = Object.entries(wanted).flatMap(([name, uri]) => (uri === null ? [name] : []))
  const made = await keys.make(names)
  const place = async (name: keyof typeof wanted): Promise<PlacedKey> => {
    const uri = wanted[name]
    const found = uri === null ? made[names.indexOf(name)] : await keys.lookUp(uri)
    if (found === undefined) throw new AirsealError('INTERNAL', `key ${name} was not made`)
    return found
  }
  return [await place('tuf-root'), await place('tuf-targets'), await place('tuf-online')]
}

function absent(): AirsealError {
  return new AirsealError('TUF_ABSENT', 'this site has no TUF repository')
}

/** What clients get, by path; `root.json` is the newest root, for people who hand one out. */
function servedFiles(state: TufState | null): ReadonlyMap<string, PublicFile> {
  if (state === null) return new Map()
  const newest = currentOf(state.files).root
  return new Map(
    [...state.files, ['root.json', newest.bytes] as const].map(([name, bytes]) => [
      name,
      {
        contentType: name.endsWith('.json') ? 'application/json' : 'application/octet-stream',
        bytes,
      },
    ]),
  )
}
