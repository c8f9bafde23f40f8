import { AirsealError } from '../core/index.ts'
import { compileExpression } from '../expressions/index.ts'
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
export function parseConditions(members: Members): readonly Condition[] {
  if (!members.has('conditions')) return []
  return members.texts('conditions', MAX_CONDITIONS, MAX_CHARACTERS).map(conditionOf)
}

function conditionOf(source: string): Condition {
  const expression = compiled(source)
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

function compiled(source: string): ReturnType<typeof compileExpression> {
  try {
    return compileExpression(source)
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    const { code, message } = thrown
    throw new AirsealError(code, `${message} (in "${source.slice(0, 100)}")`, { cause: thrown })
  }
}
