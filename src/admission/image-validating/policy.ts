import { AirsealError, type Json, type JsonObject } from '../../core/index.ts'
import {
  compileExpression,
  type Expression,
  type ExpressionFunction,
} from '../../expressions/index.ts'
import { Fields, invalid, unsupported } from '../policy/fields.ts'
import { parseSelector, type Selector } from '../policy/selector.ts'
import { parseNamedAttestor, type NamedAttestor } from './attestor.ts'
import { compileGlob } from './glob.ts'

/** What answers the functions of the expressions, set for the time of one evaluation, which is synchronous. */
export interface Slot {
  functions: ReadonlyMap<string, ExpressionFunction['run']> | null
}

export interface ResourceRule {
  readonly groups: readonly string[]
  readonly versions: readonly string[]
  readonly operations: readonly string[]
  readonly resources: readonly string[]
}

/** What is judged, and by which expressions: the policy itself, or what it becomes for the controllers of Pods. */
export interface Variant {
  readonly rules: readonly ResourceRule[]
  readonly conditions: readonly { readonly name: string; readonly expression: Expression }[]
  readonly variables: readonly { readonly name: string; readonly expression: Expression }[]
  readonly validations: readonly {
    readonly expression: Expression
    readonly message: string
    readonly messageExpression: Expression | null
  }[]
  /** Name for messages; empty for the policy itself. */
  readonly name: string
}

/** An ImageValidatingPolicy (policies.kyverno.io). */
export interface ImagePolicy {
  readonly name: string
  readonly namespace: string | null
  readonly failurePolicy: 'Fail' | 'Ignore'
  readonly action: 'Enforce' | 'Audit'
  readonly namespaceSelector: Selector | null
  readonly objectSelector: Selector | null
  /** True for images that the policy speaks of; by the text as written. */
  readonly speaksOf: (text: string) => boolean
  readonly attestors: ReadonlyMap<string, NamedAttestor>
  /** Predicate types by name. */
  readonly attestations: ReadonlyMap<string, string>
  readonly mutateDigest: boolean
  readonly verifyDigest: boolean
  readonly required: boolean
  readonly variants: readonly Variant[]
  readonly slot: Slot
}

/** Functions of the policy language and how many arguments they take. */
const FUNCTIONS: readonly (readonly [string, number])[] = [
  ['verifyImageSignatures', 2],
  ['verifyAttestationSignatures', 3],
  ['extractPayload', 2],
]

function functionsOf(slot: Slot): readonly ExpressionFunction[] {
  return FUNCTIONS.map(([name, parameters]) => ({
    name,
    parameters,
    run: (...args) => {
      const answer = slot.functions?.get(name)
      if (answer === undefined) throw new AirsealError('INTERNAL', `nobody answers ${name}()`)
      return answer(...args)
    },
  }))
}

/** @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED, EXPRESSION_INVALID */
export function parseImagePolicy(
  document: JsonObject,
  _options: { readonly parity: boolean },
): ImagePolicy {
  const root = new Fields(document, '')
  root.ignore('apiVersion', 'status')
  const namespaced = root.requiredText('kind') === 'NamespacedImageValidatingPolicy'
  const metadata = root.object('metadata') ?? new Fields({}, 'metadata')
  const spec = root.object('spec')
  root.refuseUnknown()
  if (spec === null) throw invalid('spec', 'is missing')
  spec.unsupported('credentials', 'images', 'auditAnnotations')
  checkEvaluation(spec.object('evaluation'))
  const webhook = spec.object('webhookConfiguration')
  webhook?.count('timeoutSeconds', 1, 30)
  webhook?.refuseUnknown()
  const constraints = spec.object('matchConstraints')
  if (constraints === null) throw invalid('spec.matchConstraints', 'is missing')
  const configuration = spec.object('validationConfigurations')
  const attestors = spec.objects('attestors').map(parseNamedAttestor)
  const rules = constraints.objects('resourceRules').map(parseResourceRule)
  if (rules.length === 0) throw invalid(constraints.at('resourceRules'), 'are missing')
  constraints.unsupported('excludeResourceRules')
  constraints.ignore('matchPolicy')
  const slot: Slot = { functions: null }
  const own: Variant = { name: '', rules, ...expressionsOf(spec, slot, (text) => text) }
  const objectSelector = parseSelector(constraints.object('objectSelector'))
  const policy: ImagePolicy = {
    name: metadata.requiredText('name'),
    namespace: namespaced ? (metadata.text('namespace') ?? 'default') : null,
    failurePolicy: spec.choice('failurePolicy', ['Fail', 'Ignore']) ?? 'Fail',
    action: actionOf(spec.texts('validationActions')),
    namespaceSelector: parseSelector(constraints.object('namespaceSelector')),
    objectSelector,
    speaksOf: imageMatcher(spec),
    attestors: new Map(attestors.map((one) => [one.name, one])),
    attestations: attestationTypes(spec),
    mutateDigest: configuration?.flag('mutateDigest', true) ?? true,
    verifyDigest: configuration?.flag('verifyDigest', true) ?? true,
    required: configuration?.flag('required', true) ?? true,
    variants: [own, ...(objectSelector === null ? derived(spec, slot, rules) : [])],
    slot,
  }
  spec.ignore('autogen')
  for (const part of [constraints, configuration, spec]) part?.refuseUnknown()
  if (policy.attestors.size !== attestors.length)
    throw invalid('spec.attestors', 'have one name twice')
  return policy
}

