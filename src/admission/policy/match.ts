import { AirsealError } from '../../core/index.ts'
import type { Fields } from './fields.ts'
import { invalid } from './fields.ts'
import { parseSelector, selects, type Labels, type Selector } from './selector.ts'
import { matchesAny, matchesWildcard } from './wildcard.ts'

/** Group, version, kind and subresource, each a wildcard. */
export interface KindSelector {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly subresource: string
}

/** What is asked of an object; every part that is there must be met. */
export interface Filter {
  readonly kinds: readonly KindSelector[]
  readonly names: readonly string[]
  readonly namespaces: readonly string[]
  readonly annotations: Labels
  readonly selector: Selector | null
  readonly namespaceSelector: Selector | null
  readonly operations: readonly string[]
  readonly roles: readonly string[]
  readonly clusterRoles: readonly string[]
  readonly subjects: readonly {
    readonly kind: string
    readonly name: string
    readonly namespace: string
  }[]
}

export interface Match {
  readonly mode: 'any' | 'all'
  readonly filters: readonly Filter[]
}

/** What a filter is compared with. */
export interface Matchable {
  readonly group: string
  readonly version: string
  readonly kind: string
  /** Empty: the object itself. */
  readonly subresource: string
  readonly name: string
  /** Empty for objects of the cluster. */
  readonly namespace: string
  readonly labels: Labels
  readonly annotations: Labels
  /** Null: not known. Then a selector on them is an error. */
  readonly namespaceLabels: Labels | null
  readonly operation: string
  /** Null outside admission: then attributes of the user are passed over, as with Kyverno's command line. */
  readonly user: { readonly name: string; readonly groups: readonly string[] } | null
}

/** @param path - of the block, for messages */
export function parseMatch(fields: Fields): Match {
  const any = fields.objects('any')
  const all = fields.objects('all')
  if (any.length > 0 && all.length > 0) throw invalid(fields.path, 'has any together with all')
  if (any.length > 0 || all.length > 0) {
    fields.refuseUnknown()
    const blocks = any.length > 0 ? any : all
    const filters = blocks.map((block) => {
      const filter = parseFilter(block)
      block.refuseUnknown()
      return filter
    })
    return { mode: any.length > 0 ? 'any' : 'all', filters }
  }
  const filter = parseFilter(fields)
  fields.refuseUnknown()
  return { mode: 'all', filters: [filter] }
}

function parseFilter(block: Fields): Filter {
  const resources = block.object('resources')
  const name = resources?.text('name') ?? null
  const names = resources?.texts('names') ?? []
  if (name !== null && names.length > 0) throw invalid(block.path, 'has name together with names')
  const filter: Filter = {
    kinds: (resources?.texts('kinds') ?? []).map((text) =>
      parseKind(text, block.at('resources.kinds')),
    ),
    names: name === null ? names : [name],
    namespaces: resources?.texts('namespaces') ?? [],
    annotations: resources?.map('annotations') ?? {},
    selector: parseSelector(resources?.object('selector') ?? null),
    namespaceSelector: parseSelector(resources?.object('namespaceSelector') ?? null),
    operations: resources?.texts('operations') ?? [],
    roles: block.texts('roles'),
    clusterRoles: block.texts('clusterRoles'),
    subjects: block.objects('subjects').map((subject) => {
      subject.ignore('apiGroup')
      const found = {
        kind: subject.requiredText('kind'),
        name: subject.requiredText('name'),
        namespace: subject.text('namespace') ?? '',
      }
      subject.refuseUnknown()
      return found
    }),
  }
  resources?.refuseUnknown()
  for (const operation of filter.operations) {
    if (!['CREATE', 'UPDATE', 'DELETE', 'CONNECT'].includes(operation))
      throw invalid(
        block.at('resources.operations'),
        `has "${operation.slice(0, 40)}", which is none`,
      )
  }
  return filter
}

const VERSION = /^(?:v\d+(?:(?:alpha|beta)\d+)?|\*)$/

