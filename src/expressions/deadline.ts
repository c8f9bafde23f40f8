import { createContext, Script, type Context } from 'node:vm'
import { AirsealError } from '../core/index.ts'

let context: (Context & { work?: (() => unknown) | undefined }) | undefined
let script: Script | undefined

/**
 * Runs synchronous `work`, and stops it when it takes longer than `milliseconds`, whatever it is doing. The engine itself ends it: code that
 * catches everything can't go on. The last resort behind bounds that count; costs about 0.1 ms.
 * @throws AirsealError EXPRESSION_FAILED when it was stopped; else what `work` throws
 */
export function within<T>(milliseconds: number, what: string, work: () => T): T {
  context ??= createContext({ work: undefined })
  script ??= new Script('work()')
  const before = context.work
  context.work = work
  try {
    return script.runInContext(context, { timeout: milliseconds }) as T
  } catch (thrown) {
    if (!(thrown instanceof AirsealError) && codeOf(thrown) === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
      throw new AirsealError('EXPRESSION_FAILED', `${what} took longer than ${milliseconds} ms`)
    }
    throw thrown
  } finally {
    context.work = before
  }
}

/** Not by class: the error may come from the other realm. */
function codeOf(thrown: unknown): unknown {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined
}
