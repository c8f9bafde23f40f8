import { celFunc, CelScalar, isCelList, isCelMap, type CelFunc, type parse } from '@bufbuild/cel'

type Expr = NonNullable<ReturnType<typeof parse>['expr']>

/** Names that no expression can spell, since CEL's identifiers have no `@`. */
const STEP = '@step'
const WEIGH = '@weigh'

/** Counts the work of one evaluation. */
export interface Budget {
  /** To be given to the environment beside the functions of the language. */
  readonly functions: readonly CelFunc[]
  /** Begins an evaluation with `steps` to spend. */
  begin(steps: number): void
  /** True when the work was more than allowed. The value of the evaluation means nothing then. */
  exhausted(): boolean
}

/**
 * CEL's own cost limits are missing in the library, and its loops nest: thirty characters over a long list are hours of work. Every round of a
 * loop and everything whose cost grows with its operands is charged; once nothing is left all loops end.
 */
export function createBudget(): Budget {
  let left = 0
  return {
    functions: [
      celFunc(STEP, [], CelScalar.BOOL, () => --left >= 0),
      celFunc(WEIGH, [CelScalar.DYN], CelScalar.DYN, (value) => {
        left -= weightOf(value)
        if (left < 0) throw new Error('too much work')
        return value
      }),
    ],
    begin: (steps) => (left = steps),
    exhausted: () => left < 0,
  }
}

function weightOf(value: unknown): number {
  if (typeof value === 'string' || value instanceof Uint8Array) return 1 + (value.length >> 6)
  return isCelList(value) || isCelMap(value) ? 1 + value.size : 1
}

/** Operators and functions of which every operand is charged: what they do is linear in it. */
const LINEAR: ReadonlySet<string> = new Set([
  '_+_',
  '_==_',
  '_!=_',
  '_<_',
  '_<=_',
  '_>_',
  '_>=_',
  '@in',
  'matches',
  'contains',
  'startsWith',
  'endsWith',
  'size',
  'string',
  'bytes',
  'split',
  'join',
  'replace',
  'substring',
  'indexOf',
  'lastIndexOf',
  'lowerAscii',
  'upperAscii',
  'trim',
  'format',
  'quote',
  'reverse',
])

/**
 * Adds the charges to a parsed expression, in place.
 * @param qualified - true for a function whose last part has this name: what stands before the dot may be the rest of the name, not a value
 */
export function charge(expr: Expr | undefined, qualified: (name: string) => boolean): void {
  const inside = (part: Expr | undefined): void => {
    charge(part, qualified)
  }
  const kind = expr?.exprKind
  switch (kind?.case) {
    case 'callExpr': {
      const call = kind.value
      inside(call.target)
      for (const arg of call.args) inside(arg)
      if (LINEAR.has(call.function)) {
        call.args = call.args.map((arg) => weighed(arg))
        if (call.target !== undefined && !qualified(call.function)) {
          call.target = weighed(call.target)
        }
      }
      return
    }
    case 'selectExpr':
      inside(kind.value.operand)
      return
    case 'listExpr':
      for (const element of kind.value.elements) inside(element)
      return
    case 'structExpr':
      for (const { keyKind, value } of kind.value.entries) {
        if (keyKind.case === 'mapKey') inside(keyKind.value)
        inside(value)
      }
      return
    case 'comprehensionExpr': {
      const loop = kind.value
      for (const part of [loop.iterRange, loop.accuInit, loop.loopStep, loop.result]) inside(part)
      const { loopCondition } = loop
      if (loopCondition !== undefined) {
        loop.loopCondition = call(loopCondition, '_&&_', [
          call(loopCondition, STEP, []),
          loopCondition,
        ])
      }
      return
    }
    default:
  }
}

function weighed(expr: Expr): Expr {
  return expr.exprKind.case === 'constExpr' ? expr : call(expr, WEIGH, [expr])
}

function call(from: Expr, name: string, args: Expr[]): Expr {
  return {
    $typeName: 'cel.expr.Expr',
    id: from.id,
    exprKind: {
      case: 'callExpr',
      value: { $typeName: 'cel.expr.Expr.Call', function: name, args },
    },
  }
}
