import { policySet, type PolicyDocument, type PolicySet } from './admission/index.ts'
import type { TestObject } from './admission-objects.ts'
import { isObject } from './core/index.ts'

/** Policies with what the manifests beside them say: labels of Namespaces count for the objects in them; others are known to have none. */
export function siteFacts(
  documents: readonly PolicyDocument[],
  objects: readonly TestObject[],
): PolicySet {
  const set = policySet(documents)
  const namespaces = new Map(set.namespaces)
  for (const { subject } of objects) {
    const { namespace } = subject
    if (!namespaces.has(namespace))
      namespaces.set(namespace, { 'kubernetes.io/metadata.name': namespace })
  }
  for (const { subject } of objects) {
    if (subject.kind !== 'Namespace' || subject.group !== '') continue
    const { metadata } = subject.object
    const labels = isObject(metadata) && isObject(metadata['labels']) ? metadata['labels'] : {}
    namespaces.set(subject.name, {
      ...(labels as Record<string, string>),
      'kubernetes.io/metadata.name': subject.name,
    })
  }
  return { ...set, namespaces }
}
