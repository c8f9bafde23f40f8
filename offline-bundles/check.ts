import { join } from 'node:path'
import { AirsealError, toHex, type Digest } from '../src/core/index.ts'
import type { Repository } from '../src/oci/index.ts'
import { BundleRepository } from './bundle-repository.ts'
import { parseContents, type Contents } from './contents.ts'
import { passGate, type Gate, type Judge, type Passed } from './gate.ts'
import { verifyHeader, type Header, type LogPoint } from './header.ts'
import { LIMITS } from './limits.ts'
import {
  checkEntries,
  checkGrowth,
  parseConsistency,
  parseEntries,
  verifyCheckpoint,
  type VerifiedCheckpoint,
} from './log-part.ts'
import type { FoundVolumes, Medium } from './medium.ts'
import { readFileOf } from './medium-files.ts'
import { ANYONE, CHECKPOINT, CONSISTENCY, CONTENTS, trustName } from './names.ts'
import { planImport, type ImportPlan } from './structure.ts'
import type { CarriedTrust, TrustReader } from './trust.ts'

/** The trust by which a bundle is judged. */
export interface TrustInForce {
  readonly trust: CarriedTrust
  /** The trust bundle itself. */
  readonly bytes: Uint8Array
}

/**
 * Takes the trust that the bundle brings, where the roots in force signed it, and checks the header with it: keys that were revoked since do
 * not count, new ones do.
 * @param pinned - the sender's trust bundle that is in force here
 * @param now - Unix milliseconds
 * @throws AirsealError TRANSFER_UNTRUSTED, MEDIUM_INVALID, and what the reader throws for trust that does not follow
 */
export async function checkHeader(
  { signed, directories }: FoundVolumes,
  pinned: Uint8Array,
  reader: TrustReader,
  now: number,
): Promise<TrustInForce> {
  const { header } = signed
  const current = reader.read(pinned)
  if (header.source !== current.enclave) {
    throw new AirsealError(
      'TRANSFER_UNTRUSTED',
      `the bundle is of ${header.source}, the trust file of ${current.enclave}`,
    )
  }
  const force = await trustOfBundle(header.trust.version, directories, pinned, current, reader)
  const { trust } = force
  if (trust.version === header.trust.version && trust.digest !== header.trust.digest)
    throw new AirsealError(
      'MEDIUM_INVALID',
      'the header names another trust bundle than the medium holds',
    )
  const name = header.log.origin.replace(/ - [0-9]{1,19}$/, '')
  const log = trust.believed.logs.find(
    ({ host, hostAndPort }) => name === host || name === hostAndPort,
  )
  if (log === undefined)
    throw new AirsealError(
      'TRANSFER_UNTRUSTED',
      `the log "${header.log.origin}" is not one of the trust file`,
    )
  await verifyHeader(signed, trust.keys, log.logId, now)
  return force
}

async function trustOfBundle(
  version: number,
  directories: readonly string[],
  pinned: Uint8Array,
  current: CarriedTrust,
  reader: TrustReader,
): Promise<TrustInForce> {
  const inForce = { trust: current, bytes: pinned }
  // Somebody brought newer trust by hand: it says more about this bundle than what the bundle brings.
  if (version < current.version) return inForce
  for (const directory of directories) {
    const path = join(directory, trustName(version))
    const bytes = await readFileOf(path, LIMITS.document, path).catch((error: unknown) => {
      if (error instanceof AirsealError && error.code === 'MEDIUM_DAMAGED') return null
      throw error
    })
    if (bytes === null) continue
    if (!reader.update(pinned, bytes)) return inForce
    return { trust: reader.read(bytes), bytes }
  }
  if (version === current.version) return inForce
  throw new AirsealError(
    'MEDIUM_INCOMPLETE',
    `trust version ${version}, under which the bundle was made, is on its first volume: insert that one first`,
  )
}

/** A bundle of which everything but the bytes of blobs was checked. */
export interface CheckedBundle {
  readonly medium: Medium
  readonly contents: Contents
  readonly plan: ImportPlan
  readonly checkpoint: VerifiedCheckpoint
  /** Log entries carried. */
  readonly entries: number
  /** What the bundle shows of one repository. */
  readonly repository: (name: string) => Repository
}

/**
 * Checks contents, structure and log of a medium whose header and volumes were checked.
 * @param base - a repository that has the base of a delta, by its path; null: it can't be asked
 * @param seen - the sender's log at the last import; null: there was none
 * @throws AirsealError MEDIUM_INVALID, MEDIUM_DAMAGED, TRANSFER_FORK, TRANSFER_UNTRUSTED, TRANSFER_BASE
 */
