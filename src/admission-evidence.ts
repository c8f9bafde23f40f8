import type {
  Demand,
  EvidenceSource,
  Finding,
  FindingMemory,
  ImageName,
  Inquiry,
} from './admission/index.ts'
import type { AirsealError } from './core/index.ts'
import {
  asAirsealError,
  ERRORS,
  fromUtf8,
  parseJson,
  isObject,
  type Digest,
  type JsonObject,
} from './core/index.ts'
import { verifyReference, type EntryCheck, type ImageResult } from './evidence/index.ts'
import {
  openRepository,
  parseReference,
  resolveReference,
  type Reference,
  type RegistrySettings,
  type Repository,
} from './oci/index.ts'
import { parseBundle, parseEnvelope } from './sigstore/index.ts'
import { REASONS, type Evidence } from './verify/index.ts'

export interface EvidenceParts {
  readonly registrySettings: RegistrySettings
  readonly localEntryCheck: EntryCheck | undefined
  readonly clock: () => number
  readonly memory: FindingMemory
  readonly tags: TagMemory
  readonly trustVersion: string
}

/** One image, however many requests its evidence takes, milliseconds. Longer than a webhook waits: what is late is there for the next try. */
const IMAGE_TIMEOUT_MS = 30_000

/**
 * Evidence for one review. What it asks for is shared with all other reviews and goes on when this one's time is over; what this one waits for is not:
 * at its deadline every answer is "could not be found out".
 * @param deadline - rejects when the time is over
 */
export function createEvidenceSource(
  parts: EvidenceParts,
  deadline: Promise<never>,
): EvidenceSource {
  // One digest for each tag in a whole review, whatever happens to the tag meanwhile.
  const resolved = new Map<string, Promise<Digest>>()
  return {
    resolve: (image) => {
      const key = `${image.registry}/${image.path}:${image.tag}`
      const known = resolved.get(key)
      if (known !== undefined) return known
      const asked = Promise.race([parts.tags.digest(key, () => resolveTag(image, parts)), deadline])
      asked.catch(() => undefined)
      resolved.set(key, asked)
      return asked
    },
    judge: async (inquiry) => {
      try {
        const { image, digest, predicateType, repository, demand } = inquiry
        const place = repository ?? `${image.registry}/${image.path}`
        const key = JSON.stringify([digest, place, predicateType, demand.key, parts.trustVersion])
        return await Promise.race([
          parts.memory.finding(key, () => ask(inquiry, place, parts)),
          deadline,
        ])
      } catch (thrown) {
        return faultOf(asAirsealError(thrown))
      }
    },
  }
}

async function resolveTag(
  { registry, path, tag }: ImageName,
  { registrySettings }: EvidenceParts,
): Promise<Digest> {
  const reference = parseReference(`${registry}/${path}:${tag}`)
  const signal = AbortSignal.timeout(IMAGE_TIMEOUT_MS)
  return (
    await resolveReference(await openRepository(reference, registrySettings, { signal }), reference)
  ).digest
}

async function ask(
  { image, digest, predicateType, repository, demand }: Inquiry,
  place: string,
  { registrySettings, localEntryCheck, clock }: EvidenceParts,
): Promise<Finding> {
  try {
    const signal = AbortSignal.timeout(IMAGE_TIMEOUT_MS)
    const open = async (text: string): Promise<[Repository, Reference]> => {
      const reference = parseReference(text)
      return [await openRepository(reference, registrySettings, { signal }), reference]
    }
    const [beside] = await open(place)
    const question = {
      kind: predicateType === null ? ('signature' as const) : ('attestation' as const),
      trust: demand.trust,
      policy: { ...demand.policy, ...(predicateType !== null && { predicateType }) },
      now: clock(),
      localEntryCheck,
    }
    const [result] = await Promise.all([
      verifyReference(only(beside, demand.format), digest, question),
      // That the image itself is there is asked at the same time, where signatures lie elsewhere too.
      present(
        repository === null ? beside : (await open(`${image.registry}/${image.path}`))[0],
        digest,
      ),
    ])
    return findingOf(result, predicateType)
  } catch (thrown) {
    return faultOf(asAirsealError(thrown))
  }
}

async function present(repository: Repository, digest: Digest): Promise<void> {
  await repository.readManifest(digest)
}

