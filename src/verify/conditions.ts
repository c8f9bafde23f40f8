import { AirsealError } from '../core/index.ts'
import type { Claim, Question } from './examine.ts'
import { refusal, type Refusal } from './reasons.ts'

/** Milliseconds for which the time that conditions see stands still. */
export const CONDITION_MINUTE = 60_000

/** Asks every condition; the first that is not plainly true refuses. Last of all checks: only what is authentic may take this work. */
export function checkConditions(
  signed: Claim['statement'],
  { digest, policy, now }: Question,
): Refusal | null {
  const { conditions = [] } = policy
  if (conditions.length === 0) return null
  if (signed === null) return refusal('CONDITION_NOT_MET', 'there is no predicate to ask')
  const { predicate, predicateType } = signed.statement
  const input = {
    predicate,
    predicateType,
    subjectName: signed.subjectName,
    digest,
    now: now - (now % CONDITION_MINUTE),
  }
  for (const condition of conditions) {
    const { source } = condition
    try {
      if (condition.test(input)) continue
    } catch (thrown) {
      if (!(thrown instanceof AirsealError)) throw thrown
      return refusal('CONDITION_NOT_MET', `${shown(source)}: ${thrown.message}`)
    }
    return refusal('CONDITION_NOT_MET', `${shown(source)} is false`)
  }
  return null
}

function shown(source: string): string {
  return source.length > 200 ? `${source.slice(0, 200)}…` : source
}