/** `Kind`, `version/Kind`, `group/version/Kind`, each with `/subresource` or `.subresource`; `*` and `*`/subresource. */
function parseKind(text: string, path: string): KindSelector {
  const bad = (): AirsealError => invalid(path, `has "${text.slice(0, 80)}", which names no kind`)
  if (text.includes('{{')) throw invalid(path, 'must not have variables')
  const all = text.split('/')
  const parts = [...all.slice(0, -1), ...(all.at(-1) ?? '').split('.')]
  if (parts.length > 4 || parts.includes('')) throw bad()
  const [first = '', second = '', third = '', fourth = ''] = parts
  const any = { group: '*', version: '*', subresource: '' }
  if (parts.length === 1) return { ...any, kind: first }
  if (parts.length === 2) {
    if (first === '*' && (second === '*' || second === second.toLowerCase()))
      return { ...any, kind: '*', subresource: second }
    if (VERSION.test(first)) return { ...any, version: first, kind: second }
    return { ...any, kind: first, subresource: second }
  }
  if (parts.length === 3) {
    if (VERSION.test(first)) return { group: '*', version: first, kind: second, subresource: third }
    return { group: first, version: second, kind: third, subresource: '' }
  }
  return { group: first, version: second, kind: third, subresource: fourth }
}

/** @throws AirsealError POLICY_FACTS_MISSING when the answer depends on something that the caller did not say */
export function matches(match: Match, object: Matchable): boolean {
  return match.mode === 'any'
    ? match.filters.some((filter) => meets(filter, object))
    : match.filters.every((filter) => meets(filter, object))
}

function meets(filter: Filter, object: Matchable): boolean {
  if (isEmpty(filter)) return false
  return (
    (filter.kinds.length === 0 || filter.kinds.some((kind) => isKind(kind, object))) &&
    (filter.names.length === 0 || matchesAny(filter.names, object.name)) &&
    meetsNamespace(filter, object) &&
    Object.entries(filter.annotations).every(([key, value]) =>
      Object.entries(object.annotations).some(
        ([name, text]) => matchesWildcard(key, name) && matchesWildcard(value, text),
      ),
    ) &&
    (filter.selector === null || selects(filter.selector, object.labels)) &&
    (filter.operations.length === 0 || filter.operations.includes(object.operation)) &&
    meetsNamespaceLabels(filter, object) &&
    meetsUser(filter, object)
  )
}

function isEmpty({
  kinds,
  names,
  namespaces,
  annotations,
  selector,
  namespaceSelector,
  operations,
  roles,
  clusterRoles,
  subjects,
}: Filter): boolean {
  const lists = [
    kinds,
    names,
    namespaces,
    operations,
    roles,
    clusterRoles,
    subjects,
    Object.keys(annotations),
  ]
  return lists.every((list) => list.length === 0) && selector === null && namespaceSelector === null
}

function isKind({ group, version, kind, subresource }: KindSelector, object: Matchable): boolean {
  const ofPods =
    object.group === '' && object.kind === 'Pod' && object.subresource === 'ephemeralcontainers'
  return (
    matchesWildcard(group, object.group) &&
    matchesWildcard(version, object.version) &&
    matchesWildcard(kind, object.kind) &&
    (matchesWildcard(subresource, object.subresource) || ofPods)
  )
}

function meetsNamespace(
  { namespaces }: Filter,
  { group, kind, name, namespace }: Matchable,
): boolean {
  if (namespaces.length === 0) return true
  return matchesAny(namespaces, group === '' && kind === 'Namespace' ? name : namespace)
}

function meetsNamespaceLabels(
  { namespaceSelector }: Filter,
  { namespace, namespaceLabels }: Matchable,
): boolean {
  if (namespaceSelector === null) return true
  if (namespace === '') return false
  if (namespaceLabels === null) {
    const message = `a policy asks for labels of the namespace "${namespace}", which airseal does not know`
    throw new AirsealError('POLICY_FACTS_MISSING', message)
  }
  return selects(namespaceSelector, namespaceLabels)
}

function meetsUser({ roles, clusterRoles, subjects }: Filter, { user }: Matchable): boolean {
  if (user === null) return true
  if (roles.length > 0 || clusterRoles.length > 0)
    throw new AirsealError(
      'POLICY_FACTS_MISSING',
      'a policy asks for roles of the user, which the API server does not send',
    )
  if (subjects.length === 0) return true
  return subjects.some(({ kind, name, namespace }) => {
    if (kind === 'ServiceAccount')
      return matchesWildcard(`system:serviceaccount:${namespace}:${name}`, user.name)
    if (kind === 'User') return matchesWildcard(name, user.name)
    return kind === 'Group' && user.groups.some((group) => matchesWildcard(name, group))
  })
}
