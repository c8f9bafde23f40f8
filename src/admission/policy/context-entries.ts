import type { Json } from '../../core/index.ts'
import { compileQuery, type Query } from '../expression/jmespath.ts'
import { checkVariables } from '../expression/variables.ts'
import type { Fields } from './fields.ts'
import { invalid } from './fields.ts'

/** Something that a rule loads before it is evaluated, under a name. */
export type ContextEntry =
  | {
      readonly kind: 'configMap'
      readonly name: string
      readonly namespace: Json
      readonly object: Json
    }
  | {
      readonly kind: 'variable'
      readonly name: string
      readonly value: Json | undefined
      readonly query: Query | null
      readonly otherwise: Json | undefined
    }

/** @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED for what would need the cluster, a registry or another service */
export function parseContext(items: readonly Fields[]): readonly ContextEntry[] {
  return items.map((fields) => {
    fields.unsupported('apiCall', 'imageRegistry', 'globalReference')
    const name = fields.requiredText('name')
    const map = fields.object('configMap')
    const variable = fields.object('variable')
    fields.refuseUnknown()
    if ((map === null) === (variable === null))
      throw invalid(fields.path, 'must have configMap or variable')
    if (map !== null) {
      const entry = {
        kind: 'configMap',
        name,
        namespace: map.raw('namespace') ?? 'default',
        object: map.raw('name') ?? '',
      } as const
      checkVariables([entry.namespace, entry.object])
      map.refuseUnknown()
      return entry
    }
    const text = variable?.text('jmesPath') ?? null
    const entry = {
      kind: 'variable',
      name,
      value: variable?.raw('value'),
      // With a variable inside, it can be read only when that has its value.
      query: text === null ? null : compileQuery(text),
      otherwise: variable?.raw('default'),
    } as const
    checkVariables([entry.value ?? null, entry.otherwise ?? null])
    variable?.refuseUnknown()
    if (entry.value === undefined && entry.query === null)
      throw invalid(fields.path, 'has a variable without value or jmesPath')
    return entry
  })
}
