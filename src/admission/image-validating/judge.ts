import { AirsealError, asAirsealError, isObject, type JsonObject } from '../../core/index.ts'
import type { ExpressionInput } from '../../expressions/index.ts'
import { fullImageText } from '../image/name.ts'
import type { FoundImage } from '../image/found.ts'
import type { PolicyVerdict } from '../judge/object.ts'
import type { Judging, Status } from '../judge/rule.ts'
import {
  imagesOfWorkload,
  matchable,
  oldImages,
  podUnchanged,
  type Subject,
} from '../judge/subject.ts'
import { selects } from '../policy/selector.ts'
import { Evaluation } from './evaluation.ts'
import type { ImagePolicy, ResourceRule, Variant } from './policy.ts'

/** What an ImageValidatingPolicy says of an object; nothing where it does not speak of it. */
export async function judgeImagePolicy(
  policy: ImagePolicy,
  subject: Subject,
  judging: Judging,
): Promise<PolicyVerdict[]> {
  if (policy.namespace !== null && policy.namespace !== subject.namespace) return []
  const base = {
    policy: policy.name,
    action: policy.action,
    failurePolicy: policy.failurePolicy,
    images: [],
    pins: new Map<string, string>(),
  }
  let rule = 'validations'
  try {
    if (!selected(policy, subject, judging)) return []
    const variant = policy.variants.find(({ rules }) => rules.some((one) => names(one, subject)))
    if (variant === undefined) return []
    if (variant.name !== '') rule = variant.name
    const verdict = await judgeVariant(policy, variant, subject, judging)
    return verdict === null ? [] : [{ ...base, rule, ...verdict }]
  } catch (thrown) {
    const { code, message } = asAirsealError(thrown)
    return [
      {
        ...base,
        rule,
        status: 'error',
        message: `Policy ${policy.name} error: ${message} [${code}]`,
      },
    ]
  }
}

function selected(
  { namespaceSelector, objectSelector }: ImagePolicy,
  subject: Subject,
  { facts }: Judging,
): boolean {
  const { labels, namespaceLabels, namespace } = matchable(subject, subject.object, facts)
  if (objectSelector !== null && !selects(objectSelector, labels)) return false
  if (namespaceSelector === null) return true
  if (namespace === '') return true
  if (namespaceLabels === null)
    throw new AirsealError(
      'POLICY_FACTS_MISSING',
      `a policy asks for labels of the namespace "${namespace}", which airseal does not know`,
    )
  return selects(namespaceSelector, namespaceLabels)
}

/** Plurals of what has a pod; others are formed as the API server forms most. */
function resourceOf({ request, kind }: Subject): string {
  const { resource } = request
  const given = isObject(resource) ? resource['resource'] : undefined
  return typeof given === 'string' && given !== '' ? given : `${kind.toLowerCase()}s`
}

function names(
  { groups, versions, operations, resources }: ResourceRule,
  subject: Subject,
): boolean {
  const has = (list: readonly string[], one: string): boolean =>
    list.includes('*') || list.includes(one)
  const resource = resourceOf(subject)
  const { subresource } = subject
  const whole = subresource === '' ? resource : `${resource}/${subresource}`
  return (
    has(groups, subject.group) &&
    has(versions, subject.version) &&
    has(operations, subject.operation) &&
    resources.some(
      (one) =>
        one === whole ||
        one === '*/*' ||
        (one === '*' && subresource === '') ||
        one === `${resource}/*` ||
        one === `*/${subresource}`,
    )
  )
}

type Variables = Record<string, ExpressionInput>

function variablesOf(
  policy: ImagePolicy,
  subject: Subject,
  images: readonly FoundImage[],
  { facts }: Judging,
): Variables {
  const lists: Record<string, string[]> = {
    containers: [],
    initContainers: [],
    ephemeralContainers: [],
  }
  for (const { group, text } of images) (lists[group] ??= []).push(text)
  const { namespace, object, oldObject, request } = subject
  const labels = namespace === '' ? null : facts.namespaceLabels(namespace)
  return {
    object,
    oldObject,
    request,
    images: lists,
    attestors: Object.fromEntries([...policy.attestors.keys()].map((name) => [name, { name }])),
    attestations: Object.fromEntries([...policy.attestations.keys()].map((name) => [name, name])),
    ...(labels !== null && { namespaceObject: { metadata: { name: namespace, labels } } }),
  }
}