function checkEvaluation(fields: Fields | null): void {
  if (fields === null) return
  const mode = fields.text('mode') ?? 'Kubernetes'
  if (mode !== 'Kubernetes')
    throw unsupported(fields.at('mode'), `${mode.slice(0, 40)} is not supported by airseal`)
  const admission = fields.object('admission')
  if (!(admission?.flag('enabled', true) ?? true))
    throw invalid(fields.at('admission.enabled'), 'is false: airseal judges at admission only')
  fields.ignore('background')
  fields.refuseUnknown()
}

function parseResourceRule(fields: Fields): ResourceRule {
  fields.unsupported('resourceNames')
  fields.ignore('scope')
  const rule = {
    groups: fields.texts('apiGroups'),
    versions: fields.texts('apiVersions'),
    operations: fields.texts('operations'),
    resources: fields.texts('resources'),
  }
  fields.refuseUnknown()
  return rule
}

/** `Warn` and `Audit` let through. */
function actionOf(actions: readonly string[]): 'Enforce' | 'Audit' {
  const unknown = actions.find((action) => !['Deny', 'Audit', 'Warn'].includes(action))
  if (unknown !== undefined)
    throw invalid('spec.validationActions', `have "${unknown.slice(0, 40)}", which is none`)
  return actions.length === 0 || actions.includes('Deny') ? 'Enforce' : 'Audit'
}

function imageMatcher(spec: Fields): (text: string) => boolean {
  const globs = spec.objects('matchImageReferences').map((one) => {
    one.unsupported('expression')
    const glob = compileGlob(one.requiredText('glob'))
    one.refuseUnknown()
    return glob
  })
  // As with Kyverno: without references every image is spoken of.
  return (text) => globs.length === 0 || globs.some((glob) => glob(text))
}

function attestationTypes(spec: Fields): ReadonlyMap<string, string> {
  return new Map(
    spec.objects('attestations').map((one) => {
      one.unsupported('referrer')
      const name = one.requiredText('name')
      const intoto = one.object('intoto')
      const type = intoto?.requiredText('type') ?? ''
      intoto?.refuseUnknown()
      one.refuseUnknown()
      if (type === '') throw invalid(one.at('intoto'), 'is missing')
      return [name, type]
    }),
  )
}

function expressionsOf(
  spec: Fields,
  slot: Slot,
  change: (text: string) => string,
): Omit<Variant, 'name' | 'rules'> {
  const functions = functionsOf(slot)
  const sourceOf = (text: string): Expression => compileExpression(text, { functions })
  const named = (list: string): { name: string; expression: Expression }[] =>
    spec.objects(list).map((one) => {
      const found = {
        name: one.requiredText('name'),
        expression: sourceOf(change(one.requiredText('expression'))),
      }
      one.refuseUnknown()
      return found
    })
  const validations = spec.objects('validations').map((one) => {
    const messageExpression = one.text('messageExpression')
    one.ignore('reason')
    const found = {
      expression: sourceOf(change(one.requiredText('expression'))),
      message: one.text('message') ?? '',
      messageExpression: messageExpression === null ? null : sourceOf(change(messageExpression)),
    }
    one.refuseUnknown()
    return found
  })
  if (validations.length === 0) throw invalid(spec.at('validations'), 'are missing')
  return { conditions: named('matchConditions'), variables: named('variables'), validations }
}

const CONTROLLERS: ReadonlyMap<string, string> = new Map([
  ['daemonsets', 'apps'],
  ['deployments', 'apps'],
  ['replicasets', 'apps'],
  ['statefulsets', 'apps'],
  ['jobs', 'batch'],
  ['cronjobs', 'batch'],
])

/** What Kyverno derives for the controllers of Pods from a policy on Pods alone. */
function derived(spec: Fields, slot: Slot, rules: readonly ResourceRule[]): readonly Variant[] {
  const [rule] = rules
  const onPods =
    rules.length === 1 && rule?.groups.join() === '' && rule.resources.join() === 'pods'
  const autogen = spec.object('autogen')
  const configured = autogen?.object('podControllers')?.raw('controllers')
  const wanted = controllersOf(configured)
  if (!onPods || rule.groups.length !== 1) return []
  const variant = (name: string, resources: readonly string[], path: string): Variant[] => {
    const kept = resources.filter((resource) => wanted.includes(resource))
    if (kept.length === 0) return []
    const change = (text: string): string =>
      text.replaceAll(/\b(object|oldObject)\.(spec|metadata)\b/g, `$1.spec.${path}.$2`)
    const groups = [...new Set(kept.map((resource) => CONTROLLERS.get(resource) ?? ''))]
    return [
      {
        name,
        rules: groups.map((group) => ({
          groups: [group],
          versions: ['v1'],
          operations: rule.operations,
          resources: kept.filter((resource) => CONTROLLERS.get(resource) === group),
        })),
        ...expressionsOf(spec, slot, change),
      },
    ]
  }
  const plain = [...CONTROLLERS.keys()].filter((resource) => resource !== 'cronjobs')
  return [
    ...variant('autogen-defaults', plain, 'template'),
    ...variant('autogen-cronjobs', ['cronjobs'], 'jobTemplate.spec.template'),
  ]
}

function controllersOf(value: Json | undefined): readonly string[] {
  if (value === undefined) return [...CONTROLLERS.keys()]
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}
