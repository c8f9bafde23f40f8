import { AirsealError, type JsonObject } from '../src/core/index.ts'
import { checkContents, checkGate, checkHeader, type CheckedBundle } from './check.ts'
import { parseContents } from './contents.ts'
import type { Gate, Judge, Passed } from './gate.ts'
import type { SignedHeader } from './header.ts'
import { LIMITS } from './limits.ts'
import { findVolumes, openMedium } from './medium.ts'
import { CONTENTS } from './names.ts'
import type { Progress } from './progress.ts'
import type { TrustReader } from './trust.ts'

export interface VerifyRequest {
  readonly paths: readonly string[]
  /** The sender's trust bundle. */
  readonly trust: Uint8Array
  readonly trustReader: TrustReader
  readonly gate: Gate
  readonly judge: Judge
  readonly now: number
  readonly progress: Progress
}

export interface VerifyResult {
  readonly signed: SignedHeader
  readonly bundle: CheckedBundle
  /** Trust version that judged. */
  readonly trustVersion: number
  readonly passed: readonly Passed[]
  /** Images whose signatures are not on the medium, since the base brought them. */
  readonly unchecked: readonly string[]
}

/**
 * Verifies all that can be verified with a bundle and a trust file alone: header, trust, every byte, contents, log, signatures. Not the
 * order: that is between the bundle and who imports it.
 * @throws AirsealError as importing does
 */
export async function verifyBundleDirectory(request: VerifyRequest): Promise<VerifyResult> {
  const { progress, gate, judge } = request
  const found = await findVolumes(request.paths)
  const { trust } = await checkHeader(found, request.trust, request.trustReader, request.now)
  const medium = await openMedium(found)
  progress.step('hashing', medium.bytes)
  await medium.checkAll((bytes) => {
    progress.add(bytes)
  })
  if (medium.missing.length > 0) {
    throw new AirsealError(
      'MEDIUM_INCOMPLETE',
      `volumes ${medium.missing.join(', ')} of ${found.signed.header.volumes.length} are not at hand; those that are have every byte right`,
    )
  }
  const bundle = await checkContents(medium, trust, null, () => Promise.resolve(null))
  const omitted = new Set(bundle.contents.omitted.map(({ digest }) => digest))
  const isHere = ({
    digest,
  }: {
    digest: (typeof bundle.contents.images)[number]['digest']
  }): boolean => !omitted.has(digest)
  const images = bundle.contents.images.filter(isHere)
  const passed = await checkGate(
    { ...bundle, contents: { ...bundle.contents, images } },
    gate,
    trust,
    judge,
    () => undefined,
  )
  return {
    signed: found.signed,
    bundle,
    trustVersion: trust.version,
    passed,
    unchecked: bundle.contents.images
      .filter((image) => !isHere(image))
      .map(({ repository, digest }) => `${repository}@${digest}`),
  }
}

/** What a bundle says of itself; nothing is verified but that it is well-formed. */
export async function inspectBundle(paths: readonly string[]): Promise<JsonObject> {
  const found = await findVolumes(paths)
  const { header, digest, envelope } = found.signed
  const medium = await openMedium(found)
  const contents = medium.names.includes(CONTENTS)
    ? parseContents(await medium.document(CONTENTS, LIMITS.contents))
    : null
  return {
    verified: false,
    header: JSON.parse(Buffer.from(envelope.payload).toString()) as JsonObject,
    headerDigest: digest,
    signatures: envelope.signatures.length,
    volumes: { count: header.volumes.length, missing: [...medium.missing] },
    bytes: header.volumes.reduce((sum, { bytes }) => sum + bytes, 0),
    images: (contents?.images ?? []).map((image) => ({ ...image })),
    attached: (contents?.attached ?? []).map((one) => ({ ...one })),
    files: (contents?.files ?? []).map((file) => ({ ...file })),
    blobs: contents?.blobs.length ?? null,
    omitted: contents?.omitted.length ?? null,
  }
}
