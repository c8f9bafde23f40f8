import type { AirsealError } from '../../core/index.ts'
import { asAirsealError, isObject, type Json, type JsonObject } from '../../core/index.ts'
import type { Facts } from '../judge/ports.ts'
import { readPolicyDocument } from '../policy/policy-set.ts'
import { attestorHazards, patternHoles } from './hazards.ts'

/** Something that will keep a rule from doing what it says in a network without Internet. */
export interface Finding {
  readonly code: 'INVALID' | 'UNSUPPORTED' | 'NEEDS_INTERNET' | 'NOT_KNOWN_HERE'
  readonly policy: string
  /** Null: of the policy as a whole. */
  readonly rule: string | null
  /** Sentence for people. */
  readonly message: string
  /** What fails with Kyverno 1.19 itself, and why. */
  readonly kyverno: readonly string[]
  /** What fails with airseal, and why. */
  readonly airseal: readonly string[]
  readonly remedy: string
}

/** Something to know, which keeps nothing from working. */
export interface Note {
  readonly policy: string
  readonly rule: string | null
  readonly message: string
}

export interface LintReport {
  readonly findings: readonly Finding[]
  readonly notes: readonly Note[]
}

const REKOR_OR_ROOTS = 'Either Rekor URL or roots are required'

/**
 * Says of each rule what will fail without Internet, with Kyverno and with airseal, before anything is deployed.
 * @param facts - what is trusted here; null: only the policies themselves are looked at
 */
export function lintDocuments(
  documents: readonly JsonObject[],
  facts: Facts | null,
  parity: boolean,
): LintReport {
  const findings: Finding[] = []
  const notes: Note[] = []
  for (const document of documents) {
    const { kind } = document
    if (kind === 'ClusterPolicy' || kind === 'Policy')
      lintKyverno(document, facts, parity, findings, notes)
    else lintWhole(document, parity, findings)
    if (kind === 'ClusterPolicy' || kind === 'Policy')
      notes.push({
        policy: nameOf(document),
        rule: null,
        message: `Kyverno 1.19 calls ${kind} deprecated in favour of ImageValidatingPolicy`,
      })
  }
  return { findings, notes }
}

function nameOf(document: JsonObject): string {
  const { metadata } = document
  return isObject(metadata) && typeof metadata['name'] === 'string'
    ? metadata['name']
    : '(without name)'
}

/** @returns true when the document is accepted */
function lintWhole(
  document: JsonObject,
  parity: boolean,
  findings: Finding[],
  rule: string | null = null,
): boolean {
  try {
    readPolicyDocument(document, { parity })
    return true
  } catch (thrown) {
    findings.push(refusal(nameOf(document), rule, asAirsealError(thrown)))
    return false
  }
}

function refusal(
  policy: string,
  rule: string | null,
  { code, message, facts }: AirsealError,
): Finding {
  const where = rule === null ? `policy ${policy}` : `rule ${rule}`
  if (message.includes(REKOR_OR_ROOTS)) {
    const why =
      'keyless attestor with neither rekor nor roots: Kyverno 1.19 rejects the whole policy'
    return {
      code: 'INVALID',
      policy,
      rule,
      message: `${where}: ${why}`,
      kyverno: [`rejects the whole policy when it is made: ${REKOR_OR_ROOTS}`],
      airseal: ['refuses the policy when it is added, for the same reason'],
      remedy: 'Add rekor (url and pubkey) or roots below keyless, and ctlog.',
    }
  }
  const unsupported = code === 'POLICY_UNSUPPORTED'
  return {
    code: unsupported ? 'UNSUPPORTED' : 'INVALID',
    policy,
    rule,
    message: `${where}: ${message}`,
    kyverno: [],
    airseal: [`refuses the policy when it is added [${code}]`],
    remedy: facts.remedy,
  }
}

function lintKyverno(
  document: JsonObject,
  facts: Facts | null,
  parity: boolean,
  findings: Finding[],
  notes: Note[],
): void {
  const policy = nameOf(document)
  const spec = isObject(document['spec']) ? document['spec'] : {}
  const rules = (Array.isArray(spec['rules']) ? spec['rules'] : []).filter(isObject)
  if (rules.length === 0) {
    lintWhole(document, parity, findings)
    return
  }
  for (const member of ['validationFailureAction', 'webhookTimeoutSeconds'] as const) {
    if (spec[member] !== undefined)
      notes.push({
        policy,
        rule: null,
        message: `spec.${member} is deprecated; ${member === 'webhookTimeoutSeconds' ? 'webhookConfiguration.timeoutSeconds' : 'verifyImages[].failureAction'} takes its place`,
      })
  }
  if (spec['failurePolicy'] === 'Ignore')
    notes.push({
      policy,
      rule: null,
      message: 'failurePolicy: Ignore lets Pods in whenever something can not be found out',
    })
  let sound = true
  for (const rule of rules) {
    const name = typeof rule['name'] === 'string' ? rule['name'] : '(without name)'
    const alone = { ...document, spec: { ...spec, rules: [rule] } }
    if (!lintWhole(alone, parity, findings, name)) sound = false
    else lintRule(policy, name, rule, facts, findings, notes)
  }
  // Names that stand twice are seen only together.
  if (sound) lintWhole(document, parity, findings)
}

function lintRule(
  policy: string,
  rule: string,
  source: JsonObject,
  facts: Facts | null,
  findings: Finding[],
  notes: Note[],
): void {
  const entries = (Array.isArray(source['verifyImages']) ? source['verifyImages'] : []).filter(
    isObject,
  )
  for (const entry of entries) {
    const references = texts(entry['imageReferences'])
    for (const hole of patternHoles(references)) notes.push({ policy, rule, message: hole })
    for (const { path, kyverno, airseal } of attestorHazards(entry, facts)) {
      const internet = kyverno.length > 0
      const who =
        internet && airseal.length > 0 ? 'Kyverno and airseal' : internet ? 'Kyverno' : 'airseal'
      findings.push({
        code: internet ? 'NEEDS_INTERNET' : 'NOT_KNOWN_HERE',
        policy,
        rule,
        message: `rule ${rule}: ${path.replace(/^\./, '')} will fail offline with ${who}: ${[...kyverno, ...airseal].join('; ')}`,
        kyverno,
        airseal,
        remedy: internet
          ? 'Give rekor.pubkey (or rekor.ignoreTlog: true), ctlog.ignoreSCT: true (or ctlog.pubkey), and for keyless roots.'
          : 'Register the key or bring the trusted root in, then lint again.',
      })
    }
  }
}

function texts(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}
