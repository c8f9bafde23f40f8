import type { Signer } from '../../keys/signer.ts'
import {
  AirsealError,
  canonicalJson,
  sha256Hex,
  type Clock,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { NewLeaf, Records, TransparencyLog } from '../log/index.ts'
import type { RegistrySettings } from '../oci/index.ts'
import {
  attestationStatement,
  COSIGN_SIGN_TYPE,
  dsseProposal,
  envelopeText,
  hashedrekordProposal,
  IN_TOTO_TYPE,
  pae,
  predicateOf,
  predicateTypeUri,
  signStatement,
  simpleSigningPayload,
} from '../sigstore/index.ts'
import {
  locationJson,
  parseJob,
  serialiseJob,
  type ArtifactKind,
  type JobDocument,
  type SignedContent,
} from './job.ts'
import { publish, signedPieces, type SignedPiece } from './publish.ts'
import {
  parseAttestRequest,
  parseSignRequest,
  type AttestRequest,
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
  /** Keys by name; the first signs when none is named. */
  readonly signers: ReadonlyMap<string, Signer>
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
}

/** One signature to be made, or found made before. */
interface Intent {
  readonly subject: Subject
  readonly signer: Signer
  readonly action: 'sign' | 'attest'
  /** What makes it the same signature as an earlier one, besides image, place and key. */
  readonly name: JsonObject
  readonly artifacts: readonly ArtifactKind[]
  makeContent(): Promise<SignedContent>
}

/** Pending jobs looked at in one round. */
const PENDING_LIMIT = 10_000

export function createSigning(parts: SigningParts): Signing {
  const running = new Map<string, Promise<JsonObject[]>>()
  let round: ReturnType<Signing['finishPending']> | null = null

  async function sign(body: Json, caller: string): Promise<Json> {
    const request = parseSignRequest(body)
    const signer = signerNamed(request.key)
    const formats = request.signatures ?? parts.defaultFormats
    return forEachImage(request, request.recursive, caller, (subject) => {
      const intents: Intent[] = []
      if (formats !== 'bundle') intents.push(legacySignature(subject, signer, request))
      if (formats !== 'legacy') intents.push(bundleSignature(subject, signer, request))
      return intents
    })
  }

  async function attest(body: Json, caller: string): Promise<Json> {
    const request = parseAttestRequest(body)
    const signer = signerNamed(request.key)
    const formats = request.signatures ?? parts.defaultFormats
    // Checked before any image is looked at: a bad predicate signs nothing.
    predicateOf(request.type, request.predicate, parts.clock())
    return forEachImage(request, false, caller, (subject) => [
      attestation(subject, signer, request, formats, parts.clock),
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
    const job =
      (await parts.records.jobByIdentity(identity)) ?? (await begin(intent, identity, caller))
    const document = parseJob(job.document)
    if (document.keyId !== intent.signer.publicKey.id)
      throw new AirsealError('STORAGE', 'a stored signing job names another key')
    return finish(job.id, document, intent.subject.repository)
  }

  /** Signs. The audit row is durable together with the job, before the signature goes anywhere. */
  async function begin(
    intent: Intent,
    identity: string,
    caller: string,
  ): Promise<{ id: number; document: string }> {
    const { subject, signer } = intent
    const { mediaType, digest, size } = subject.descriptor
    const document: JobDocument = {
      location: subject.location,
      subject: { mediaType, digest, size },
      keyId: signer.publicKey.id,
      publicKeyPem: signer.publicKey.pem,
      content: await intent.makeContent(),
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
        detail: { keyName: signer.name, location: locationJson(subject.location), ...intent.name },
      },
    })
    return job
  }

  /** Logs, then pushes; each step is durable before the next begins. */
  async function finish(
    id: number,
    job: JobDocument,
    repository?: Awaited<ReturnType<typeof repositoryAt>>,
  ): Promise<JsonObject[]> {
    let logged = job
    if (job.entry === null) {
      const { entry } = await parts.log.append(await parts.canonicalLeaf(proposalOf(job)))
      logged = { ...job, entry }
      await parts.records.updateJob(id, {
        state: 'logged',
        document: serialiseJob(logged),
        time: parts.clock(),
      })
    }
    parts.onLogged?.(logged.subject.digest, signedPieces(logged), placeOf(logged.location))
    const published = await publish(
      repository ?? (await repositoryAt(job.location, parts.registrySettings)),
      logged,
    ).catch((cause: unknown) => {
      const where = logged.entry === null ? '' : ` as index ${logged.entry.logIndex}`
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new AirsealError(
        'PUSH_PENDING',
        `${job.subject.digest} is signed and logged${where}, not yet stored beside the image: ${reason}`,
        { cause },
      )
    })
    await parts.records.updateJob(id, {
      state: 'pushed',
      document: serialiseJob(logged),
      time: parts.clock(),
    })
    return published.map(({ format, artifact, status }) => ({
      format,
      artifact,
      status,
      logIndex: logged.entry?.logIndex ?? null,
      entryId: logged.entry?.entryId ?? null,
      integratedTime: logged.entry?.integratedTime ?? null,
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
        await finish(id, parseJob(document))
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

  function signerNamed(name: string | null): Signer {
    const signer = name === null ? [...parts.signers.values()][0] : parts.signers.get(name)
    if (signer === undefined) {
      throw new AirsealError(
        'KEY_UNKNOWN',
        `no key "${name ?? ''}"; there are: ${[...parts.signers.keys()].join(', ')}`,
      )
    }
    return signer
  }

  return { sign, attest, finishPending }
}

/** For people. */
function placeOf(location: JobDocument['location']): string {
  return location.kind === 'registry'
    ? `${location.registry}/${location.repository}`
    : `oci:${location.directory}`
}

/** Names what is signed: equal for two requests exactly when one signature serves both. 64 hex digits. */
function identityOf({ subject, signer, action, name }: Intent): string {
  const { location, descriptor } = subject
  return sha256Hex(
    canonicalJson({
      action,
      location: locationJson(location),
      digest: descriptor.digest,
      key: signer.publicKey.id,
      ...name,
    }),
  )
}

function legacySignature(subject: Subject, signer: Signer, request: SignRequest): Intent {
  const payload = simpleSigningPayload({
    repository: request.identity ?? subject.repository.identity,
    digest: subject.descriptor.digest,
    annotations: request.annotations,
  })
  return {
    subject,
    signer,
    action: 'sign',
    name: { format: 'legacy', payload: sha256Hex(payload) },
    artifacts: ['sig'],
    makeContent: async () => ({
      kind: 'simple-signing',
      payload,
      signature: await signer.sign(payload),
    }),
  }
}

function bundleSignature(subject: Subject, signer: Signer, request: SignRequest): Intent {
  const statement = signStatement(subject.descriptor.digest, request.annotations)
  return {
    subject,
    signer,
    action: 'sign',
    name: { format: 'bundle', payload: sha256Hex(statement) },
    artifacts: ['bundle'],
    makeContent: () => envelope(signer, statement, COSIGN_SIGN_TYPE),
  }
}

function attestation(
  subject: Subject,
  signer: Signer,
  request: AttestRequest,
  formats: SignatureFormats,
  clock: Clock,
): Intent {
  const artifacts: ArtifactKind[] = []
  if (formats !== 'bundle') artifacts.push('att')
  if (formats !== 'legacy') artifacts.push('bundle')
  return {
    subject,
    signer,
    action: 'attest',
    // A custom predicate holds the time of signing, so the file names it, not the statement.
    name: {
      format: formats,
      predicateType: predicateTypeUri(request.type),
      type: request.type,
      predicate: sha256Hex(request.predicate),
    },
    artifacts,
    makeContent: () => {
      const { predicate, predicateType } = predicateOf(request.type, request.predicate, clock())
      const { digest } = subject.descriptor
      const statement = attestationStatement({
        subjectName: subject.repository.identity,
        digest,
        predicateType,
        predicate,
      })
      return envelope(signer, statement, predicateType)
    },
  }
}

async function envelope(
  signer: Signer,
  statement: Uint8Array,
  predicateType: string,
): Promise<SignedContent> {
  const sig = await signer.sign(pae(IN_TOTO_TYPE, statement))
  const text = envelopeText({
    payloadType: IN_TOTO_TYPE,
    payload: statement,
    signatures: [{ sig, keyid: '' }],
  })
  return { kind: 'envelope', text, predicateType }
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
