export { compileExpression } from './cel.ts'
export type { CompileOptions, Expression } from './cel.ts'
export { within } from './deadline.ts'
export type { ExpressionFunction, ExpressionInput } from './values.ts'
