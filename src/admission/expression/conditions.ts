import { isObject, type Json } from '../../core/index.ts'
import { Fields, invalid } from '../policy/fields.ts'
import { findOperator, type Operator } from './operators.ts'
import { checkVariables, type Scope, substitute } from './variables.ts'

interface Condition {
  readonly key: Json
  readonly operator: Operator
  readonly value: Json
  readonly message: string
}

/** `any` and `all`; null where the block has no such part. */
export interface ConditionBlock {
  readonly any: readonly Condition[] | null
  readonly all: readonly Condition[]
}

export interface ConditionsVerdict {
  readonly holds: boolean
  /** The messages of the conditions that decided it. */
  readonly message: string
}

/**
 * Reads conditions: a block of `any` and `all`, a list of such blocks, or the old list of conditions, which is one `all`.
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED
 */
export function parseConditions(value: Json, path: string): readonly ConditionBlock[] {
  if (!Array.isArray(value)) return [parseBlock(value, path)]
  const blocks = value.some((item) => isObject(item) && ('any' in item || 'all' in item))
  if (blocks) return value.map((item, index) => parseBlock(item, `${path}[${index}]`))
  return value.length === 0 ? [] : [{ any: null, all: parseList(value, path) }]
}

function parseBlock(value: Json, path: string): ConditionBlock {
  const fields = new Fields(value, path)
  const block = {
    any: fields.has('any') ? parseList(fields.list('any'), fields.at('any')) : null,
    all: parseList(fields.list('all'), fields.at('all')),
  }
  fields.refuseUnknown()
  return block
}

function parseList(items: readonly Json[], path: string): readonly Condition[] {
  return items.map((item, index) => {
    const fields = new Fields(item, `${path}[${index}]`)
    const name = fields.requiredText('operator')
    const operator = findOperator(name)
    if (operator === null)
      throw invalid(fields.at('operator'), `is "${name.slice(0, 40)}", which is none`)
    const condition = {
      key: fields.raw('key') ?? null,
      operator,
      value: fields.raw('value') ?? null,
      message: fields.text('message') ?? '',
    }
    fields.refuseUnknown()
    checkVariables(condition.key)
    checkVariables(condition.value)
    return condition
  })
}

/** Whether every block holds. @throws AirsealError EXPRESSION_FAILED, which is an error of the rule and never false */
export function evaluateConditions(
  blocks: readonly ConditionBlock[],
  scope: Scope,
): ConditionsVerdict {
  const messages: string[] = []
  for (const block of blocks) {
    const verdict = evaluateBlock(block, scope)
    if (!verdict.holds) return verdict
    messages.push(verdict.message)
  }
  return { holds: true, message: joined(messages, ';') }
}

function evaluateBlock({ any, all }: ConditionBlock, scope: Scope): ConditionsVerdict {
  const [yes, no]: [string[], string[]] = [[], []]
  let holds = true
  if (any !== null) {
    holds = any.some((condition) => decide(condition, scope, yes, no))
  }
  const every = all.every((condition) => decide(condition, scope, yes, no))
  return holds && every
    ? { holds: true, message: joined(yes, '; ') }
    : { holds: false, message: joined(no, '; ') }
}

function decide(condition: Condition, scope: Scope, yes: string[], no: string[]): boolean {
  const key = substitute(condition.key, scope)
  const value = substitute(condition.value, scope)
  const holds = condition.operator(key, value)
  const list = holds ? yes : no
  list.push(condition.message)
  return holds
}

function joined(messages: readonly string[], by: string): string {
  return messages.filter((message) => message !== '').join(by)
}