export async function checkContents(
  medium: Medium,
  trust: CarriedTrust,
  seen: LogPoint | null,
  base: (repository: string) => Promise<Repository | null>,
): Promise<CheckedBundle> {
  const { header } = medium.signed
  const contents = parseContents(await medium.document(CONTENTS, LIMITS.contents))
  if (medium.sumOf(CONTENTS) !== header.contents)
    throw new AirsealError(
      'MEDIUM_INVALID',
      'contents.json is not the one that the signed header names',
    )
  if (contents.images.length !== header.images)
    throw new AirsealError(
      'MEDIUM_INVALID',
      `the header counts ${header.images} images, contents.json ${contents.images.length}`,
    )
  if (header.kind === 'trust-only' && contents.images.length > 0)
    throw new AirsealError('MEDIUM_INVALID', 'a bundle of kind trust-only carries images')
  if (header.kind !== 'delta' && contents.omitted.length > 0)
    throw new AirsealError('MEDIUM_INVALID', `a bundle of kind ${header.kind} leaves something out`)
  checkFiles(medium, contents)
  await medium.checkRest()
  const { checkpoint, entries } = await checkLog(medium, contents, trust, seen)

  const bases = new Map<string, Repository | null>()
  const names = new Set(
    [...contents.images, ...contents.attached].map(({ repository }) => repository),
  )
  for (const name of names) bases.set(name, contents.omitted.length === 0 ? null : await base(name))
  const repositories = new Map(
    [...names].map((name) => [
      name,
      new BundleRepository(name, medium, contents, bases.get(name) ?? null),
    ]),
  )
  const repository = (name: string): BundleRepository => {
    const found = repositories.get(name)
    if (found === undefined) throw new AirsealError('INTERNAL', `no repository ${name}`)
    return found
  }
  const omitted = new Set(contents.omitted.map(({ digest }) => digest))
  const plan = await planImport(contents, async (name, digest) => {
    if (omitted.has(digest) && bases.get(name) === null) return null
    return repository(name)
      .readManifest(digest)
      .catch((error: unknown) => {
        throw omitted.has(digest) ? lostBase(error, medium.signed.header, digest, name) : error
      })
  })
  return { medium, contents, plan, checkpoint, entries, repository }
}

/** A delta whose base is not there any more, where that is what `error` means. */
export function lostBase(
  error: unknown,
  { source, target }: Header,
  digest: Digest,
  home: string,
): unknown {
  if (!(error instanceof AirsealError) || error.code !== 'IMAGE_NOT_FOUND') return error
  const to = target === ANYONE ? '' : ` --to ${target}`
  return new AirsealError(
    'TRANSFER_BASE',
    `the registry has lost ${digest} in ${home}, on which this delta builds. Ask ${source} for: airseal bundle export --kind rebase${to} …`,
    { cause: error },
  )
}

/** Everything listed is there, and nothing is there that is not listed. */
function checkFiles(medium: Medium, contents: Contents): void {
  const listed = new Map(contents.files.map(({ name, digest }) => [name, digest]))
  for (const name of medium.names) {
    if (name === CONTENTS || name.startsWith('images/')) continue
    if (listed.get(name) !== medium.sumOf(name))
      throw new AirsealError(
        'MEDIUM_INVALID',
        `contents.json does not list ${name} as it lies on the medium`,
      )
  }
  const blobs = new Set<Digest>(contents.blobs.map(({ digest }) => digest))
  for (const digest of medium.digests) {
    if (!blobs.has(digest))
      throw new AirsealError('MEDIUM_INVALID', `contents.json does not list blob ${digest}`)
  }
  if (medium.missing.length > 0) return
  const names = new Set(medium.names)
  const lost = contents.files.find(({ name }) => !names.has(name))?.name
  if (lost !== undefined) throw new AirsealError('MEDIUM_INVALID', `the medium lacks ${lost}`)
  const blob = contents.blobs.find((one) => !medium.hasBlob(one))?.digest
  if (blob !== undefined) throw new AirsealError('MEDIUM_INVALID', `the medium lacks blob ${blob}`)
}

async function checkLog(
  medium: Medium,
  contents: Contents,
  { believed }: CarriedTrust,
  seen: LogPoint | null,
): Promise<{ checkpoint: VerifiedCheckpoint; entries: number }> {
  const { log } = medium.signed.header
  const note = await medium.document(CHECKPOINT, LIMITS.document)
  const checkpoint = await verifyCheckpoint(note, believed.logs)
  if (
    checkpoint.size !== log.size ||
    toHex(checkpoint.root) !== log.root ||
    checkpoint.origin !== log.origin
  )
    throw new AirsealError(
      'MEDIUM_INVALID',
      'log/checkpoint is another one than the signed header names',
    )
  const proofs = parseConsistency(await medium.document(CONSISTENCY, LIMITS.document))
  if (seen !== null) checkGrowth(seen, checkpoint, proofs)
  let entries = 0
  for (const { name } of contents.files) {
    if (!name.startsWith('log/entries-')) continue
    const some = parseEntries(await medium.document(name, LIMITS.document), name)
    checkEntries(some, checkpoint)
    entries += some.length
  }
  return { checkpoint, entries }
}

/** Judges every image by the rules of the gate. @throws AirsealError TRANSFER_REFUSED naming all that do not pass */
export async function checkGate(
  { contents, repository }: CheckedBundle,
  gate: Gate,
  trust: CarriedTrust,
  judge: Judge,
  onImage: (done: number) => void,
): Promise<readonly Passed[]> {
  const passed: Passed[] = []
  const refused: string[] = []
  for (const [at, image] of contents.images.entries()) {
    try {
      passed.push(await passGate(gate, image, repository(image.repository), trust, judge))
    } catch (error) {
      if (!(error instanceof AirsealError) || error.code !== 'TRANSFER_REFUSED') throw error
      refused.push(error.message)
    }
    onImage(at + 1)
  }
  if (refused.length > 0) {
    const more = refused.length > 10 ? `; and ${refused.length - 10} more` : ''
    throw new AirsealError('TRANSFER_REFUSED', `${refused.slice(0, 10).join('; ')}${more}`, {
      details: { refused: refused.slice(0, 100) },
    })
  }
  return passed
}
