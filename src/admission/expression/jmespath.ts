import { compile } from '@jmespath-community/jmespath'
import { AirsealError, isObject, type Json, type JsonObject } from '../../core/index.ts'
import { FUNCTIONS, type Function } from './functions.ts'

type Node = ReturnType<typeof compile>

/** A compiled expression. */
export interface Query {
  /**
   * @param now - milliseconds since 1970, for the functions that ask for the time
   * @throws AirsealError EXPRESSION_FAILED; with details `not-found` when a key is missing
   */
  evaluate(root: Json, now: number): Json
}

const MAX_EXPRESSION = 8_192
/** Steps of one evaluation; a hostile object must not stop the service. */
const MAX_STEPS = 200_000

/**
 * Compiles a JMESPath expression as Kyverno 1.19 reads it. The grammar is a library's; evaluation is ours, since Kyverno's dialect fails on a missing key
 * where every library gives null: `{{ foo.bar }}` without `foo` is an error of the rule, never false.
 * @throws AirsealError POLICY_INVALID for bad syntax, POLICY_UNSUPPORTED for functions that airseal lacks
 */
export function compileQuery(text: string): Query {
  if (text.length > MAX_EXPRESSION)
    throw new AirsealError(
      'POLICY_INVALID',
      `a JMESPath expression has more than ${MAX_EXPRESSION} characters`,
    )
  let tree: Node
  try {
    tree = compile(text)
  } catch (cause) {
    const message = `"${text.slice(0, 120)}" is not JMESPath: ${(cause as Error).message.slice(0, 160)}`
    throw new AirsealError('POLICY_INVALID', message, { cause })
  }
  checkNode(tree, 0)
  return { evaluate: (root, now) => new Evaluation(root, now).run(tree, root) }
}

/** Refuses what would fail later anyway, and what Kyverno's grammar does not have. */
function checkNode(node: Node, depth: number): void {
  if (depth > 128)
    throw new AirsealError('POLICY_INVALID', 'a JMESPath expression is nested too deeply')
  switch (node.type) {
    case 'Function':
      if (!Object.hasOwn(FUNCTIONS, node.name))
        throw new AirsealError(
          'POLICY_UNSUPPORTED',
          `the JMESPath function ${node.name.slice(0, 60)}() is not supported by airseal`,
        )
      break
    case 'LetExpression':
    case 'Variable':
    case 'Binding':
    case 'Ternary':
    case 'Arithmetic':
    case 'Unary':
    case 'Root':
      throw new AirsealError(
        'POLICY_UNSUPPORTED',
        `JMESPath ${node.type} is not in Kyverno's dialect`,
      )
    default:
  }
  for (const child of childrenOf(node)) checkNode(child, depth + 1)
}

function childrenOf(node: Node): readonly Node[] {
  switch (node.type) {
    case 'MultiSelectHash':
      return node.children.map(({ value }) => value)
    case 'MultiSelectList':
    case 'Function':
      return node.children
    case 'ExpressionReference':
    case 'Flatten':
    case 'NotExpression':
      return [node.child]
    case 'FilterProjection':
      return [node.left, node.condition, node.right]
    case 'AndExpression':
    case 'IndexExpression':
    case 'OrExpression':
    case 'Pipe':
    case 'Projection':
    case 'Subexpression':
    case 'ValueProjection':
    case 'Comparator':
      return [node.left, node.right]
    default:
      return []
  }
}

class Evaluation {
  readonly #root: Json
  readonly #now: number
  #steps = 0

  constructor(root: Json, now: number) {
    this.#root = root
    this.#now = now
  }

  run(node: Node, value: Json): Json {
    if (++this.#steps > MAX_STEPS)
      throw new AirsealError(
        'EXPRESSION_FAILED',
        `a JMESPath expression takes more than ${MAX_STEPS} steps`,
      )
    switch (node.type) {
      case 'Field':
        return fieldOf(value, node.name)
      case 'Identity':
      case 'Current':
        return value
      case 'Literal':
        return node.value
      case 'Subexpression':
        return this.run(node.right, this.run(node.left, value))
      case 'IndexExpression':
        return this.run(node.right, this.run(node.left, value))
      case 'Index': {
        if (!Array.isArray(value)) return null
        return value.at(node.value) ?? null
      }
      case 'Slice':
        return Array.isArray(value) ? slice(value, node.start, node.stop, node.step) : null
      case 'Pipe':
        return this.run(node.right, this.lenient(node.left, value))
      case 'OrExpression': {
        const left = this.lenient(node.left, value)
        return isTrue(left) ? left : this.lenient(node.right, value)
      }
      case 'AndExpression': {
        const left = this.lenient(node.left, value)
        return isTrue(left) ? this.lenient(node.right, value) : left
      }
      case 'NotExpression':
        return !isTrue(this.lenient(node.child, value))
      case 'Comparator':
        return compare(node.name, this.lenient(node.left, value), this.lenient(node.right, value))
      case 'Projection': {
        const left = this.lenient(node.left, value)
        return Array.isArray(left) ? this.#each(node.right, left) : null
      }
      case 'ValueProjection': {
        const left = this.lenient(node.left, value)
        return isObject(left) ? this.#each(node.right, Object.values(left)) : null
      }
      case 'FilterProjection': {
        const left = this.lenient(node.left, value)
        if (!Array.isArray(left)) return null
        return this.#each(
          node.right,
          left.filter((item) => isTrue(this.lenient(node.condition, item))),
        )
      }
      case 'Flatten': {
        const list = this.lenient(node.child, value)
        return Array.isArray(list)
          ? list.flatMap((item) => (Array.isArray(item) ? item : [item]))
          : null
      }
      case 'MultiSelectList':
        return value === null ? null : node.children.map((child) => this.lenient(child, value))
      case 'MultiSelectHash':
        return value === null
          ? null
          : Object.fromEntries(
              node.children.map(({ name, value: child }) => [name, this.lenient(child, value)]),
            )
      case 'Function':
        return this.#call(node.name, node.children, value)
      default:
        throw new AirsealError('EXPRESSION_FAILED', `JMESPath ${node.type} can't be evaluated`)
    }
  }

