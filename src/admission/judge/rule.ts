import {
  AirsealError,
  asAirsealError,
  isObject,
  type Digest,
  type JsonObject,
} from '../../core/index.ts'
import { evaluateConditions } from '../expression/conditions.ts'
import { isNotFound } from '../expression/jmespath.ts'
import { substitute, type Scope } from '../expression/variables.ts'
import type { FoundImage } from '../image/found.ts'
import { fullImageText, imageMembers, imageText } from '../image/name.ts'
import { Fields } from '../policy/fields.ts'
import { withoutConditions, type KyvernoPolicy, type Rule } from '../policy/kyverno.ts'
import { matches } from '../policy/match.ts'
import { parseVerifyEntry, type VerifyEntry } from '../policy/verify-entry.ts'
import { matchesAny } from '../policy/wildcard.ts'
import { judgeAttestations } from './attestations.ts'
import { judgeSet, SIGNATURE, type Problem, type SetVerdict } from './attestors.ts'
import type { EvidenceSource, Facts } from './ports.ts'
import {
  imagesOfRule,
  matchable,
  oldImages,
  podUnchanged,
  variablesOf,
  type Subject,
} from './subject.ts'

export type Status = 'pass' | 'fail' | 'error' | 'skip'

/** What a rule says of one image. */
export interface ImageVerdict {
  readonly pointer: string
  /** As written in the object. */
  readonly text: string
  readonly status: Status
  readonly code: string | null
  readonly message: string
  readonly remedy: string | null
  /** Known when it was looked for. */
  readonly digest: Digest | null
}

export interface RuleVerdict {
  readonly rule: Rule
  readonly status: Status
  /** Sentence for people; of several problems all of them. */
  readonly message: string
  /** Enforce when one of the entries that failed says so. */
  readonly action: 'Enforce' | 'Audit'
  readonly images: readonly ImageVerdict[]
  /** Texts to write in place of tags, by place. */
  readonly pins: ReadonlyMap<string, string>
}

export interface Judging {
  readonly facts: Facts
  readonly source: EvidenceSource
  /** `validate`: digests and verified images are demanded as well; `mutate`: tags are pinned instead. */
  readonly phase: 'mutate' | 'validate'
}

/** @returns null where the rule has nothing to say */
export async function judgeRule(
  policy: KyvernoPolicy,
  rule: Rule,
  subject: Subject,
  judging: Judging,
): Promise<RuleVerdict | null> {
  const action = defaultAction(policy, subject, judging.facts)
  try {
    if (!applies(rule, subject, subject.object, judging.facts)) return null
    const images = imagesOfRule(rule, subject, judging.facts)
    const references = rule.entries.flatMap(({ parsed }) => parsed.references)
    const matched = images.filter(({ image }) => matchesAny(references, imageText(image)))
    if (matched.length === 0) return null
    if (podUnchanged(subject) && wasJudged(rule, subject, judging.facts))
      return unchanged(rule, matched, action)
    const scope = scopeOf(rule, subject, images, judging.facts)
    const { holds, message } = evaluateConditions(rule.preconditions, scope)
    if (!holds)
      return plain(
        rule,
        'skip',
        `preconditions not met${message === '' ? '' : `; ${message}`}`,
        action,
      )
    const entries = rule.entries.map((entry) => resolveEntry(entry, scope, action, judging.facts))
    return await judgeEntries(rule, entries, matched, subject, scope, judging, action)
  } catch (thrown) {
    const { message, code } = asAirsealError(thrown)
    return plain(
      rule,
      'error',
      `${message} [${code}]`,
      actionOf(
        rule.entries.map(({ parsed }) => parsed),
        action,
      ),
    )
  }
}

function applies(rule: Rule, subject: Subject, object: JsonObject, facts: Facts): boolean {
  const asked = matchable(subject, object, facts)
  return matches(rule.match, asked) && !(rule.exclude !== null && matches(rule.exclude, asked))
}

/** An update that leaves the Pod alone is let through only where the rule had its say about it before. */
function wasJudged(rule: Rule, subject: Subject, facts: Facts): boolean {
  return subject.oldObject !== null && applies(rule, subject, subject.oldObject, facts)
}

function unchanged(
  rule: Rule,
  images: readonly FoundImage[],
  action: 'Enforce' | 'Audit',
): RuleVerdict {
  const message = 'the update leaves the pod as it was'
  return {
    ...plain(rule, 'pass', message, action),
    images: images.map(({ pointer, text }) => ({
      pointer,
      text,
      status: 'pass',
      code: null,
      message,
      remedy: null,
      digest: null,
    })),
  }
}

function plain(
  rule: Rule,
  status: Status,
  message: string,
  action: 'Enforce' | 'Audit',
): RuleVerdict {
  return { rule, status, message, action, images: [], pins: new Map() }
}

