import type { Policy } from '../policy/policy-set.ts'
import { judgeImagePolicy } from '../image-validating/judge.ts'
import type { Judging, Status } from './rule.ts'
import { judgeRule } from './rule.ts'
import { imagesOfWorkload, subjectText, type Subject } from './subject.ts'

/** What happens to images that no policy speaks of. */
export type Uncovered = 'allow' | 'deny'

/** One rule's word about one object, whatever dialect it is written in. */
export interface PolicyVerdict {
  readonly policy: string
  readonly rule: string
  readonly status: Status
  readonly message: string
  readonly action: 'Enforce' | 'Audit'
  readonly failurePolicy: 'Fail' | 'Ignore'
  readonly images: readonly {
    readonly pointer: string
    readonly text: string
    readonly status: Status
    readonly code: string | null
    readonly message: string
    readonly remedy: string | null
    readonly digest: string | null
  }[]
  readonly pins: ReadonlyMap<string, string>
}

export interface PatchOperation {
  readonly op: 'test' | 'replace'
  readonly path: string
  readonly value: string
}

export interface ObjectVerdict {
  readonly allowed: boolean
  /** Null when allowed. */
  readonly message: string | null
  readonly warnings: readonly string[]
  /** In the phase `mutate`: each place is tested for what it held when it was judged. */
  readonly patch: readonly PatchOperation[]
  readonly verdicts: readonly PolicyVerdict[]
  /** Images (as written) that no policy speaks of. */
  readonly uncovered: readonly string[]
  /** Digests by image as written, as far as they were looked up. */
  readonly digests: Readonly<Record<string, string>>
}

/** Judges one object by every policy at the same time. Whatever fails in between is a verdict, never an exception. */
export async function judgeObject(
  policies: readonly Policy[],
  subject: Subject,
  judging: Judging,
  uncoveredImages: Uncovered,
): Promise<ObjectVerdict> {
  const verdicts = (
    await Promise.all(policies.map((policy) => judgeBy(policy, subject, judging)))
  ).flat()
  const blocking = verdicts.filter(blocks)
  const covered = new Set(verdicts.flatMap(({ images }) => images.map(({ pointer }) => pointer)))
  const uncovered = imagesOfWorkload(subject, { parity: false }).filter(
    ({ pointer }) => !covered.has(pointer),
  )
  const names = [...new Set(uncovered.map(({ text }) => text))]
  const loose = uncoveredImages === 'deny' && names.length > 0
  const allowed = blocking.length === 0 && !loose
  const pins = new Map<string, string>()
  for (const verdict of verdicts)
    for (const [pointer, text] of verdict.pins) pins.set(pointer, text)
  const texts = new Map(
    verdicts.flatMap(({ images }) => images.map(({ pointer, text }) => [pointer, text])),
  )
  return {
    allowed,
    message: allowed ? null : refusalText(subject, blocking, loose ? names : []),
    warnings: warningsOf(verdicts, uncoveredImages === 'allow' ? names : []),
    patch: allowed && judging.phase === 'mutate' ? patchOf(pins, texts) : [],
    verdicts,
    uncovered: names,
    digests: Object.fromEntries(
      verdicts.flatMap(({ images }) =>
        images.flatMap(({ text, digest }) => (digest === null ? [] : [[text, digest]])),
      ),
    ),
  }
}

async function judgeBy(
  policy: Policy,
  subject: Subject,
  judging: Judging,
): Promise<PolicyVerdict[]> {
  if (policy.dialect === 'image-validating') return judgeImagePolicy(policy, subject, judging)
  if (policy.namespace !== null && policy.namespace !== subject.namespace) return []
  const { name, failurePolicy } = policy
  const found: PolicyVerdict[] = []
  const judge = async (rule: (typeof policy.rules)[number]): Promise<PolicyVerdict | null> => {
    const verdict = await judgeRule(policy, rule, subject, judging)
    return verdict === null ? null : { ...verdict, policy: name, rule: rule.name, failurePolicy }
  }
  if (policy.applyRules === 'One') {
    for (const rule of policy.rules) {
      const verdict = await judge(rule)
      if (verdict !== null) return [verdict]
    }
    return found
  }
  return (await Promise.all(policy.rules.map(judge))).filter((verdict) => verdict !== null)
}

/** A failure blocks where the rule enforces, an error where errors are not to be ignored. */
function blocks({ status, action, failurePolicy }: PolicyVerdict): boolean {
  return (
    (status === 'fail' && action === 'Enforce') || (status === 'error' && failurePolicy === 'Fail')
  )
}

/** One line first, since events and consoles cut; then each policy with what it found and what to do. */
function refusalText(
  subject: Subject,
  blocking: readonly PolicyVerdict[],
  loose: readonly string[],
): string {
  const lines = blocking.flatMap(({ policy, rule, images, message }) => {
    const bad = images.filter(({ status }) => status === 'fail' || status === 'error')
    const remedy = bad.find((one) => one.remedy !== null)?.remedy ?? null
    return [`policy ${policy}, rule ${rule}: ${message}${remedy === null ? '' : ` (${remedy})`}`]
  })
  const open =
    loose.length === 0
      ? []
      : [
          `no policy speaks of ${shownList(loose)}, and such images are denied here [IMAGE_NOT_COVERED] (Add a policy for them, or set admission.uncoveredImages: allow.)`,
        ]
  return cut(
    `airseal refuses ${subjectText(subject)}: ${[...lines, ...open].join('\n')}`,
    MAX_MESSAGE,
  )
}

const MAX_MESSAGE = 8_000
const MAX_WARNING = 240
const MAX_WARNINGS = 16

function warningsOf(
  verdicts: readonly PolicyVerdict[],
  uncovered: readonly string[],
): readonly string[] {
  const failed = verdicts.filter(
    (verdict) => ['fail', 'error'].includes(verdict.status) && !blocks(verdict),
  )
  const all = [
    ...failed.map(({ policy, rule, message }) => `policy ${policy}.${rule}: ${message}`),
    ...(uncovered.length === 0 ? [] : [`airseal: no policy speaks of ${shownList(uncovered)}`]),
  ]
  return all.slice(0, MAX_WARNINGS).map((text) => cut(text.replaceAll('\n', ' '), MAX_WARNING))
}

function shownList(names: readonly string[]): string {
  return names.length <= 5
    ? names.join(', ')
    : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}

function patchOf(
  pins: ReadonlyMap<string, string>,
  texts: ReadonlyMap<string, string>,
): readonly PatchOperation[] {
  return [...pins]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([path, value]): PatchOperation[] => {
      const text = texts.get(path)
      return text === undefined || text === value
        ? []
        : [
            { op: 'test', path, value: text },
            { op: 'replace', path, value },
          ]
    })
}
