import { AirsealError, type JsonObject } from '../src/core/index.ts'
import {
  checkContents,
  checkGate,
  checkHeader,
  type CheckedBundle,
  type TrustInForce,
} from './check.ts'
import type { Gate, Judge, Passed } from './gate.ts'
import type { SignedHeader } from './header.ts'
import { findVolumes, openMedium, type Medium } from './medium.ts'
import { placeInOrder } from './order.ts'
import type { Progress } from './progress.ts'
import { Promoter, type Destination } from './promote.ts'
import type { Knowledge, ReceiverSite } from './receiver.ts'
import { Spool } from './spool.ts'
import type { TrustReader } from './trust.ts'
import { verificationSummary } from './summary.ts'

export interface ImportRequest {
  /** Directories of the bundle or of its volumes. */
  readonly paths: readonly string[]
  readonly destination: Destination
  readonly gate: Gate
  readonly judge: Judge
  readonly trustReader: TrustReader
  /** Unix milliseconds. */
  readonly now: number
  readonly progress: Progress
  /** Directory for volumes that wait for others. */
  readonly spool: string
}

export interface ImportResult {
  readonly signed: SignedHeader
  /** True: it had been imported before; nothing was done. */
  readonly replay: boolean
  /** As it was noted the first time. */
  readonly result: JsonObject
}

/**
 * Imports a bundle: header, trust, order, volumes, contents, log, signatures and rules, staging, promoting. Until promoting begins nothing
 * changes but the staging repository; from there on the same command finishes it, after any interruption, and no other bundle comes before.
 * @throws AirsealError: see FORMAT.md §7; nothing was imported
 */
export async function importBundle(
  site: ReceiverSite,
  request: ImportRequest,
): Promise<ImportResult> {
  const { progress } = request
  const found = await findVolumes(request.paths)
  const { signed } = found
  const { header } = signed
  const known = await site.know(header)
  if (known === null) {
    throw new AirsealError(
      'PEER_UNKNOWN',
      `${header.source} is not known here: make this side with airseal init --trust FILE, or run airseal bundle peer FILE, with its trust bundle`,
    )
  }
  const spool = new Spool(request.spool)
  const kept = header.volumes.length === 1 ? [] : await spool.volumes(signed.digest)
  const whole = { signed, directories: [...found.directories, ...kept] }
  const force = await checkHeader(whole, known.trust, request.trustReader, request.now)
  const bundle = await alarmed(site, signed, async () => {
    if (place(signed, known) === 'replay') return null
    await site.checkWitness(header.witness)
    const medium = await openMedium(whole)
    if (medium.missing.length > 0) {
      await spool.take(medium, progress)
      throw incomplete(medium)
    }
    return checkContents(medium, force.trust, known.state?.log ?? null, (name) =>
      Promise.resolve(request.destination.open(name)),
    )
  })
  if (bundle === null) {
    if (known.same === null) throw new AirsealError('INTERNAL', 'a replay without a first import')
    return { signed, replay: true, result: known.same.result }
  }
  progress.step(`checking signatures of ${bundle.contents.images.length} images`, 0)
  const passed = await checkGate(bundle, request.gate, force.trust, request.judge, () => undefined)
  const result = await move(site, request, bundle, force, passed, known.own)
  await spool.forget(signed.digest)
  return { signed, replay: false, result }
}

function place(
  signed: SignedHeader,
  { own, state, same, base, promoting }: Knowledge,
): 'next' | 'replay' {
  const { header, digest } = signed
  if (
    promoting !== null &&
    promoting.header !== digest &&
    header.sequence !== state?.last.sequence
  ) {
    throw new AirsealError(
      promoting.sequence === header.sequence ? 'TRANSFER_FORK' : 'TRANSFER_UNFINISHED',
      promoting.sequence === header.sequence
        ? `bundle ${header.sequence} of ${header.source} is another one than the bundle ${header.sequence} whose import was begun: two histories were signed`
        : `the import of bundle ${promoting.sequence} of ${header.source} was begun: import it again first, which finishes it`,
    )
  }
  const imported = (sequence: number) =>
    sequence === header.sequence
      ? (same?.header ?? null)
      : sequence === header.base?.sequence
        ? base
        : null
  return placeInOrder({ signed, own, state, imported })
}

/** Two histories are kept as evidence before the refusal is told. */
async function alarmed<T>(
  site: ReceiverSite,
  signed: SignedHeader,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AirsealError && error.code === 'TRANSFER_FORK')
      await site.keepEvidence(signed, error.message)
    throw error
  }
}

async function move(
  site: ReceiverSite,
  request: ImportRequest,
  bundle: CheckedBundle,
  force: TrustInForce,
  passed: readonly Passed[],
  own: string,
): Promise<JsonObject> {
  const { destination, progress, gate } = request
  const { signed } = bundle.medium
  const promoter = new Promoter(bundle, destination)
  await promoter.stage(progress)
  const began = await site.promote(signed, destination.name)
  await promoter.promote(progress)
  progress.step('signing what was verified', 0)
  await site.vouch(
    passed.map((one) => ({
      image: `${destination.name}/${one.image.repository}@${one.image.digest}`,
      summary: verificationSummary(one, signed, force.trust, gate, own, began),
      resign: one.rule.resign,
    })),
  )
  const result = await site.finish(signed, {
    registry: destination.name,
    trust: force.bytes,
    trustVersion: force.trust.version,
    images: passed.map(({ image, by, rule }) => ({
      image: `${destination.name}/${image.repository}${image.tag === null ? '' : `:${image.tag}`}`,
      digest: image.digest,
      by,
      rule: rule.name,
    })),
    bytes: signed.header.volumes.reduce((sum, { bytes }) => sum + bytes, 0),
  })
  await promoter.clean()
  return result
}

function incomplete({ signed, missing }: Medium): AirsealError {
  const of = signed.header.volumes.length
  return new AirsealError(
    'MEDIUM_INCOMPLETE',
    `volumes ${missing.join(', ')} of ${of} are still needed; the others are taken in`,
    { details: { missing: [...missing], of } },
  )
}
