import type { Fields } from './fields.ts'
import { invalid } from './fields.ts'
import { hasWildcard, matchesWildcard } from './wildcard.ts'

export type Labels = Readonly<Record<string, string>>

/** A label selector of Kubernetes; in `matchLabels` Kyverno's wildcards count. */
export interface Selector {
  readonly labels: Labels
  readonly expressions: readonly {
    readonly key: string
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
    readonly values: readonly string[]
  }[]
}

export function parseSelector(fields: Fields | null): Selector | null {
  if (fields === null) return null
  const labels = fields.map('matchLabels')
  const expressions = fields.objects('matchExpressions').map((one) => {
    const key = one.requiredText('key')
    const operator = one.choice('operator', ['In', 'NotIn', 'Exists', 'DoesNotExist'])
    const values = one.texts('values')
    one.refuseUnknown()
    if (operator === null) throw invalid(one.at('operator'), 'is missing')
    if ((operator === 'In' || operator === 'NotIn') === (values.length === 0))
      throw invalid(one.at('values'), 'must be there for In and NotIn, and only there')
    return { key, operator, values }
  })
  fields.refuseUnknown()
  return { labels, expressions }
}

/** Whether labels meet a selector; an empty one is met by everything. */
export function selects(selector: Selector, labels: Labels): boolean {
  return (
    Object.entries(selector.labels).every(([key, value]) => hasPair(labels, key, value)) &&
    selector.expressions.every(({ key, operator, values }) => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined
      switch (operator) {
        case 'In':
          return value !== undefined && values.includes(value)
        case 'NotIn':
          return value === undefined || !values.includes(value)
        case 'Exists':
          return value !== undefined
        case 'DoesNotExist':
          return value === undefined
      }
    })
  )
}

function hasPair(labels: Labels, key: string, value: string): boolean {
  if (!hasWildcard(key) && !hasWildcard(value))
    return Object.hasOwn(labels, key) && labels[key] === value
  return Object.entries(labels).some(
    ([name, text]) => matchesWildcard(key, name) && matchesWildcard(value, text),
  )
}
