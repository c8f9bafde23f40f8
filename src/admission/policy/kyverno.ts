import { isObject, type Json, type JsonObject } from '../../core/index.ts'
import { parseConditions, type ConditionBlock } from '../expression/conditions.ts'
import { compileQuery } from '../expression/jmespath.ts'
import { checkVariables, hasVariables } from '../expression/variables.ts'
import type { Extractor } from '../image/extractor.ts'
import { deriveRules } from './autogen.ts'
import { parseContext, type ContextEntry } from './context-entries.ts'
import { Fields, invalid } from './fields.ts'
import { parseMatch, type Match } from './match.ts'
import { parseSelector, type Selector } from './selector.ts'
import { parseVerifyEntry, type Action, type VerifyEntry } from './verify-entry.ts'

export interface Rule {
  readonly name: string
  /** Name of the rule that it was derived from; its own otherwise. */
  readonly origin: string
  readonly match: Match
  readonly exclude: Match | null
  readonly context: readonly ContextEntry[]
  readonly preconditions: readonly ConditionBlock[]
  /** By kind; null: where workloads have their images. */
  readonly extractors: ReadonlyMap<string, readonly Extractor[]> | null
  /** The items of `verifyImages`, and the same read, where nothing in them waits for a variable. */
  readonly entries: readonly {
    readonly raw: JsonObject
    readonly parsed: VerifyEntry
    readonly variable: boolean
  }[]
}

/** A ClusterPolicy or Policy with `verifyImages` rules. */
export interface KyvernoPolicy {
  readonly kind: 'ClusterPolicy' | 'Policy'
  readonly name: string
  /** Of a Policy: it judges objects in its own namespace only. */
  readonly namespace: string | null
  readonly action: Action
  readonly overrides: readonly {
    readonly action: Action
    readonly namespaces: readonly string[]
    readonly selector: Selector | null
  }[]
  readonly failurePolicy: 'Fail' | 'Ignore'
  readonly applyRules: 'All' | 'One'
  readonly emitWarning: boolean
  /** Rules in their order, derived ones behind. */
  readonly rules: readonly Rule[]
}

export interface ParseOptions {
  readonly parity: boolean
}

const POLICIES = ['Fail', 'Ignore'] as const
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/

/**
 * Reads a Kyverno policy (kyverno.io/v1, v2beta1). Whatever airseal would not act on is refused here, by name: nothing is passed over later.
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED
 */
export function parseKyvernoPolicy(document: JsonObject, options: ParseOptions): KyvernoPolicy {
  const root = new Fields(document, '')
  root.ignore('apiVersion', 'status')
  const kind = root.requiredText('kind') === 'Policy' ? 'Policy' : 'ClusterPolicy'
  const metadata = root.object('metadata') ?? new Fields({}, 'metadata')
  const name = metadata.requiredText('name')
  if (!NAME.test(name)) throw invalid('metadata.name', 'is no name of a Kubernetes object')
  const annotations = metadata.raw('annotations')
  const namespace = kind === 'Policy' ? (metadata.text('namespace') ?? 'default') : null
  const spec = root.object('spec') ?? new Fields({}, 'spec')
  root.refuseUnknown()
  const webhook = spec.object('webhookConfiguration')
  webhook?.count('timeoutSeconds', 1, 30)
  webhook?.unsupported('matchConditions')
  const failurePolicy: KyvernoPolicy['failurePolicy'] =
    webhook?.choice('failurePolicy', POLICIES) ?? spec.choice('failurePolicy', POLICIES) ?? 'Fail'
  webhook?.refuseUnknown()
  spec.count('webhookTimeoutSeconds', 1, 30)
  if (!spec.flag('admission', true))
    throw invalid('spec.admission', 'must not be false with verifyImages')
  const action = spec.choice('validationFailureAction', ['Enforce', 'Audit']) ?? 'Audit'
  const raw = spec.list('rules').map((rule, index) => {
    if (!isObject(rule)) throw invalid(`spec.rules[${index}]`, 'must be an object')
    return rule
  })
  if (raw.length === 0) throw invalid('spec.rules', 'are missing')
  const parsed = raw.map((rule, index) =>
    parseRule(rule, null, `spec.rules[${index}]`, action, options),
  )
  checkNames(parsed)
  const derived = deriveRules(raw, isObject(annotations) ? annotations : {}).map(
    ({ rule, origin }) =>
      parseRule(rule, origin, `spec.rules (derived from ${origin})`, action, options),
  )
  const policy: KyvernoPolicy = {
    kind,
    name,
    namespace,
    action,
    overrides: spec.objects('validationFailureActionOverrides').map((one) => {
      const override = {
        action: one.choice('action', ['Enforce', 'Audit']) ?? 'Audit',
        namespaces: one.texts('namespaces'),
        selector: parseSelector(one.object('namespaceSelector')),
      }
      one.refuseUnknown()
      return override
    }),
    failurePolicy,
    applyRules: spec.choice('applyRules', ['All', 'One']) ?? 'All',
    emitWarning: spec.flag('emitWarning', false),
    rules: [...parsed, ...derived],
  }
  spec.ignore(
    'background',
    'schemaValidation',
    'useServerSideApply',
    'mutateExistingOnPolicyUpdate',
    'generateExistingOnPolicyUpdate',
    'generateExisting',
  )
  spec.refuseUnknown()
  return policy
}

