import { createEvidenceSource, TagMemory } from './admission-evidence.ts'
import {
  answerReview,
  checkPolicy,
  FindingMemory,
  judgeObject,
  lintDocuments,
  parseReview,
  policySet,
  readDocuments,
  readPolicyDocument,
  together,
  type Facts,
  type LintReport,
  type PolicyDocument,
  type PolicySet,
  type PolicyVerdict,
  type ReviewVerdict,
  type Subject,
} from './admission/index.ts'
import {
  AirsealError,
  asAirsealError,
  type Clock,
  type Json,
  type JsonObject,
} from './core/index.ts'
import type { EntryCheck, SiteTrust } from './evidence/index.ts'
import type { RegistrySettings } from './oci/index.ts'
import type { TrustedKey } from './verify/index.ts'

export interface AdmissionSettings {
  readonly uncoveredImages: 'allow' | 'deny'
  /** `kyverno-1.19`: Kyverno is followed also where airseal would be stricter. */
  readonly parity: 'none' | 'kyverno-1.19'
}

export interface AdmissionParts {
  readonly settings: AdmissionSettings
  readonly trust: () => SiteTrust
  readonly keysByUri: (uri: string) => readonly TrustedKey[]
  readonly registrySettings: RegistrySettings
  readonly localEntryCheck: EntryCheck | undefined
  readonly clock: Clock
  /** Milliseconds of a clock that only goes forward. */
  readonly monotonic: () => number
}

export type Phase = 'mutate' | 'validate'

/** Judges what the API server asks, by the policies that are in force. */
export interface Admission {
  /** Replaces all policies at once. Reviews under way keep those that they began with. */
  use(documents: readonly PolicyDocument[]): void
  readonly documents: () => readonly PolicyDocument[]
  /**
   * Answers an AdmissionReview within `timeoutMs`; late is a refusal.
   * @throws AirsealError REVIEW_INVALID, TOO_LARGE: what was asked was not understood
   */
  review(phase: Phase, body: Json, timeoutMs: number): Promise<JsonObject>
  /** What the policies say of an object, both phases in turn as the API server runs them. */
  judge(
    subject: Subject,
    set: PolicySet,
  ): Promise<{
    readonly mutated: ReviewVerdict
    readonly validated: ReviewVerdict | null
    readonly rules: JsonObject[]
  }>
  lint(text: string): LintReport
  read(text: string): readonly PolicyDocument[]
}

/** Reviews judged at a time; further ones are told to come again. */
const MAX_REVIEWS = 256
const JUDGE_TIMEOUT_MS = 120_000