async function judgeVariant(
  policy: ImagePolicy,
  variant: Variant,
  subject: Subject,
  judging: Judging,
): Promise<Pick<PolicyVerdict, 'status' | 'message' | 'images' | 'pins'> | null> {
  const { phase, facts, source } = judging
  const images = imagesOfWorkload(subject, facts).filter(({ text }) => policy.speaksOf(text))
  const evaluation = new Evaluation(policy, facts, source)
  const given = variablesOf(policy, subject, images, judging)
  const none = { images: [], pins: new Map<string, string>() }
  if (!(await evaluation.run(() => conditionsHold(variant, given)))) return null
  if (images.length > 0 && podUnchanged(subject)) {
    const message = 'the update leaves the pod as it was'
    return {
      status: 'pass',
      message,
      pins: new Map(),
      images: images.map((one) => imageVerdict(one, 'pass', null, message)),
    }
  }
  const refusedBy = await evaluation.run(() => validate(variant, given))
  const before = oldImages(subject)
  const pins = new Map<string, string>()
  const verdicts = await Promise.all(
    images.map(async (found) => {
      const state = evaluation.asked.get(found.text)
      const fixed = before.get(found.pointer) === found.text
      if (phase === 'validate' && policy.verifyDigest && found.image.digest === null && !fixed)
        return imageVerdict(
          found,
          'fail',
          'DIGEST_REQUIRED',
          `image ${found.text} does not have a digest`,
          'Name the image by its digest, or let the mutating webhook pin it.',
        )
      if (policy.required && state?.verified !== true) {
        const [problem] = state?.problems ?? []
        const why =
          problem === undefined
            ? 'is not verified: no policy performed a signature or attestation check on it'
            : `failed signature or attestation verification: ${problem.message} [${problem.code}]`
        return imageVerdict(
          found,
          state?.error === true ? 'error' : 'fail',
          problem?.code ?? 'IMAGE_NOT_VERIFIED',
          `image ${found.text} ${why}`,
          problem?.remedy ?? null,
        )
      }
      if (
        phase === 'mutate' &&
        policy.mutateDigest &&
        found.image.digest === null &&
        !fixed &&
        found.pinnable
      ) {
        const digest = state?.digest ?? (await source.resolve(found.image))
        pins.set(found.pointer, fullImageText({ ...found.image, digest }))
      }
      return {
        ...imageVerdict(found, 'pass', null, 'image verified'),
        digest: state?.digest ?? found.image.digest,
      }
    }),
  )
  const bad = verdicts.filter(({ status }) => status !== 'pass')
  if (refusedBy === null && bad.length === 0)
    return images.length === 0
      ? { status: 'pass', message: 'success', ...none }
      : { status: 'pass', message: 'success', images: verdicts, pins }
  const status: Status =
    bad.length > 0 && bad.every((one) => one.status === 'error') ? 'error' : 'fail'
  const texts = [...(refusedBy === null ? [] : [refusedBy]), ...bad.map(({ message }) => message)]
  const message = `Policy ${policy.name} failed: ${[...new Set(texts)].join('; ')}`
  return { status, message, images: verdicts, pins: new Map() }
}

function conditionsHold(variant: Variant, given: Variables): boolean {
  return variant.conditions.every(({ expression }) => expression.test(given))
}

/** @returns the message of the first validation that does not hold; null: all hold */
function validate(variant: Variant, given: Variables): string | null {
  const own: JsonObject = {}
  const all: Variables = { ...given, variables: own }
  for (const { name, expression } of variant.variables)
    own[name] = expression.evaluate({ ...all, variables: { ...own } })
  for (const [index, { expression, message, messageExpression }] of variant.validations.entries()) {
    if (expression.test(all)) continue
    if (messageExpression !== null) {
      const text = messageExpression.evaluate(all)
      if (typeof text === 'string' && text !== '') return text
    }
    return message === '' ? `CEL expression validation failed at index ${index}` : message
  }
  return null
}

function imageVerdict(
  { pointer, text }: FoundImage,
  status: Status,
  code: string | null,
  message: string,
  remedy: string | null = null,
): PolicyVerdict['images'][number] {
  return { pointer, text, status, code, message, remedy, digest: null }
}