function checkNames(rules: readonly Rule[]): void {
  const seen = new Set<string>()
  for (const { name } of rules) {
    if (seen.has(name)) throw invalid('spec.rules', `has the name "${name}" twice`)
    seen.add(name)
  }
}

function parseRule(
  rule: JsonObject,
  origin: string | null,
  path: string,
  action: Action,
  { parity }: ParseOptions,
): Rule {
  const fields = new Fields(rule, path)
  const name = fields.requiredText('name')
  if (name.length > MAX_RULE_NAME)
    throw invalid(fields.at('name'), `has more than ${MAX_RULE_NAME} characters`)
  const here = new Fields(rule, `rule ${name}`)
  here.unsupported('mutate', 'validate', 'generate', 'celPreconditions')
  const match = here.object('match')
  if (match === null) throw invalid(here.at('match'), 'is missing')
  const exclude = here.object('exclude')
  const preconditions = here.raw('preconditions')
  const extractors = parseExtractors(here.object('imageExtractors'))
  const items = here.objects('verifyImages')
  if (items.length === 0)
    throw invalid(here.at('verifyImages'), 'are missing: airseal judges nothing else')
  const raw = here.list('verifyImages') as JsonObject[]
  const entries = items.map((item, index) => {
    const { attestations: _conditions, validate: _deny, ...rest } = raw[index] ?? {}
    checkVariables(rest)
    return {
      raw: raw[index] ?? {},
      parsed: parseVerifyEntry(item, { action, parity }),
      variable: hasVariables(withoutConditions(raw[index] ?? {})),
    }
  })
  if (
    extractors !== null &&
    [...extractors.values()].flat().some(({ transform }) => transform !== null) &&
    entries.some(({ parsed }) => parsed.mutateDigest)
  ) {
    throw invalid(here.at('imageExtractors'), 'has jmesPath together with mutateDigest')
  }
  const parsed: Rule = {
    name,
    origin: origin ?? name,
    match: parseMatch(match),
    exclude: exclude === null ? null : parseMatch(exclude),
    context: parseContext(here.objects('context')),
    preconditions:
      preconditions === undefined ? [] : parseConditions(preconditions, here.at('preconditions')),
    extractors,
    entries,
  }
  here.ignore('name', 'skipBackgroundRequests', 'reportProperties')
  here.refuseUnknown()
  return parsed
}

const MAX_RULE_NAME = 63

/** Conditions get their values when they are judged, with the predicate in reach. */
export function withoutConditions(entry: JsonObject): JsonObject {
  const { validate: _deny, attestations, ...rest } = entry
  if (!Array.isArray(attestations)) return rest
  return {
    ...rest,
    attestations: attestations.map((one): Json => {
      if (!isObject(one)) return one
      const { conditions: _conditions, ...other } = one
      return other
    }),
  }
}

function parseExtractors(fields: Fields | null): ReadonlyMap<string, readonly Extractor[]> | null {
  if (fields === null) return null
  const kinds = new Map<string, readonly Extractor[]>()
  for (const kind of fields.names()) {
    const items = fields.objects(kind)
    kinds.set(
      kind,
      items.map((item) => {
        const text = item.text('jmesPath')
        const query = text === null ? null : compileQuery(text)
        const path = item
          .requiredText('path')
          .split('/')
          .filter((part) => part !== '')
        const extractor: Extractor = {
          path,
          value: item.text('value'),
          name: item.text('name') ?? 'custom',
          key: item.text('key'),
          transform: query === null ? null : (given) => query.evaluate(given, 0),
        }
        item.refuseUnknown()
        if (extractor.value === null && (path.length === 0 || path.at(-1) === '*'))
          throw invalid(item.at('path'), 'must end in a member that holds the image')
        return extractor
      }),
    )
  }
  return kinds
}
