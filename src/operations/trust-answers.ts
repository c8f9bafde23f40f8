import { fromUtf8, parseJson, type Json, type JsonObject } from '../core/index.ts'
import type { TransparencyLog } from '../log/index.ts'
import {
  ageOf,
  alarmsOf,
  differences,
  rootsFingerprint,
  signersOf,
  type AgeLimits,
  type Alarm,
  type SignedTrustBundle,
} from '../trust/index.ts'
import type { Outcome, TrustKeeper } from './trust-keeper.ts'

/** A bundle for people and programs: what is signed, and by whom. */
export function bundleAnswer(bundle: SignedTrustBundle): JsonObject {
  const { document, digest, envelope } = bundle
  return {
    digest,
    signedBy: signersOf(envelope, document.roots).map(({ name }) => name),
    rootsFingerprint: rootsFingerprint(document.roots),
    bundle: parseJson(fromUtf8(envelope.payload, 'the trust bundle')),
  }
}

export function outcomeAnswer({ published, version, changes }: Outcome): JsonObject {
  return { published, version, changes: [...changes] }
}

/** What `airseal trust status` and readiness tell. */
export async function statusAnswer(
  keeper: TrustKeeper,
  limits: AgeLimits,
  log: TransparencyLog,
  now: number,
): Promise<JsonObject> {
  const bundle = keeper.bundle()
  const { document } = bundle
  const { stage, days, missed } = ageOf(document, limits, now)
  const alarms = await currentAlarms(keeper, limits, log, now)
  const draft = keeper.draft()
  const root = keeper.onlineRoot()
  return {
    enclave: document.enclave,
    version: document.version,
    digest: bundle.digest,
    stage,
    ageDays: days,
    missedUpdates: missed,
    created: new Date(document.created).toISOString(),
    expires: new Date(document.expires).toISOString(),
    roots: {
      version: document.roots.version,
      threshold: document.roots.threshold,
      keys: document.roots.keys.map(({ name, key }): Json => ({
        name,
        keyId: key.id,
        online: key.id === root?.keyId,
      })),
      fingerprint: rootsFingerprint(document.roots),
    },
    waiting: draft === null ? [] : [...differences(document, draft)],
    alarms: alarms.map((alarm): Json => ({ ...alarm })),
  }
}

/** Everything that is old, or whose end is near, or that shows a wrong clock. */
export async function currentAlarms(
  keeper: TrustKeeper,
  limits: AgeLimits,
  log: TransparencyLog,
  now: number,
): Promise<readonly Alarm[]> {
  return alarmsOf(keeper.bundle(), limits, now, await newestEntry(log))
}

/** Time of the newest entry, milliseconds since 1970; 0 without one, or when the log can't tell. */
async function newestEntry(log: TransparencyLog): Promise<number> {
  try {
    const { treeSize } = await log.signedHead()
    const entry = treeSize === 0 ? null : await log.entryByIndex(treeSize - 1)
    return (entry?.integratedTime ?? 0) * 1000
  } catch {
    return 0
  }
}

/** The bundle's part of readiness: too old to count means that nothing verifies; everything else is told, and stops nobody. */
export async function trustReadiness(
  keeper: TrustKeeper,
  limits: AgeLimits,
  log: TransparencyLog,
  now: number,
): Promise<{ readonly ready: boolean; readonly text: string }> {
  const { document } = keeper.bundle()
  const alarms = await currentAlarms(keeper, limits, log, now)
  const expires = new Date(document.expires).toISOString().slice(0, 10)
  const parts = [
    `version ${document.version}, ${ageOf(document, limits, now).stage}, expires ${expires}`,
    ...alarms.map(({ stage, message }) => `${stage}: ${message}`),
    ...(keeper.draft() === null ? [] : ['a change waits for the root keys']),
  ]
  return { ready: ageOf(document, limits, now).stage !== 'enforce', text: parts.join('; ') }
}