/** The repository, with one of the two layouts of signatures left out. */
function only(repository: Repository, format: Demand['format']): Repository {
  if (format === 'any') return repository
  const view = Object.create(repository) as {
    -readonly [member in keyof Repository]: Repository[member]
  }
  if (format === 'legacy')
    view.referrers = () => Promise.resolve({ descriptors: [], fallback: false })
  else view.readManifestByTag = () => Promise.resolve(null)
  for (const name of [
    'resolveTag',
    'resolveOnly',
    'readManifest',
    'hasManifest',
    'readBlob',
    'hasBlob',
  ] as const) {
    Object.defineProperty(view, name, { value: repository[name].bind(repository) })
  }
  if (format === 'legacy') view.readManifestByTag = repository.readManifestByTag.bind(repository)
  else view.referrers = repository.referrers.bind(repository)
  return view
}

function findingOf(result: ImageResult, predicateType: string | null): Finding {
  const { outcome } = result
  // Beside an image lie its signatures too: that these are of another type is nobody's answer to who looks for an attestation.
  const none = predicateType !== null && result.reason === 'PREDICATE_TYPE_MISMATCH'
  const reason = none ? 'NO_ATTESTATIONS' : result.reason
  const message = none ? `there is no attestation of type ${predicateType}` : result.message
  if (outcome !== 'verified') {
    const table: Readonly<Record<string, { readonly remedy: string }>> =
      outcome === 'error' ? ERRORS : REASONS
    return {
      outcome,
      code: reason,
      message,
      remedy: table[reason ?? '']?.remedy ?? null,
      signers: [],
      statements: [],
    }
  }
  const verified = result.judged.filter(({ verdict }) => verdict.outcome === 'verified')
  const signers = verified.map(({ verdict: { evidence } }) =>
    evidence.identity === null
      ? `key ${evidence.keyId ?? ''}`
      : `identity ${evidence.identity.issuer ?? ''} ${evidence.identity.subjects.join(' ')}`,
  )
  return {
    outcome,
    code: null,
    message,
    remedy: null,
    signers: [...new Set(signers)],
    statements: verified.map(({ evidence }) => statementOf(evidence)).filter((one) => one !== null),
  }
}

/** The verified statement; null for what is none, such as a simple signing payload. */
function statementOf(evidence: Evidence): JsonObject | null {
  try {
    const payload = payloadOf(evidence)
    if (payload === null) return null
    const statement = parseJson(fromUtf8(payload, 'the statement'), { what: 'the statement' })
    return isObject(statement) ? statement : null
  } catch {
    return null
  }
}

function payloadOf(evidence: Evidence): Uint8Array | null {
  if (evidence.format === 'legacy')
    return evidence.kind === 'attestation'
      ? parseEnvelope(fromUtf8(evidence.payload, 'the envelope')).payload
      : null
  const { content } = parseBundle(evidence.text)
  return content.kind === 'dsse' ? content.envelope.payload : null
}

function faultOf({ code, message, facts }: AirsealError): Finding {
  const rejected = code === 'DIGEST_MISMATCH' || code === 'IMAGE_NOT_FOUND'
  return {
    outcome: rejected ? 'rejected' : 'error',
    code,
    message,
    remedy: facts.remedy,
    signers: [],
    statements: [],
  }
}

/** What tags named a moment ago, so that the two webhooks and the objects of one rollout ask once. Never the ground of a verdict. */
export class TagMemory {
  readonly #kept = new Map<string, { readonly digest: Promise<Digest>; readonly until: number }>()
  readonly #now: () => number

  /** @param now - milliseconds of a clock that only goes forward */
  constructor(now: () => number) {
    this.#now = now
  }

  digest(key: string, ask: () => Promise<Digest>): Promise<Digest> {
    const known = this.#kept.get(key)
    if (known !== undefined && this.#now() < known.until) return known.digest
    const digest = ask()
    const entry = { digest, until: this.#now() + TAG_MS }
    this.#kept.delete(key)
    this.#kept.set(key, entry)
    digest.catch(() => {
      if (this.#kept.get(key) === entry) this.#kept.delete(key)
    })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MAX_TAGS && oldest !== undefined) this.#kept.delete(oldest)
    return digest
  }
}

const TAG_MS = 1_000
const MAX_TAGS = 10_000