export function createAdmission(parts: AdmissionParts): Admission {
  const { settings } = parts
  const parity = settings.parity === 'kyverno-1.19'
  const memory = new FindingMemory(parts.monotonic)
  const tags = new TagMemory(parts.monotonic)
  let documents: readonly PolicyDocument[] = []
  let set = policySet([])
  let running = 0
  const factsFor = (trust: SiteTrust, now: PolicySet): Facts => ({
    trust,
    keysByUri: parts.keysByUri,
    secret: (namespace, name) => now.secrets.get(`${namespace}/${name}`) ?? null,
    configMap: (namespace, name) => now.configMaps.get(`${namespace}/${name}`) ?? null,
    namespaceLabels: (name) => now.namespaces.get(name) ?? null,
    now: parts.clock(),
    parity,
  })
  const sourceFor = (trust: SiteTrust, deadline: Promise<never>) => {
    const { registrySettings, localEntryCheck, clock } = parts
    return createEvidenceSource(
      { registrySettings, localEntryCheck, clock, memory, tags, trustVersion: trust.version },
      deadline,
    )
  }
  const judgeAll = async (
    phase: Phase,
    subjects: readonly { readonly subject: Subject; readonly base: string }[],
    now: PolicySet,
    timeoutMs: number,
  ) => {
    const trust = parts.trust()
    const { deadline, end } = createDeadline(timeoutMs)
    try {
      const judging = { facts: factsFor(trust, now), source: sourceFor(trust, deadline), phase }
      const verdicts = await Promise.all(
        subjects.map(async ({ subject, base }) => ({
          base,
          verdict: await judgeObject(now.policies, subject, judging, settings.uncoveredImages),
        })),
      )
      return { verdict: together(verdicts, trust.version), verdicts }
    } finally {
      end()
    }
  }
  return {
    use: (next) => {
      documents = next
      set = policySet(next)
    },
    documents: () => documents,
    review: async (phase, body, timeoutMs) => {
      const { uid, subjects } = parseReview(body)
      if (subjects.length === 0) return answerReview(uid, NOTHING)
      if (running >= MAX_REVIEWS) throw new AirsealError('OVERLOADED', 'too many reviews at a time')
      running++
      try {
        const { verdict } = await judgeAll(phase, subjects, set, timeoutMs)
        return answerReview(uid, verdict)
      } catch (thrown) {
        // Whatever goes wrong while judging is a refusal that says so, not a failure that the webhook's failurePolicy would decide.
        const { code, message } = asAirsealError(thrown)
        const why = `airseal refuses it: ${code === 'INTERNAL' ? 'internal error; the log of airseal says more' : message} [${code}]`
        return answerReview(uid, { ...NOTHING, allowed: false, message: why })
      } finally {
        running--
      }
    },
    judge: async (subject, given) => {
      const one = { subject, base: '' }
      const first = await judgeAll('mutate', [one], given, JUDGE_TIMEOUT_MS)
      const rules = first.verdicts.flatMap(({ verdict }) => rulesJson(verdict.verdicts, 'mutate'))
      if (!first.verdict.allowed) return { mutated: first.verdict, validated: null, rules }
      const object = applyPatch(subject.object, first.verdict.patch)
      const request = { ...subject.request, object }
      const second = await judgeAll(
        'validate',
        [{ subject: { ...subject, object, request }, base: '' }],
        given,
        JUDGE_TIMEOUT_MS,
      )
      return {
        mutated: first.verdict,
        validated: second.verdict,
        rules: second.verdicts.flatMap(({ verdict }) => rulesJson(verdict.verdicts, 'validate')),
      }
    },
    lint: (text) =>
      lintDocuments(
        readDocuments(text),
        factsFor(parts.trust(), policySet(readable(text, parity))),
        parity,
      ),
    read: (text) => {
      const facts = factsFor(parts.trust(), policySet([]))
      return readDocuments(text).map((source) => {
        const document = readPolicyDocument(source, { parity })
        if (document.kind === 'policy') checkPolicy(document.policy, facts)
        return document
      })
    },
  }
}

/** Documents that can be read, so that a Secret beside a faulty policy is known all the same. */
function readable(text: string, parity: boolean): readonly PolicyDocument[] {
  return readDocuments(text).flatMap((document) => {
    try {
      return [readPolicyDocument(document, { parity })]
    } catch {
      return []
    }
  })
}

const NOTHING: ReviewVerdict = { allowed: true, message: null, warnings: [], patch: [], notes: {} }

function rulesJson(verdicts: readonly PolicyVerdict[], phase: Phase): JsonObject[] {
  return verdicts.map(({ policy, rule, status, action, message, images }) => ({
    phase,
    policy,
    rule,
    status,
    action,
    message,
    images: images.map(({ text, status: one, code, digest }) => ({
      image: text,
      status: one,
      code,
      digest,
    })),
  }))
}

function createDeadline(timeoutMs: number): {
  readonly deadline: Promise<never>
  readonly end: () => void
} {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new AirsealError(
          'DEADLINE',
          'verification did not finish in the time that the API server gives',
        ),
      )
    }, timeoutMs)
  })
  deadline.catch(() => undefined)
  return {
    deadline,
    end: () => {
      clearTimeout(timer)
    },
  }
}

/** Our own patches: `test` and `replace` on texts that are there. */
function applyPatch(object: JsonObject, patch: ReviewVerdict['patch']): JsonObject {
  const copy = structuredClone(object)
  for (const { op, path, value } of patch) {
    if (op !== 'replace') continue
    const parts = path
      .slice(1)
      .split('/')
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    const last = parts.pop() ?? ''
    let place: Json = copy
    for (const part of parts)
      place = (Array.isArray(place) ? place[Number(part)] : (place as JsonObject)[part]) ?? null
    if (typeof place === 'object' && place !== null && !Array.isArray(place)) place[last] = value
  }
  return copy
}
