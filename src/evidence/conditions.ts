import { AirsealError } from '../core/index.ts'
import type { compileExpression } from '../expressions/index.ts'
import type { Condition } from '../verify/index.ts'
import type { Members } from './members.ts'

/** Conditions of one attestation. */
const MAX_CONDITIONS = 32
const MAX_CHARACTERS = 4096

/**
 * Reads the member `conditions`: a list of expressions in CEL over `predicate`, `predicateType`, `subject` (its `name` and `digest`) and `now` (a
 * timestamp, the start of the current minute).
 * @throws AirsealError EXPRESSION_INVALID, REQUEST_INVALID
 */
export async function parseConditions(members: Members): Promise<readonly Condition[]> {
  if (!members.has('conditions')) return []
  // Loaded only here: the language is a third of all code that a verification loads.
  const { compileExpression: compile } = await import('../expressions/index.ts')
  return members
    .texts('conditions', MAX_CONDITIONS, MAX_CHARACTERS)
    .map((source) => conditionOf(source, compile))
}

function conditionOf(source: string, compile: typeof compileExpression): Condition {
  const expression = compiled(source, compile)
  return {
    source,
    // Also where the word is only part of a text: then the verdict is kept shorter than it could be.
    usesTime: /\bnow\b/.test(source),
    test: ({ predicate, predicateType, subjectName, digest, now }) =>
      expression.test({
        predicate,
        predicateType,
        subject: { name: subjectName, digest },
        now: new Date(now),
      }),
  }
}

function compiled(
  source: string,
  compile: typeof compileExpression,
): ReturnType<typeof compileExpression> {
  try {
    return compile(source)
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    const { code, message } = thrown
    throw new AirsealError(code, `${message} (in "${source.slice(0, 100)}")`, { cause: thrown })
  }
}
