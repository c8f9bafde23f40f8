import {
  celEnv,
  celFunc,
  celMethod,
  CelScalar,
  isCelError,
  parse,
  plan,
  type CelFunc,
  type CelInput,
} from '@bufbuild/cel'
import { strings } from '@bufbuild/cel/ext'
import { AirsealError, type Json } from '../core/index.ts'
import { charge, createBudget } from './budget.ts'
import { within } from './deadline.ts'
import { fromCel, toCel, type ExpressionFunction, type ExpressionInput } from './values.ts'

/** Characters of one expression at most. */
const MAX_EXPRESSION = 16_384
/** Rounds of loops, and units of other work, of one evaluation. */
const STEPS = 200_000
/** Milliseconds of one evaluation or one parse; what counts the steps ends it long before. */
const TIMEOUT_MS = 1_000

export interface CompileOptions {
  /** What can be called beside the functions of CEL and its strings extension. */
  readonly functions?: readonly ExpressionFunction[]
  /** Rounds of loops at most. Default 200000. */
  readonly steps?: number
}

/** An expression of the Common Expression Language, ready to be evaluated any number of times. Not shared between threads. */
export interface Expression {
  readonly source: string
  /**
   * @param variables - by name; a name that is missing is an error only where it is used
   * @throws AirsealError EXPRESSION_FAILED when it has no value (a member that is not there, types that don't fit, too much work); whatever a
   *   function of {@link CompileOptions} threw
   */
  evaluate(variables: Readonly<Record<string, ExpressionInput>>): Json
  /** True or false. @throws AirsealError EXPRESSION_FAILED also when the value is neither */
  test(variables: Readonly<Record<string, ExpressionInput>>): boolean
}

/**
 * Compiles an expression. CEL has no unbounded loops, matches patterns in time linear in the text (RE2), and touches nothing outside; the number of
 * its steps is bounded here.
 * @throws AirsealError EXPRESSION_INVALID
 */
export function compileExpression(source: string, options: CompileOptions = {}): Expression {
  if (source.trim() === '' || source.length > MAX_EXPRESSION) {
    throw invalid(`must have 1 to ${MAX_EXPRESSION} characters`)
  }
  const budget = createBudget()
  const thrown: Error[] = []
  const functions = (options.functions ?? []).map((one) => celFunctionOf(one, thrown))
  const evaluated = compiled(source, [...strings, ...functions, ...budget.functions])
  const evaluate = (variables: Readonly<Record<string, ExpressionInput>>): Json => {
    budget.begin(options.steps ?? STEPS)
    thrown.length = 0
    const value = within(TIMEOUT_MS, 'the expression', () => evaluated(bindings(variables)))
    if (budget.exhausted()) {
      throw new AirsealError('EXPRESSION_FAILED', 'the expression takes too many steps')
    }
    if (!isCelError(value)) return fromCel(value)
    const own = thrown.find((error) => error === value.cause)
    if (own !== undefined) throw own
    throw new AirsealError(
      'EXPRESSION_FAILED',
      `the expression has no value here: ${value.message.slice(0, 300)}`,
    )
  }
  return {
    source,
    evaluate,
    test: (variables) => {
      const value = evaluate(variables)
      if (typeof value === 'boolean') return value
      throw new AirsealError('EXPRESSION_FAILED', 'the expression is neither true nor false')
    },
  }
}

function compiled(
  source: string,
  functions: readonly CelFunc[],
): (variables: Record<string, CelInput>) => unknown {
  try {
    return within(TIMEOUT_MS, 'reading the expression', () => {
      const parsed = parse(source)
      charge(parsed.expr, (name) => functions.some((one) => one.name.endsWith(`.${name}`)))
      return plan(celEnv({ funcs: [...functions] }), parsed)
    })
  } catch (cause) {
    if (cause instanceof AirsealError) throw invalid(cause.message, cause)
    // The parser lists all that could have stood there: only the first line helps.
    const [first = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n')
    throw invalid(`can't be read: ${first.slice(0, 300)}`, cause)
  }
}

function bindings(variables: Readonly<Record<string, ExpressionInput>>): Record<string, CelInput> {
  return Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, toCel(value)]))
}

function celFunctionOf(
  { name, parameters, method = false, run }: ExpressionFunction,
  thrown: Error[],
): CelFunc {
  const guarded = (args: readonly unknown[]): CelInput => {
    try {
      return toCel(run(...args.map(fromCel)))
    } catch (error) {
      const fault = error instanceof Error ? error : new Error(String(error))
      thrown.push(fault)
      throw fault
    }
  }
  const types = Array.from({ length: parameters }, () => CelScalar.DYN)
  return method
    ? celMethod(name, CelScalar.DYN, types, CelScalar.DYN, function (...args: unknown[]) {
        return guarded([this, ...args])
      })
    : celFunc(name, types, CelScalar.DYN, (...args: unknown[]) => guarded(args))
}

function invalid(problem: string, cause?: unknown): AirsealError {
  return new AirsealError('EXPRESSION_INVALID', `the expression ${problem}`, { cause })
}