/** The policy's own action, or the one for this namespace. */
function defaultAction(
  policy: KyvernoPolicy,
  { namespace }: Subject,
  facts: Facts,
): 'Enforce' | 'Audit' {
  const found = policy.overrides.find(({ namespaces, selector }) => {
    if (namespaces.length > 0 && !matchesAny(namespaces, namespace)) return false
    if (selector === null) return namespaces.length > 0
    const asked = {
      kinds: [],
      names: [],
      namespaces: [],
      annotations: {},
      selector: null,
      namespaceSelector: selector,
      operations: [],
      roles: [],
      clusterRoles: [],
      subjects: [],
    }
    const object = {
      group: '',
      version: '',
      kind: '',
      subresource: '',
      name: '',
      namespace,
      labels: {},
      annotations: {},
      operation: '',
      user: null,
    }
    return matches(
      { mode: 'any', filters: [asked] },
      { ...object, namespaceLabels: facts.namespaceLabels(namespace) },
    )
  })
  return found?.action ?? policy.action
}

/** Any entry that enforces makes the rule enforce; else the first that says something; else the policy. */
function actionOf(
  entries: readonly VerifyEntry[],
  otherwise: 'Enforce' | 'Audit',
): 'Enforce' | 'Audit' {
  const set = entries.flatMap(({ action }) => action ?? [])
  return set.includes('Enforce') ? 'Enforce' : (set[0] ?? otherwise)
}

function scopeOf(rule: Rule, subject: Subject, images: readonly FoundImage[], facts: Facts): Scope {
  let members: JsonObject = variablesOf(subject, images)
  for (const entry of rule.context) {
    const scope = { members, now: facts.now }
    if (entry.kind === 'configMap') {
      const [namespace, name] = [entry.namespace, entry.object].map((one) => {
        const value = substitute(one, scope)
        return typeof value === 'string' ? value : JSON.stringify(value)
      })
      const found = facts.configMap(namespace ?? '', name ?? '')
      if (found === null)
        throw new AirsealError(
          'POLICY_FACTS_MISSING',
          `the ConfigMap ${namespace}/${name} was not given to airseal`,
        )
      members = { ...members, [entry.name]: found }
    } else members = { ...members, [entry.name]: variableOf(entry, scope) }
  }
  return { members, now: facts.now }
}

function variableOf(
  { value, query, otherwise }: Extract<Rule['context'][number], { kind: 'variable' }>,
  scope: Scope,
): JsonObject[string] {
  try {
    if (query !== null) {
      const base = value === undefined ? scope.members : substitute(value, scope)
      const found = query.evaluate(base, scope.now)
      return found === null && otherwise !== undefined ? substitute(otherwise, scope) : found
    }
    return value === undefined ? null : substitute(value, scope)
  } catch (thrown) {
    if (otherwise !== undefined && isNotFound(thrown)) return substitute(otherwise, scope)
    throw thrown
  }
}

function resolveEntry(
  { raw, parsed, variable }: Rule['entries'][number],
  scope: Scope,
  action: 'Enforce' | 'Audit',
  { parity }: Facts,
): VerifyEntry {
  if (!variable) return parsed
  const filled = substitute(withoutConditions(raw), scope)
  if (!isObject(filled)) return parsed
  const attestations = filled['attestations']
  const own = raw['attestations']
  const whole: JsonObject = {
    ...filled,
    ...(raw['validate'] !== undefined && { validate: raw['validate'] }),
    ...(Array.isArray(attestations) &&
      Array.isArray(own) && {
        attestations: attestations.map((one, index) => {
          const original = own[index]
          const conditions = isObject(original) ? original['conditions'] : undefined
          return isObject(one) && conditions !== undefined ? { ...one, conditions } : one
        }),
      }),
  }
  return parseVerifyEntry(new Fields(whole, 'verifyImages'), { action, parity })
}

async function judgeEntries(
  rule: Rule,
  entries: readonly VerifyEntry[],
  images: readonly FoundImage[],
  subject: Subject,
  scope: Scope,
  judging: Judging,
  action: 'Enforce' | 'Audit',
): Promise<RuleVerdict> {
  const before = oldImages(subject)
  const pins = new Map<string, string>()
  const failing: VerifyEntry[] = []
  const perEntry = await Promise.all(
    entries.map((entry) =>
      Promise.all(
        images.map(async (found): Promise<ImageVerdict | null> => {
          const text = imageText(found.image)
          if (!matchesAny(entry.references, text)) return null
          if (matchesAny(entry.skips, text))
            return said(found, 'skip', `skipping image reference image ${text}`)
          const fixed = before.get(found.pointer) === found.text
          const verdict = await judgeImage(rule, entry, found, fixed, scope, judging)
          if (verdict.status === 'fail' || verdict.status === 'error') failing.push(entry)
          else if (mayPin(entry, found, fixed, judging) && verdict.digest !== null)
            pins.set(found.pointer, fullImageText({ ...found.image, digest: verdict.digest }))
          return verdict
        }),
      ),
    ),
  )
  const verdicts = perEntry.flat().filter((verdict) => verdict !== null)
  const worst = (['error', 'fail', 'pass', 'skip'] as const).find((status) =>
    verdicts.some((verdict) => verdict.status === status),
  )
  const bad = verdicts.filter(({ status }) => status === 'fail' || status === 'error')
  const status = bad.some((verdict) => verdict.status === 'fail') ? 'fail' : (worst ?? 'skip')
  const shown = bad.length > 0 ? bad : verdicts
  return {
    rule,
    status,
    message: [...new Set(shown.map(({ message }) => message))].join('; '),
    action: actionOf(failing.length > 0 ? failing : entries, action),
    images: verdicts,
    pins: bad.length > 0 ? new Map() : pins,
  }
}

