import { AirsealError, digestOf, fromHex, toBase64, utf8, type Digest } from '../core/index.ts'
import type { LoggedEntry } from '../log/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  legacyTag,
  type NewLayer,
  type Repository,
} from '../oci/index.ts'
import {
  bundleText,
  DSSE_TYPE,
  parseEnvelope,
  rekorBundleAnnotation,
  SIMPLE_SIGNING_TYPE,
  type LogEntryEvidence,
} from '../sigstore/index.ts'
import type { ArtifactKind, JobDocument } from './job.ts'

/** Annotations of legacy layers (cosign). */
const SIGNATURE_ANNOTATION = 'dev.cosignproject.cosign/signature'
const BUNDLE_ANNOTATION = 'dev.sigstore.cosign/bundle'
const PREDICATE_ANNOTATION = 'predicateType'

export interface Published {
  readonly format: 'legacy' | 'bundle'
  /** Tag of a legacy artefact, digest of a referrer manifest. */
  readonly artifact: string
  readonly status: 'added' | 'present'
}

/**
 * Stores the artefacts of a logged job beside its image. Idempotent: what is there already stays and is not written again.
 * @throws AirsealError as the repository gives it
 */
export async function publish(
  repository: Repository,
  job: JobDocument,
): Promise<readonly Published[]> {
  const published: Published[] = []
  for (const kind of job.artifacts)
    published.push(await publishOne(repository, job, loggedEntry(job), kind))
  return published
}

/** "Log before release": nothing is stored beside an image before its entry is durable. */
function loggedEntry(job: JobDocument): LoggedEntry {
  if (job.entry === null)
    throw new AirsealError('INTERNAL', 'an artefact was to leave before its log entry exists')
  return job.entry
}

async function publishOne(
  repository: Repository,
  job: JobDocument,
  entry: LoggedEntry,
  kind: ArtifactKind,
): Promise<Published> {
  const digest = job.subject.digest
  if (kind === 'bundle') return publishBundle(repository, job, entry)
  const layer = legacyLayer(job, entry)
  const signature = layer.annotations[SIGNATURE_ANNOTATION]
  const status = await appendLegacyLayer(repository, digest, kind, layer, (existing) => {
    return (
      existing.digest === digestOf(layer.blob) &&
      existing.annotations[SIGNATURE_ANNOTATION] === signature
    )
  })
  return { format: 'legacy', artifact: legacyTag(digest, kind), status }
}

function legacyLayer({ content }: JobDocument, entry: LoggedEntry): NewLayer {
  const bundle = rekorBundleAnnotation({ ...evidenceOf(entry), set: entry.signedEntryTimestamp })
  if (content.kind === 'simple-signing') {
    return {
      mediaType: SIMPLE_SIGNING_TYPE,
      blob: content.payload,
      annotations: {
        [SIGNATURE_ANNOTATION]: toBase64(content.signature),
        [BUNDLE_ANNOTATION]: bundle,
      },
    }
  }
  return {
    mediaType: DSSE_TYPE,
    blob: utf8(content.text),
    annotations: {
      [SIGNATURE_ANNOTATION]: '',
      [BUNDLE_ANNOTATION]: bundle,
      [PREDICATE_ANNOTATION]: content.predicateType,
    },
  }
}

async function publishBundle(
  repository: Repository,
  job: JobDocument,
  entry: LoggedEntry,
): Promise<Published> {
  const { content, subject } = job
  const bundle = bundleOf(job, entry)
  if (content.kind !== 'envelope')
    throw new AirsealError('INTERNAL', 'a bundle is made of an envelope only')
  const referrer = buildBundleReferrer({
    bundle: utf8(bundle),
    subject,
    predicateType: content.predicateType,
    // The entry's time, not now: the same job gives the same manifest, however often it is pushed.
    created: new Date(entry.integratedTime * 1000),
  })
  const { digest } = referrer.descriptor
  const status = (await isListed(repository, subject.digest, digest)) ? 'present' : 'added'
  await repository.addReferrer(referrer)
  return { format: 'bundle', artifact: digest, status }
}

async function isListed(
  repository: Repository,
  subject: Digest,
  referrer: Digest,
): Promise<boolean> {
  const { descriptors } = await repository.referrers(subject)
  return descriptors.some(({ digest }) => digest === referrer)
}

/** An artefact as evidence about its image. */
export type SignedPiece =
  | {
      readonly format: 'legacy'
      readonly kind: 'signature' | 'attestation'
      readonly payload: Uint8Array
      readonly annotations: Readonly<Record<string, string>>
    }
  | { readonly format: 'bundle'; readonly text: string }

/** The artefacts of a logged job, as verifiers find them beside the image. */
export function signedPieces(job: JobDocument): readonly SignedPiece[] {
  const entry = loggedEntry(job)
  return job.artifacts.map((kind) => {
    if (kind === 'bundle') return { format: 'bundle', text: bundleOf(job, entry) }
    const { blob, annotations } = legacyLayer(job, entry)
    return {
      format: 'legacy',
      kind: kind === 'sig' ? 'signature' : 'attestation',
      payload: blob,
      annotations,
    }
  })
}

function bundleOf({ content, keyId }: JobDocument, entry: LoggedEntry): string {
  if (content.kind !== 'envelope')
    throw new AirsealError('INTERNAL', 'a bundle is made of an envelope only')
  return bundleText({
    content: { kind: 'dsse', envelope: parseEnvelope(content.text) },
    publicKeyHint: toBase64(fromHex(keyId, 'key id')),
    entry: evidenceOf(entry),
  })
}

/** What the artefact carries of its log entry. */
function evidenceOf(entry: LoggedEntry): LogEntryEvidence {
  return {
    body: entry.body,
    integratedTime: entry.integratedTime,
    logId: entry.logId,
    logIndex: entry.logIndex,
    set: entry.signedEntryTimestamp,
    inclusionProof: entry.proof,
    kindVersion: null,
  }
}
