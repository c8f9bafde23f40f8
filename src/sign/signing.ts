import type { Signer } from '../../keys/signer.ts'
import {
  AirsealError,
  sha256Hex,
  type Clock,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { Grounds, Keyring, KeyUse, RegisteredKey } from '../keyring/index.ts'
import type { NewLeaf, Records, StoredAuditRow, TransparencyLog } from '../log/index.ts'
import type { RegistrySettings } from '../oci/index.ts'
import { dsseProposal, hashedrekordProposal, predicateOf } from '../sigstore/index.ts'
import { countersignature, readSignature } from './countersign.ts'
import {
  attestation,
  bundleSignature,
  identityOf,
  legacySignature,
  signatureIdentity,
  type Intent,
} from './intent.ts'
import { locationJson, locationName, parseJob, serialiseJob, type JobDocument } from './job.ts'
import { publish, signedPieces, type SignedPiece } from './publish.ts'
import {
  parseAttestRequest,
  parseSignRequest,
  type SignatureFormats,
  type SignRequest,
} from './request.ts'
import { repositoryAt, resolveSubjects, type Subject } from './subjects.ts'

/** What signing needs from the rest of the appliance. */
export interface SigningParts {
  readonly log: TransparencyLog
  readonly records: Records
  /** Checks a proposed Rekor entry and gives the leaf that the log stores for it. */
  readonly canonicalLeaf: (proposed: JsonObject) => Promise<NewLeaf>
  /** Chooses, authorises and reaches the keys. */
  readonly keys: Keyring
  readonly registrySettings: RegistrySettings
  readonly defaultFormats: SignatureFormats
  readonly clock: Clock
  /** Told of every artefact once its log entry is durable, so that it counts as known here. Must not throw. */
  readonly onLogged?: (digest: Digest, pieces: readonly SignedPiece[], place: string) => void
}

export interface Signing {
  /** `POST /v1/sign`: body as {@link parseSignRequest} reads it. `caller` goes into the audit trail. */
  sign(body: Json, caller: string): Promise<Json>
  /** `POST /v1/attest`: body as {@link parseAttestRequest} reads it. */
  attest(body: Json, caller: string): Promise<Json>
  /**
   * Finishes what a crash or an unreachable registry left: logs what was signed, pushes what was logged.
   * @returns how many jobs were finished, and those that must wait with the reason
   */
  finishPending(): Promise<{
    finished: number
    waiting: readonly { digest: string; reason: string }[]
  }>
  /**
   * Logs everything that a key signed and that is not logged yet; pushing may come later. For whoever takes the key out of use, inside
   * {@link Keyring.exclusive}.
   * @returns how many there were
   */
  logSigned(keyId: string): Promise<number>
  /**
   * Signs again, with another key, what a row of the audit trail says was signed: the same payload, so that whoever trusts only the new key
   * finds the same signature by it. Doing it again adds nothing.
   * @param counts - whether an entry of the old key at this log index still counts: what doesn't is not signed again
   * @returns null when the row is of nothing that was signed, or of nothing that reached the log
   * @throws AirsealError IMAGE_NOT_FOUND when the image is gone, PUSH_PENDING, and as keys and registries give it
   */
  countersign(
    row: StoredAuditRow,
    key: RegisteredKey,
    counts: (logIndex: number) => boolean,
    caller: string,
  ): Promise<Countersigned | null>
  /** The job behind a row of the audit trail; null when the row is of no signature. */
  jobOf(row: StoredAuditRow): Promise<JobDocument | null>
}

/** What became of one signature. */
export interface Countersigned {
  readonly digest: string
  readonly place: string
  /** `present`: it had been signed again before. `refused`: the old entry does not count. */
  readonly status: 'added' | 'present' | 'refused'
}

/** Pending jobs looked at in one round. */
const PENDING_LIMIT = 10_000

export function createSigning(parts: SigningParts): Signing {
  const running = new Map<string, Promise<JsonObject[]>>()
  let round: ReturnType<Signing['finishPending']> | null = null

  async function sign(body: Json, caller: string): Promise<Json> {
    const request = parseSignRequest(body)
    const key = parts.keys.registry.choose(request.key)
    const formats = request.signatures ?? parts.defaultFormats
    return forEachImage(request, request.recursive, caller, (subject) => {
      const intents: Intent[] = []
      if (formats !== 'bundle') intents.push(legacySignature(subject, key, request))
      if (formats !== 'legacy') intents.push(bundleSignature(subject, key, request))
      return intents
    })
  }

  async function attest(body: Json, caller: string): Promise<Json> {
    const request = parseAttestRequest(body)
    const key = parts.keys.registry.choose(request.key)
    const formats = request.signatures ?? parts.defaultFormats
    // Checked before any image is looked at: a bad predicate signs nothing.
    predicateOf(request.type, request.predicate, parts.clock())
    return forEachImage(request, false, caller, (subject) => [
      attestation(subject, key, request, formats, parts.clock),
    ])
  }

  /** All images are resolved before the first is signed, so that a wrong name signs nothing; the first fault after that ends the request. */
  async function forEachImage(
    request: Pick<SignRequest, 'images' | 'resolveTag'>,
    recursive: boolean,
    caller: string,
    intentsOf: (subject: Subject) => readonly Intent[],
  ): Promise<Json> {
    const options = { resolveTag: request.resolveTag, recursive, settings: parts.registrySettings }
    const resolved: (readonly [string, readonly Subject[]])[] = []
    for (const image of request.images)
      resolved.push([image, await resolveSubjects(image, options)])
    const results: JsonObject[] = []
    for (const [image, subjects] of resolved) {
      for (const subject of subjects) {
        const signatures: JsonObject[] = []
        for (const intent of intentsOf(subject)) signatures.push(...(await once(intent, caller)))
        results.push({ image, digest: subject.descriptor.digest, signatures })
      }
    }
    return { results }
  }

  /** Two requests for the same signature make one. */
  function once(intent: Intent, caller: string): Promise<JsonObject[]> {
    const identity = identityOf(intent)
    const before = running.get(identity)
    if (before !== undefined) return before
    const work = carryOut(intent, identity, caller).finally(() => running.delete(identity))
    running.set(identity, work)
    return work
  }

  async function carryOut(intent: Intent, identity: string, caller: string): Promise<JsonObject[]> {
    const { key, action, use, subject } = intent
    const known = await parts.records.jobByIdentity(identity)
    if (known !== null) {
      const job = parseJob(known.document)
      if (job.keyId !== key.publicKey.id)
        throw new AirsealError('STORAGE', 'a stored signing job names another key')
      return push(known.id, await logged(known.id, job), subject.repository)
    }
    const { digest } = subject.descriptor
    const asked: KeyUse = { ...use, kind: action, caller, digest, exists: true }
    const begun = await parts.keys.use(key.name, asked, async (signer, grounds) => {
      const { id, document } = await begin(intent, identity, caller, signer, grounds)
      // Within the use of the key: once it is replaced, nothing that it signed reaches the log any more.
      return { id, job: await append(id, parseJob(document)) }
    })
    return push(begun.id, begun.job, subject.repository)
  }

  /** Signs. The audit row is durable together with the job, before the signature goes anywhere. */
  async function begin(
    intent: Intent,
    identity: string,
    caller: string,
    signer: Signer,
    grounds: Grounds,
  ): Promise<{ id: number; document: string }> {
    const { subject, key } = intent
    const { mediaType, digest, size } = subject.descriptor
    const document: JobDocument = {
      location: subject.location,
      subject: { mediaType, digest, size },
      keyId: signer.publicKey.id,
      publicKeyPem: signer.publicKey.pem,
      content: await intent.makeContent(signer),
      artifacts: intent.artifacts,
      entry: null,
    }
    const { job } = await parts.records.beginJob({
      identity,
      digest,
      document: serialiseJob(document),
      audit: {
        time: parts.clock(),
        caller,
        action: intent.action,
        key: signer.publicKey.id,
        digest,
        detail: {
          keyName: key.name,
          use: { ...grounds },
          location: locationJson(subject.location),
          ...intent.name,
        },
      },
    })
    return job
  }

  /** The job with its log entry. One that a crash left unlogged is logged while its key counts. */
  function logged(id: number, job: JobDocument): Promise<JobDocument> {
    if (job.entry !== null) return Promise.resolve(job)
    return parts.keys.shared(() => {
      const key = parts.keys.registry.byKeyId(job.keyId)
      if (key === null || key.state === 'active') return append(id, job)
      throw new AirsealError(
        'KEY_STATE',
        `${job.subject.digest} was signed by key "${key.name}", which is ${key.state} now: its entry would not count`,
      )
    })
  }

  /** Logs; durable when it resolves. */
  async function append(id: number, job: JobDocument): Promise<JobDocument> {
    if (job.entry !== null) return job
    const { entry } = await parts.log.append(await parts.canonicalLeaf(proposalOf(job)))
    const now: JobDocument = { ...job, entry }
    const document = serialiseJob(now)
    await parts.records.updateJob(id, { state: 'logged', document, time: parts.clock() })
    return now
  }

  /** Stores the artefacts of a logged job beside its image. */
  async function push(
    id: number,
    job: JobDocument,
    repository?: Awaited<ReturnType<typeof repositoryAt>>,
  ): Promise<JsonObject[]> {
    parts.onLogged?.(job.subject.digest, signedPieces(job), locationName(job.location))
    const published = await publish(
      repository ?? (await repositoryAt(job.location, parts.registrySettings)),
      job,
    ).catch((cause: unknown) => {
      const where = job.entry === null ? '' : ` as index ${job.entry.logIndex}`
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new AirsealError(
        'PUSH_PENDING',
        `${job.subject.digest} is signed and logged${where}, not yet stored beside the image: ${reason}`,
        { cause },
      )
    })
    const document = serialiseJob(job)
    await parts.records.updateJob(id, { state: 'pushed', document, time: parts.clock() })
    return published.map(({ format, artifact, status }) => ({
      format,
      artifact,
      status,
      logIndex: job.entry?.logIndex ?? null,
      entryId: job.entry?.entryId ?? null,
      integratedTime: job.entry?.integratedTime ?? null,
      keyId: job.keyId,
    }))
  }

  /** One round at a time: a registry that swallows requests makes a round longer than the time between two. */
  function finishPending(): ReturnType<Signing['finishPending']> {
    round ??= finishRound().finally(() => (round = null))
    return round
  }

  async function finishRound(): ReturnType<Signing['finishPending']> {
    const waiting: { digest: string; reason: string }[] = []
    let finished = 0
    const jobs = await parts.records.unfinishedJobs(PENDING_LIMIT)
    for (const { id, identity, digest, document } of jobs) {
      if (running.has(identity)) continue
      // One job that can't be read or finished must not keep the others waiting.
      try {
        await push(id, await logged(id, parseJob(document)))
        finished++
      } catch (cause) {
        waiting.push({
          digest: digest ?? `job ${id}`,
          reason: cause instanceof Error ? cause.message : String(cause),
        })
      }
    }
    return { finished, waiting }
  }

  async function logSigned(keyId: string): Promise<number> {
    let count = 0
    for (const { id, state, document } of await parts.records.unfinishedJobs(PENDING_LIMIT)) {
      const job = state === 'signed' ? parseJob(document) : null
      if (job?.keyId !== keyId || job.entry !== null) continue
      await append(id, job)
      count++
    }
    return count
  }

  async function countersign(
    row: StoredAuditRow,
    key: RegisteredKey,
    counts: (logIndex: number) => boolean,
    caller: string,
  ): Promise<Countersigned | null> {
    const signature = readSignature(row)
    const old = signature === null ? null : await jobOf(row)
    if (signature === null || !old?.entry) return null
    const about = { digest: old.subject.digest, place: locationName(old.location) }
    if (!counts(old.entry.logIndex)) return { ...about, status: 'refused' }
    const identity = signatureIdentity({ ...signature, keyId: key.publicKey.id })
    const done = await parts.records.jobByIdentity(identity)
    if (done?.state === 'pushed') return { ...about, status: 'present' }
    const repository = await repositoryAt(old.location, parts.registrySettings)
    const { descriptor } = await repository.readManifest(old.subject.digest)
    const subject = { repository, location: old.location, descriptor }
    await once(countersignature(subject, key, signature, old), caller)
    return { ...about, status: 'added' }
  }

  async function jobOf(row: StoredAuditRow): Promise<JobDocument | null> {
    const signature = readSignature(row)
    if (signature === null) return null
    const job = await parts.records.jobByIdentity(signatureIdentity(signature))
    return job === null ? null : parseJob(job.document)
  }

  return { sign, attest, finishPending, logSigned, countersign, jobOf }
}

/** The Rekor entry of a job. The same job gives the same entry, so logging it twice finds the first. */
function proposalOf({ content, publicKeyPem }: JobDocument): JsonObject {
  if (content.kind === 'envelope') return dsseProposal({ envelopeText: content.text, publicKeyPem })
  return hashedrekordProposal({
    sha256Hex: sha256Hex(content.payload),
    signature: content.signature,
    publicKeyPem,
  })
}
