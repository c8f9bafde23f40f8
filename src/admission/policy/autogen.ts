import { isObject, type Json, type JsonObject } from '../../core/index.ts'

/**
 * Rules that Kyverno derives for the controllers of Pods: each rule on Pods alone gets a copy for workloads with a pod template and one for CronJobs,
 * unless the annotation says otherwise or a rule of the policy asks for what only Pods have.
 */

const CONTROLLERS = [
  'DaemonSet',
  'Deployment',
  'Job',
  'StatefulSet',
  'ReplicaSet',
  'ReplicationController',
]
const CRON = 'CronJob'
const ANNOTATION = 'pod-policies.kyverno.io/autogen-controllers'
const MAX_NAME = 63

/** A derived rule, and the name of the rule that it comes from. */
export interface DerivedRule {
  readonly rule: JsonObject
  readonly origin: string
}

export function deriveRules(
  rules: readonly JsonObject[],
  annotations: JsonObject,
): readonly DerivedRule[] {
  const wanted = wantedControllers(annotations[ANNOTATION])
  if (wanted.length === 0 || !rules.every(canDerive)) return []
  return rules.flatMap((rule): DerivedRule[] => {
    const name = typeof rule['name'] === 'string' ? rule['name'] : ''
    if (name.startsWith('autogen-') || !appliesToPods(rule)) return []
    const others = wanted.filter((kind) => kind !== CRON)
    return [
      ...(others.length === 0 ? [] : [derive(rule, name, 'autogen', others, ['template'])]),
      ...(wanted.includes(CRON)
        ? [derive(rule, name, 'autogen-cronjob', [CRON], ['jobTemplate', 'spec', 'template'])]
        : []),
    ]
  })
}

function wantedControllers(annotation: Json | undefined): readonly string[] {
  if (typeof annotation !== 'string' || annotation === '' || annotation === 'all')
    return [...CONTROLLERS, CRON]
  const named = annotation.split(',').map((part) => part.trim())
  return [...CONTROLLERS, CRON].filter((kind) => named.includes(kind))
}

type Block = 'match' | 'exclude'

function filtersOf(rule: JsonObject, block: Block): readonly JsonObject[] {
  const value = rule[block]
  if (!isObject(value)) return []
  const lists = [value['any'], value['all']].flatMap((one): readonly Json[] =>
    Array.isArray(one) ? one : [],
  )
  return [value, ...lists].filter(isObject)
}

function resourcesOf(filter: JsonObject): JsonObject {
  return isObject(filter['resources']) ? filter['resources'] : {}
}

function kindsOf(filter: JsonObject): readonly string[] {
  const { kinds } = resourcesOf(filter)
  return Array.isArray(kinds) ? kinds.filter((kind) => typeof kind === 'string') : []
}

/** `v1/Pod` and `Pod/status` name Pods too. */
function isPod(kind: string): boolean {
  return kind.split('/').some((part) => part.split('.')[0] === 'Pod')
}

function canDerive(rule: JsonObject): boolean {
  return [...filtersOf(rule, 'match'), ...filtersOf(rule, 'exclude')].every((filter) => {
    const { name, names, selector, annotations } = resourcesOf(filter)
    const kinds = kindsOf(filter)
    const special = [name, names, selector, annotations].some(
      (one) => one !== undefined && one !== null,
    )
    return !special && !(kinds.length > 1 && kinds.some(isPod))
  })
}

function appliesToPods(rule: JsonObject): boolean {
  const excluded = filtersOf(rule, 'exclude').flatMap(kindsOf)
  return (
    filtersOf(rule, 'match').flatMap(kindsOf).some(isPod) &&
    (excluded.length === 0 || excluded.some(isPod))
  )
}

function derive(
  rule: JsonObject,
  name: string,
  prefix: string,
  kinds: readonly string[],
  template: readonly string[],
): DerivedRule {
  const moved: JsonObject = { ...rule, name: `${prefix}-${name}`.slice(0, MAX_NAME) }
  for (const block of ['match', 'exclude'] as const) {
    if (rule[block] !== undefined) moved[block] = withKinds(rule[block], kinds)
  }
  for (const part of ['context', 'preconditions', 'verifyImages'] as const) {
    if (rule[part] !== undefined) moved[part] = rewritten(rule[part], template)
  }
  return { rule: moved, origin: name }
}

function withKinds(block: Json, kinds: readonly string[]): Json {
  if (!isObject(block)) return block
  const changed: JsonObject = { ...block }
  for (const mode of ['any', 'all'] as const) {
    const list = block[mode]
    if (Array.isArray(list)) changed[mode] = list.map((filter) => withKinds(filter, kinds))
  }
  if (kindsOf(block).some(isPod))
    changed['resources'] = { ...resourcesOf(block), kinds: kinds.map(fullKind) }
  return changed
}

function fullKind(kind: string): string {
  if (kind === 'ReplicationController') return 'v1/ReplicationController'
  return kind === 'Job' || kind === CRON ? `batch/v1/${kind}` : `apps/v1/${kind}`
}

/** Variables that speak of the Pod speak of the template. */
function rewritten(value: Json, template: readonly string[]): Json {
  if (typeof value === 'string') {
    const spec = `spec.${template.join('.')}`
    return value
      .replaceAll(/request\.(object|oldObject)\.spec\b/g, `request.$1.${spec}.spec`)
      .replaceAll(/request\.(object|oldObject)\.metadata\b/g, `request.$1.${spec}.metadata`)
  }
  if (Array.isArray(value)) return value.map((item) => rewritten(item, template))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, rewritten(item, template)]),
  )
}