function mayPin(
  { mutateDigest }: VerifyEntry,
  { image, pinnable }: FoundImage,
  fixed: boolean,
  { phase }: Judging,
): boolean {
  return phase === 'mutate' && mutateDigest && pinnable && !fixed && image.digest === null
}

async function judgeImage(
  rule: Rule,
  entry: VerifyEntry,
  found: FoundImage,
  fixed: boolean,
  scope: Scope,
  judging: Judging,
): Promise<ImageVerdict> {
  const { facts, source, phase } = judging
  const { image, pointer } = found
  const text = imageText(image)
  const asked = entry.attestors.length + entry.attestations.length > 0
  if (phase === 'validate' && entry.verifyDigest && image.digest === null && !fixed)
    return said(
      found,
      'fail',
      `missing digest for ${text}`,
      'DIGEST_REQUIRED',
      'Name the image by its digest, or let the mutating webhook pin it.',
    )
  if (!asked) {
    if (phase === 'validate' && entry.required)
      return said(
        found,
        'fail',
        `unverified image ${text}`,
        'IMAGE_NOT_VERIFIED',
        'Name attestors in the policy, or set required: false.',
      )
    if (!mayPin(entry, found, fixed, judging))
      return said(found, 'pass', 'the policy asks for no signature')
  }
  let digest: Digest
  try {
    digest = image.digest ?? (await source.resolve(image))
  } catch (thrown) {
    const { code, message, facts: about } = asAirsealError(thrown)
    // What is not there is no fault of the line: it fails, like an image without signature.
    const status = code === 'IMAGE_NOT_FOUND' ? 'fail' : 'error'
    return said(
      found,
      status,
      `failed to verify image ${text}: ${message} [${code}]`,
      code,
      about.remedy,
    )
  }
  if (!asked) return { ...said(found, 'pass', 'mutated image digest'), digest }
  const question = { image, digest, entry, facts, source }
  const signed = await Promise.all(
    entry.attestors.map((set, index) => judgeSet(set, `.attestors[${index}]`, question, SIGNATURE)),
  )
  const unsigned = signed.find(({ outcome }) => outcome !== 'verified')
  if (unsigned !== undefined)
    return failure(found, digest, `failed to verify image ${text}`, unsigned)
  if (entry.attestations.length === 0)
    return { ...said(found, 'pass', `verified image signatures for ${text}`), digest }
  const base: JsonObject = isObject(scope.members) ? scope.members : {}
  const members: JsonObject = { ...base, image: imageMembers(image, pointer) }
  const here = { ...scope, members }
  const attested = await judgeAttestations(question, entry.attestations, here)
  if (attested.outcome !== 'verified')
    return failure(found, digest, `image attestations verification failed for ${text}`, attested)
  for (const { parsed } of rule.entries) {
    if (parsed.deny === null) continue
    const seen = { ...members, ...attested.predicates, request: members['request'] ?? null }
    const { holds, message } = evaluateConditions(parsed.deny.conditions, {
      ...here,
      members: seen,
    })
    if (holds) {
      const why = [parsed.deny.message, message].filter((one) => one !== '').join('; ')
      return said(
        found,
        'fail',
        `validation in verifyImages failed: ${why}`,
        'CONDITION_NOT_MET',
        'Attest what the policy asks for, or change its conditions.',
      )
    }
  }
  return { ...said(found, 'pass', `verified image attestations for ${text}`), digest }
}

function failure(
  found: FoundImage,
  digest: Digest,
  what: string,
  { outcome, problems }: SetVerdict,
): ImageVerdict {
  const why = problems
    .map(({ path, message, code }: Problem) => `${path}: ${message} [${code}]`)
    .join('; ')
  const [first] = problems
  return {
    ...said(
      found,
      outcome === 'error' ? 'error' : 'fail',
      `${what}: ${why}`,
      first?.code ?? 'INTERNAL',
      first?.remedy ?? null,
    ),
    digest,
  }
}

function said(
  { pointer, text }: FoundImage,
  status: Status,
  message: string,
  code: string | null = null,
  remedy: string | null = null,
): ImageVerdict {
  return { pointer, text, status, code, message, remedy, digest: null }
}
