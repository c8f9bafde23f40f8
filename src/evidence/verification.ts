import {
  AirsealError,
  asAirsealError,
  canonicalJson,
  type Clock,
  type Digest,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import {
  openRepository,
  parseReference,
  type Reference,
  type RegistryReference,
  type RegistrySettings,
  type Repository,
  resolveReference,
} from '../oci/index.ts'
import type { Evidence } from '../verify/index.ts'
import { createByteBudget } from './budget.ts'
import {
  faultResult,
  type ImageDemands,
  type ImageResult,
  judgeCollected,
  judgeRepository,
} from './image.ts'
import { checkAgainst, type EntryCheck, type LocalLog } from './local-log.ts'
import { type Plan, planOf } from './plan.ts'
import type { VerificationPolicy } from './policy-document.ts'
import { PreparedAnswers } from './prepared.ts'
import { parseVerifyRequest, type VerifyRequest } from './request.ts'
import { type Answered, resultJson } from './result.ts'
import type { SiteTrust } from './site-trust.ts'
import type { EvidenceStore } from './store.ts'
import { MAX_AGE_MS, VerdictCache } from './verdict-cache.ts'

/** The policies of a site, by name. */
export interface PolicyFinder {
  /** Null when there is none. @throws AirsealError POLICY_INVALID when it is of another kind */
  find(name: string): Promise<VerificationPolicy | null>
  /** Grows with every change. */
  readonly generation: number
}

/** What verification needs from the rest of the appliance. */
export interface VerificationParts {
  /** What is trusted as of now; asked at every request, so that a change counts at once. */
  readonly trust: () => SiteTrust
  readonly registrySettings: RegistrySettings
  /** The log on this machine; null where there is none: then only what signatures carry proves that they are logged. */
  readonly log: LocalLog | null
  readonly clock: Clock
  /** Evidence that is known here; absent: none is, and none is kept. */
  readonly store?: EvidenceStore | undefined
  /** Absent: no policy can be named. */
  readonly policies?: PolicyFinder | undefined
}

export interface Verification {
  /**
   * `POST /v1/verify`: body as {@link parseVerifyRequest} reads it. One result an image, in their order, whatever fails for one of them.
   * @throws AirsealError REQUEST_INVALID, PREDICATE_INVALID, EXPRESSION_INVALID, POLICY_INVALID, KEY_UNKNOWN, KEY_INVALID, KEY_UNSUPPORTED,
   *   TRUST_INVALID: nothing was verified
   */
  verify(body: Json): Promise<Json>
  /** The answer to these very bytes, where it is known and still holds; null: ask {@link verify}. */
  known(body: Uint8Array): Uint8Array | null
  /** Remembers `text`, the JSON of an answer that {@link verify} gave, for the bytes that asked for it; nothing happens where it may not be kept. */
  remember(body: Uint8Array, answer: Json, text: Uint8Array): void
}

/** Milliseconds for one image, however many requests its evidence takes and however long it takes to judge. */
const IMAGE_TIMEOUT_MS = 60_000
/** Images judged at a time. */
const PARALLEL = 4
/** Bytes of results kept; each is kept once by image, and once in the answer that it was part of. */
const RESULT_BYTES = 48 * 1024 * 1024

/** One request under way. */
interface Asking {
  readonly request: VerifyRequest
  readonly plan: Plan
  readonly policy: string | null
  readonly own: SiteTrust
  /** Everything that is asked but the images, as text. */
  readonly question: string
  readonly account: (bytes: number) => void
  readonly localEntryCheck: EntryCheck | undefined
}

/** A result, and until when it holds; null: it is not kept. */
interface Found {
  readonly result: JsonObject
  readonly until: number | null
}

export function createVerification(parts: VerificationParts): Verification {
  const { clock, policies } = parts
  const results = new VerdictCache<Found>(RESULT_BYTES)
  const prepared = new PreparedAnswers()
  const localEntryCheck = parts.log === null ? undefined : checkAgainst(parts.log, clock)
  const generation = (): number => policies?.generation ?? 0

  const verifyOnce = async (image: string, asking: Asking): Promise<Found> => {
    const key = `${image}\n${asking.question}`
    const kept = results.get(key, asking.own, generation(), clock())
    if (kept !== null) return kept
    const at = clock()
    const policiesThen = generation()
    const found = await verifyImage(image, asking, parts)
    if (found.until !== null) {
      const size = JSON.stringify(found.result).length
      results.set(key, found, size, {
        trust: asking.own,
        policies: policiesThen,
        at,
        until: found.until,
      })
    }
    return found
  }

  return {
    verify: async (body) => {
      const at = clock()
      const basis = { trust: parts.trust(), policies: generation(), at }
      const request = await parseVerifyRequest(body)
      const { specs, policy } = await demandsOf(request, policies)
      const plan = planOf(specs, request, basis.trust)
      const budget = createByteBudget()
      const asking: Asking = {
        request,
        plan,
        policy,
        own: basis.trust,
        question: questionOf(body),
        account: budget.account,
        localEntryCheck,
      }
      try {
        const found: Found[] = []
        for (let from = 0; from < request.images.length; from += PARALLEL) {
          const batch = request.images.slice(from, from + PARALLEL)
          found.push(...(await Promise.all(batch.map((image) => verifyOnce(image, asking)))))
        }
        const answer = {
          trustVersion: basis.trust.version,
          results: found.map(({ result }) => result),
        }
        const until = found.map((one) => one.until ?? 0)
        prepared.may(answer, { ...basis, until: Math.min(...until) })
        return answer
      } finally {
        budget.release()
      }
    },
    known: (body) => prepared.known(body, parts.trust(), generation(), clock()),
    remember: (body, answer, text) => {
      prepared.remember(body, answer, text)
    },
  }
}

/** What a policy says is part of the question: it is looked up once for a request. */
async function demandsOf(
  { asked }: VerifyRequest,
  policies: PolicyFinder | undefined,
): Promise<{ specs: VerificationPolicy['demands']; policy: string | null }> {
  if ('demands' in asked) return { specs: asked.demands, policy: asked.name }
  if (!('policyName' in asked)) return { specs: asked, policy: null }
  const found = (await policies?.find(asked.policyName)) ?? null
  if (found !== null) return { specs: found.demands, policy: found.name }
  throw new AirsealError(
    'POLICY_UNKNOWN',
    `there is no policy named "${asked.policyName.slice(0, 80)}"`,
  )
}

function questionOf(body: Json): string {
  const { images: _images, ...rest } = body as JsonObject
  return canonicalJson(rest)
}

async function verifyImage(
  image: string,
  asking: Asking,
  parts: VerificationParts,
): Promise<Found> {
  const { policy, own } = asking
  let about: Answered = {
    image,
    name: image,
    digest: null,
    source: null,
    trustVersion: own.version,
    policy,
  }
  try {
    const reference = parseReference(image)
    about = { ...about, digest: reference.digest ?? null }
    const signal = AbortSignal.timeout(IMAGE_TIMEOUT_MS)
    const repository = await openRepository(reference, parts.registrySettings, { signal })
    about = { ...about, name: nameAsAsked(repository.identity, reference) }
    const question: ImageDemands = {
      demands: asking.plan.demands,
      trust: asking.plan.trust,
      now: parts.clock(),
      localEntryCheck: asking.localEntryCheck,
      signal,
      account: asking.account,
    }
    const found =
      reference.kind === 'registry'
        ? await judgeInRegistry(repository, reference, question, asking, parts)
        : await judgeWhereItLies(repository, reference, question)
    about = { ...about, digest: found.digest, source: found.source }
    return {
      result: resultJson(about, found.result),
      until: asking.request.fresh ? null : keptUntil(reference, found, parts),
    }
  } catch (thrown) {
    return { result: resultJson(about, faultResult(asAirsealError(thrown))), until: null }
  }
}

/**
 * Only what verified, by its digest, is kept. A tag may have moved; a layout can change without a word; and of what was refused the missing
 * signature may be there at the next question. Nor is what was asked for as it lies in the registry.
 */
function keptUntil(
  reference: Reference,
  { result: { outcome, holdsUntil } }: Judged,
  { clock }: VerificationParts,
): number | null {
  if (outcome !== 'verified' || reference.kind !== 'registry' || reference.digest === undefined)
    return null
  return Math.min(holdsUntil ?? Number.POSITIVE_INFINITY, clock() + MAX_AGE_MS)
}

interface Judged {
  readonly digest: Digest
  readonly source: Answered['source']
  readonly result: ImageResult
}

/**
 * First by what is known here, which needs no registry and no network; only what does not suffice is asked for there, and judged together with
 * it. Signatures are only ever added to: what is known can't be outdated by what is not.
 */
async function judgeInRegistry(
  repository: Repository,
  reference: RegistryReference,
  question: ImageDemands,
  { request, plan }: Asking,
  { store }: VerificationParts,
): Promise<Judged> {
  const { digest: given } = reference
  const known = async (digest: Digest): Promise<KnownResult> => {
    const evidence = (await store?.evidence(digest)) ?? []
    const revoked = plan.trust.revoked?.digests.has(digest) === true
    if (evidence.length === 0 && !revoked) return { evidence, settled: null }
    const result = await judgeCollected({ evidence, faults: [] }, digest, question)
    return { evidence, settled: settles(result) ? { digest, source: 'local', result } : null }
  }
  if (request.fresh) {
    try {
      return await judgeThere(repository, reference, question, store, null)
    } catch (thrown) {
      const isAway = thrown instanceof AirsealError && thrown.code === 'REGISTRY_UNREACHABLE'
      const here = isAway && given !== undefined ? (await known(given)).settled : null
      if (here === null) throw thrown
      return here
    }
  }
  const here = given === undefined ? null : await known(given)
  return (
    here?.settled ?? judgeThere(repository, reference, question, store, here?.evidence ?? known)
  )
}

interface KnownResult {
  readonly evidence: readonly Evidence[]
  /** Null when a registry may know more. */
  readonly settled: Judged | null
}

/**
 * By what lies in the registry, and what is known here beside it.
 * @param known - evidence that is known, or how to ask for it once the digest is; null: it does not count
 * @throws AirsealError REGISTRY_UNREACHABLE also when only the evidence could not be fetched
 */
async function judgeThere(
  repository: Repository,
  reference: RegistryReference,
  question: ImageDemands,
  store: EvidenceStore | undefined,
  known: readonly Evidence[] | ((digest: Digest) => Promise<KnownResult>) | null,
): Promise<Judged> {
  const { digest: given } = reference
  const early = typeof known === 'function' ? [] : (known ?? [])
  // Where the digest is given, image and evidence are fetched at the same time.
  const [{ digest }, fetched] = await Promise.all([
    resolveReference(repository, reference),
    given === undefined ? null : judgeRepository(repository, given, question, early),
  ])
  const here = typeof known === 'function' ? await known(digest) : null
  if (here?.settled) return here.settled
  const { result, evidence } =
    fetched ?? (await judgeRepository(repository, digest, question, here?.evidence ?? early))
  if (result.outcome === 'verified') {
    void store?.keep(digest, worthKeeping(result, evidence), 'seen', repository.location)
  } else if (result.reason === 'REGISTRY_UNREACHABLE') {
    throw new AirsealError('REGISTRY_UNREACHABLE', result.message)
  }
  return { digest, source: 'registry', result }
}

/** Whether nothing that a registry holds could change it. */
function settles({ outcome, reason }: ImageResult): boolean {
  return outcome === 'verified' || reason === 'DIGEST_REVOKED'
}

/** Bytes of evidence that did not verify and is kept all the same, since another question may find it good. */
const OTHERS_BYTES = 1024 * 1024

/** What verified; the rest only when it is little: whoever may write to a repository must not push others' evidence out. */
function worthKeeping({ judged }: ImageResult, all: readonly Evidence[]): readonly Evidence[] {
  const good = new Set(
    judged.filter(({ verdict }) => verdict.outcome === 'verified').map(({ evidence }) => evidence),
  )
  const others = all.filter((one) => !good.has(one))
  const bytes = others.reduce(
    (sum, one) => sum + (one.format === 'bundle' ? one.text.length : one.payload.length),
    0,
  )
  return [...good, ...(bytes <= OTHERS_BYTES ? others : [])]
}

async function judgeWhereItLies(
  repository: Repository,
  reference: Reference,
  question: ImageDemands,
): Promise<Judged> {
  // The digest is fixed once.
  const given = reference.digest
  const [{ digest }, early] = await Promise.all([
    resolveReference(repository, reference),
    given === undefined ? null : judgeRepository(repository, given, question),
  ])
  const { result } = early ?? (await judgeRepository(repository, digest, question))
  return { digest, source: 'layout', result }
}

/** As cosign writes names: the digest, where one is given, instead of the tag. Layouts have neither. */
function nameAsAsked(identity: string, reference: Reference): string {
  if (reference.kind === 'layout') return identity
  const { digest, tag } = reference
  return digest === undefined ? `${identity}:${tag ?? ''}` : `${identity}@${digest}`
}
