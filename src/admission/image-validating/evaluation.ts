import {
  AirsealError,
  asAirsealError,
  isObject,
  type Digest,
  type Json,
  type JsonObject,
} from '../../core/index.ts'
import type { ExpressionFunction, ExpressionInput } from '../../expressions/index.ts'
import { parseImageName } from '../image/name.ts'
import { judgeSet, type Problem } from '../judge/attestors.ts'
import type { EvidenceSource, Facts, Finding } from '../judge/ports.ts'
import type { ImagePolicy } from './policy.ts'

/** What became of one image while expressions asked about it. */
export interface Asked {
  verified: boolean
  digest: Digest | null
  readonly problems: Problem[]
  error: boolean
}

/**
 * Answers the functions of a policy's expressions. These are evaluated at once, while verification takes its time: a question without an answer yet ends the
 * evaluation, is answered, and the evaluation begins again. Every round answers at least one question, and questions are few.
 */
export class Evaluation {
  readonly #policy: ImagePolicy
  readonly #facts: Facts
  readonly #source: EvidenceSource
  readonly #answers = new Map<string, Answer>()
  readonly #pending = new Map<string, () => Promise<Answer>>()
  readonly asked = new Map<string, Asked>()

  constructor(policy: ImagePolicy, facts: Facts, source: EvidenceSource) {
    this.#policy = policy
    this.#facts = facts
    this.#source = source
  }

  readonly #functions: ReadonlyMap<string, ExpressionFunction['run']> = new Map<
    string,
    ExpressionFunction['run']
  >([
    ['verifyImageSignatures', (image, attestors) => this.#count(image, null, attestors)],
    [
      'verifyAttestationSignatures',
      (image, attestation, attestors) =>
        this.#count(image, textOf(attestation, 'attestation'), attestors),
    ],
    [
      'extractPayload',
      (image, attestation) =>
        this.#payload(textOf(image, 'image'), textOf(attestation, 'attestation')),
    ],
  ])

  /** Runs `work`, which evaluates expressions of the policy, until it asks nothing that is not known. */
  async run<T>(work: () => T): Promise<T> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      this.#pending.clear()
      let result: { value: T } | { thrown: unknown }
      const { slot } = this.#policy
      slot.functions = this.#functions
      try {
        result = { value: work() }
      } catch (thrown) {
        result = { thrown }
      } finally {
        slot.functions = null
      }
      if (this.#pending.size === 0) {
        if ('thrown' in result) throw result.thrown
        return result.value
      }
      const waiting = [...this.#pending]
      await Promise.all(
        waiting.map(async ([key, ask]) => {
          this.#answers.set(key, await ask())
        }),
      )
    }
    throw new AirsealError(
      'EXPRESSION_FAILED',
      `the expressions ask for more than ${MAX_ROUNDS} rounds of verification`,
    )
  }

  #count(image: Json | undefined, attestation: string | null, attestors: Json | undefined): number {
    const text = textOf(image, 'image')
    if (!this.#policy.speaksOf(text)) return 0
    if (!Array.isArray(attestors)) throw failed('attestors must be a list')
    const names = attestors.map((one) => textOf(isObject(one) ? one['name'] : one, 'attestor'))
    const counts = new Set<string>()
    let missing = false
    for (const name of names) {
      const answer = this.#answerTo(text, attestation, name)
      if (answer === null) missing = true
      else if (answer.verified) counts.add(name)
    }
    if (missing) throw failed('not known yet')
    const state = this.#stateOf(text)
    if (counts.size > 0) state.verified = true
    return counts.size
  }

  #payload(image: string, attestation: string): ExpressionInput {
    for (const name of this.#policy.attestors.keys()) {
      const answer = this.#answers.get(keyOf(image, attestation, name))
      if (answer?.verified === true) return answer.statement ?? null
    }
    // What was never verified must not be read (and Kyverno refuses it as well); a round that is not over may still verify it.
    throw failed(`the payload of ${attestation} was not verified before it is read`)
  }

  #answerTo(image: string, attestation: string | null, name: string): Answer | null {
    const key = keyOf(image, attestation, name)
    const known = this.#answers.get(key)
    if (known !== undefined) return known
    this.#pending.set(key, () => this.#ask(image, attestation, name))
    return null
  }

  #stateOf(image: string): Asked {
    const known = this.asked.get(image)
    if (known !== undefined) return known
    const fresh: Asked = { verified: false, digest: null, problems: [], error: false }
    this.asked.set(image, fresh)
    return fresh
  }

  async #ask(text: string, attestation: string | null, name: string): Promise<Answer> {
    const state = this.#stateOf(text)
    const problem = (
      code: string,
      message: string,
      remedy: string | null,
      error: boolean,
    ): Answer => {
      state.problems.push({ path: name, code, message, remedy })
      state.error ||= error
      return { verified: false, statement: null }
    }
    const attestor = this.#policy.attestors.get(name)
    if (attestor === undefined)
      return problem('POLICY_INVALID', `there is no attestor ${name.slice(0, 60)}`, null, true)
    const predicateType =
      attestation === null ? null : (this.#policy.attestations.get(attestation) ?? null)
    if (attestation !== null && predicateType === null)
      return problem(
        'POLICY_INVALID',
        `there is no attestation ${attestation.slice(0, 60)}`,
        null,
        true,
      )
    try {
      const image = parseImageName(text)
      const digest = image.digest ?? (await this.#source.resolve(image))
      state.digest = digest
      let statement: JsonObject | null = null
      const entry = { annotations: {}, type: 'Cosign', repository: null } as const
      const check = (finding: Finding): null => {
        statement ??= finding.statements[0] ?? null
        return null
      }
      // Both layouts count for these policies, with Kyverno too.
      const facts = { ...this.#facts, parity: false }
      const verdict = await judgeSet(
        attestor.set,
        name,
        { image, digest, entry, facts, source: this.#source },
        { predicateType, check },
      )
      if (verdict.outcome === 'verified') return { verified: true, statement }
      state.problems.push(...verdict.problems)
      state.error ||= verdict.outcome === 'error'
      return { verified: false, statement: null }
    } catch (thrown) {
      const { code, message, facts } = asAirsealError(thrown)
      return problem(code, message, facts.remedy, code !== 'IMAGE_NOT_FOUND')
    }
  }
}

interface Answer {
  readonly verified: boolean
  readonly statement: JsonObject | null
}

const MAX_ROUNDS = 32

function keyOf(image: string, attestation: string | null, name: string): string {
  return JSON.stringify([image, attestation, name])
}

function textOf(value: Json | undefined, what: string): string {
  if (typeof value !== 'string') throw failed(`${what} must be a text`)
  return value
}

function failed(message: string): AirsealError {
  return new AirsealError('EXPRESSION_FAILED', message)
}