  /** A missing key counts as null here. */
  lenient(node: Node, value: Json): Json {
    try {
      return this.run(node, value)
    } catch (thrown) {
      if (isNotFound(thrown)) return null
      throw thrown
    }
  }

  #each(node: Node, items: readonly Json[]): Json[] {
    return items.flatMap((item) => {
      const result = this.lenient(node, item)
      return result === null ? [] : [result]
    })
  }

  #call(name: string, children: readonly Node[], value: Json): Json {
    const known: Function | undefined = FUNCTIONS[name]
    if (known === undefined)
      throw new AirsealError('EXPRESSION_FAILED', `there is no function ${name}()`)
    const parameters = children.map((child) =>
      child.type === 'ExpressionReference'
        ? { reference: (item: Json): Json => this.lenient(child.child, item) }
        : { value: this.lenient(child, value) },
    )
    const count = parameters.length
    if (count < known.least || count > known.most)
      throw new AirsealError(
        'EXPRESSION_FAILED',
        `${name}() takes ${known.least} arguments, not ${count}`,
      )
    return known.call(
      parameters.map((one) => ('value' in one ? one.value : null)),
      {
        now: this.#now,
        root: this.#root,
        reference: (at) => {
          const one = parameters[at]
          if (one === undefined || !('reference' in one))
            throw new AirsealError('EXPRESSION_FAILED', `${name}() wants an expression (&…)`)
          return one.reference
        },
      },
    )
  }
}

function fieldOf(value: Json, name: string): Json {
  if (isObject(value)) {
    if (!Object.hasOwn(value, name)) throw notFound(name)
    return value[name] as Json
  }
  if (value === null) throw notFound(name)
  return null
}

function notFound(name: string): AirsealError {
  return new AirsealError('EXPRESSION_FAILED', `Unknown key "${name.slice(0, 80)}" in path`, {
    details: { kind: 'not-found' },
  })
}

/** True for the error of a missing key. */
export function isNotFound(thrown: unknown): boolean {
  return (
    thrown instanceof AirsealError &&
    (thrown.details as JsonObject | undefined)?.['kind'] === 'not-found'
  )
}

/** Null, false, and what is empty are false (JMESPath specification, "Or Expressions"). */
function isTrue(value: Json): boolean {
  if (value === null || value === false || value === '') return false
  if (Array.isArray(value)) return value.length > 0
  return !isObject(value) || Object.keys(value).length > 0
}

function compare(name: string, left: Json, right: Json): Json {
  if (name === 'EQ') return deepEqual(left, right)
  if (name === 'NE') return !deepEqual(left, right)
  if (typeof left !== 'number' || typeof right !== 'number') return null
  if (name === 'GT') return left > right
  if (name === 'GTE') return left >= right
  return name === 'LT' ? left < right : left <= right
}

export function deepEqual(left: Json, right: Json): boolean {
  if (Array.isArray(left)) {
    return (
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((item, index) => deepEqual(item, right[index] ?? null))
    )
  }
  if (!isObject(left) || !isObject(right)) return left === right
  const names = Object.keys(left)
  return (
    names.length === Object.keys(right).length &&
    names.every(
      (name) => Object.hasOwn(right, name) && deepEqual(left[name] as Json, right[name] as Json),
    )
  )
}

function slice(
  list: readonly Json[],
  start: number | null,
  stop: number | null,
  step: number | null,
): Json[] {
  const by = step ?? 1
  if (by === 0) throw new AirsealError('EXPRESSION_FAILED', 'a slice has step 0')
  const { length } = list
  const clamp = (at: number): number => {
    if (at < 0) return Math.max(at + length, by < 0 ? -1 : 0)
    return Math.min(at, by < 0 ? length - 1 : length)
  }
  const from = start === null ? (by < 0 ? length - 1 : 0) : clamp(start)
  const to = stop === null ? (by < 0 ? -1 : length) : clamp(stop)
  const result: Json[] = []
  for (let at = from; by > 0 ? at < to : at > to; at += by) result.push(list[at] ?? null)
  return result
}
