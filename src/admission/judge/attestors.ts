import { asAirsealError, type Digest } from '../../core/index.ts'
import type { ImageName } from '../image/name.ts'
import type { AttestorEntry, AttestorSet } from '../policy/attestor.ts'
import type { VerifyEntry } from '../policy/verify-entry.ts'
import { demandOf } from './demand.ts'
import type { EvidenceSource, Facts, Finding } from './ports.ts'

/** What a set of attestors came to. */
export interface SetVerdict {
  readonly outcome: 'verified' | 'rejected' | 'error'
  /** Why not, one for each entry that did not hold. */
  readonly problems: readonly Problem[]
  /** Distinct signers that were counted. */
  readonly signers: readonly string[]
}

export interface Problem {
  /** As Kyverno names it: `.attestors[0].entries[0].keys`. */
  readonly path: string
  readonly code: string
  readonly message: string
  readonly remedy: string | null
}

/** What is asked about one image. */
export interface ImageQuestion {
  readonly image: ImageName
  readonly digest: Digest
  readonly entry: Pick<VerifyEntry, 'annotations' | 'type' | 'repository'>
  readonly facts: Facts
  readonly source: EvidenceSource
}

/** What is asked of each single attestor, and what its answer must stand up to. */
export interface Examination {
  readonly predicateType: string | null
  /** Null: it stands. */
  readonly check: (finding: Finding) => Omit<Problem, 'path'> | null
}

export const SIGNATURE: Examination = { predicateType: null, check: () => null }

/** Whether so many entries of the set hold as it wants. Entries are judged at the same time; the verdict depends on their order nowhere. */
export async function judgeSet(
  set: AttestorSet,
  path: string,
  question: ImageQuestion,
  examination: Examination,
): Promise<SetVerdict> {
  const verdicts = await Promise.all(
    set.entries.map((entry) => judgeEntry(entry, `${path}.${entry.path}`, question, examination)),
  )
  const signers = new Set<string>()
  let count = 0
  for (const verdict of verdicts) {
    if (verdict.outcome !== 'verified') continue
    if (question.facts.parity) count++
    else {
      // The same signer twice is one: a threshold counts keys, not lines of a policy.
      const fresh = verdict.signers.find((signer) => !signers.has(signer))
      if (fresh === undefined) continue
      signers.add(fresh)
      count++
    }
  }
  if (count >= set.count) return { outcome: 'verified', problems: [], signers: [...signers] }
  const problems = verdicts.flatMap((verdict) => verdict.problems)
  const found =
    problems.length > 0
      ? problems
      : [
          {
            path,
            code: 'THRESHOLD_NOT_MET',
            message: `${count} distinct signers, ${set.count} are wanted`,
            remedy: 'Have it signed by as many different signers as the policy counts.',
          },
        ]
  const outcome = verdicts.some((verdict) => verdict.outcome === 'error') ? 'error' : 'rejected'
  return { outcome, problems: found, signers: [] }
}

async function judgeEntry(
  entry: AttestorEntry,
  path: string,
  question: ImageQuestion,
  examination: Examination,
): Promise<SetVerdict> {
  const { attestor } = entry
  if (attestor.kind === 'set') {
    const nested = await judgeSet(attestor.set, path, question, examination)
    return {
      ...nested,
      signers: nested.outcome === 'verified' ? [[...nested.signers].sort().join('+')] : [],
    }
  }
  const { image, digest, entry: rule, facts, source } = question
  const failed = (problem: Omit<Problem, 'path'>, outcome: 'rejected' | 'error'): SetVerdict => ({
    outcome,
    problems: [{ path, ...problem }],
    signers: [],
  })
  try {
    const annotations =
      Object.keys(entry.annotations).length > 0 ? entry.annotations : rule.annotations
    const demand = demandOf(attestor, { annotations, type: rule.type }, facts)
    const { predicateType } = examination
    const repository = entry.repository ?? rule.repository
    const finding = await source.judge({ image, digest, predicateType, repository, demand })
    if (finding.outcome !== 'verified') {
      const { code, message, remedy } = finding
      return failed({ code: code ?? 'INTERNAL', message, remedy }, finding.outcome)
    }
    const problem = examination.check(finding)
    return problem === null
      ? { outcome: 'verified', problems: [], signers: finding.signers }
      : failed(problem, 'rejected')
  } catch (thrown) {
    const { code, message, facts: about } = asAirsealError(thrown)
    return failed({ code, message, remedy: about.remedy }, 'error')
  }
}
