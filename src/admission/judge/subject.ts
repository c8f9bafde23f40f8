import type { Json, JsonObject } from '../../core/index.ts'
import { isObject } from '../../core/index.ts'
import { deepEqual } from '../expression/jmespath.ts'
import { extractImages } from '../image/extractor.ts'
import type { FoundImage } from '../image/found.ts'
import { imageMembers } from '../image/name.ts'
import { podPath, podSpec, workloadImages } from '../image/workloads.ts'
import type { Rule } from '../policy/kyverno.ts'
import type { Matchable } from '../policy/match.ts'
import type { Labels } from '../policy/selector.ts'
import type { Facts } from './ports.ts'

/** One object under judgement. */
export interface Subject {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly subresource: string
  readonly operation: 'CREATE' | 'UPDATE'
  readonly name: string
  readonly namespace: string
  readonly object: JsonObject
  /** Of an update; null otherwise. */
  readonly oldObject: JsonObject | null
  readonly user: Matchable['user']
  /** The request as variables see it. */
  readonly request: JsonObject
}

/** `Pod default/app`, for messages. */
export function subjectText({ kind, namespace, name }: Subject): string {
  return `${kind} ${namespace === '' ? '' : `${namespace}/`}${name === '' ? '(new)' : name}`
}

export function matchable(subject: Subject, object: JsonObject, facts: Facts): Matchable {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {}
  const generated = typeof metadata['generateName'] === 'string' ? metadata['generateName'] : ''
  const { group, version, kind, subresource, namespace, operation, user, name } = subject
  return {
    group,
    version,
    kind,
    subresource,
    name: name === '' ? generated : name,
    namespace,
    labels: labelsOf(metadata['labels']),
    annotations: labelsOf(metadata['annotations']),
    namespaceLabels: namespace === '' ? null : facts.namespaceLabels(namespace),
    operation,
    user,
  }
}

function labelsOf(value: Json | undefined): Labels {
  if (!isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}

/** Images where workloads have them. Volumes are left out where Kyverno is to be followed to the letter. */
export function imagesOfWorkload(
  { group, kind, object }: Subject,
  { parity }: Pick<Facts, 'parity'>,
): readonly FoundImage[] {
  const path = podPath(group, kind)
  return path === null ? [] : workloadImages(object, path, !parity)
}

/** Images as a rule finds them. */
export function imagesOfRule(rule: Rule, subject: Subject, facts: Facts): readonly FoundImage[] {
  if (rule.extractors === null) return imagesOfWorkload(subject, facts)
  const own = rule.extractors.get(subject.kind)
  return own === undefined ? imagesOfWorkload(subject, facts) : extractImages(subject.object, own)
}

/** Texts of the old object by their place, to see what an update changed. */
export function oldImages({ oldObject, group, kind }: Subject): ReadonlyMap<string, string> {
  const path = podPath(group, kind)
  if (oldObject === null || path === null) return new Map()
  return new Map(workloadImages(oldObject, path, true).map(({ pointer, text }) => [pointer, text]))
}

/** True when an update leaves the pod as it is: a change of labels, a scaling, a finalizer. */
export function podUnchanged({ operation, object, oldObject, group, kind }: Subject): boolean {
  const path = podPath(group, kind)
  if (operation !== 'UPDATE' || oldObject === null || path === null) return false
  const [now, before] = [podSpec(object, path), podSpec(oldObject, path)]
  return now !== null && before !== null && deepEqual(now, before)
}

/** What variables are looked up in. */
export function variablesOf(subject: Subject, images: readonly FoundImage[]): JsonObject {
  const groups: Record<string, JsonObject> = {}
  for (const { group, key, image, pointer } of images) {
    const members = (groups[group] ??= {})
    members[key] = imageMembers(image, pointer)
  }
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(subject.user?.name ?? '')
  return {
    request: subject.request,
    images: groups,
    serviceAccountName: account?.[2] ?? '',
    serviceAccountNamespace: account?.[1] ?? '',
  }
}
