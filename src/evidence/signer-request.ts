import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { parseTrustedRoot, type TrustedRoot } from '../sigstore/index.ts'
import { compilePattern, type SignerPolicy, type TextDemand } from '../verify/index.ts'

const MAX_TEXT = 4096
const SUBJECT = 'certificateIdentity'
const ISSUER = 'certificateOidcIssuer'
const WORKFLOW = {
  trigger: 'certificateGithubWorkflowTrigger',
  sha: 'certificateGithubWorkflowSha',
  name: 'certificateGithubWorkflowName',
  repository: 'certificateGithubWorkflowRepository',
  ref: 'certificateGithubWorkflowRef',
} as const

/** Members that {@link parseSigner} reads. */
export const SIGNER_MEMBERS: readonly string[] = [
  SUBJECT,
  `${SUBJECT}Regexp`,
  ISSUER,
  `${ISSUER}Regexp`,
  ...Object.values(WORKFLOW),
]

/**
 * Reads whose certificate is demanded: `certificateIdentity` and `certificateOidcIssuer`, exact, or either as a pattern under its name with
 * `Regexp`; claims of a GitHub workflow beside them. Both are required: a name means nothing without who vouches for it.
 * @param ownPki - whether the authority is pinned: then no issuer need be named
 * @returns null when no certificate is demanded
 * @throws AirsealError REQUEST_INVALID naming the member
 */
export function parseSigner(members: JsonObject, ownPki = false): SignerPolicy | null {
  const has = (name: string): boolean => (members[name] ?? null) !== null
  if (!SIGNER_MEMBERS.some(has)) return null
  const subject = demand(members, SUBJECT)
  const issuer = ownPki && !has(ISSUER) && !has(`${ISSUER}Regexp`) ? null : demand(members, ISSUER)
  const claim = (name: string): string | undefined => text(members, name) ?? undefined
  return {
    subject,
    issuer,
    workflow: {
      trigger: claim(WORKFLOW.trigger),
      sha: claim(WORKFLOW.sha),
      name: claim(WORKFLOW.name),
      repository: claim(WORKFLOW.repository),
      ref: claim(WORKFLOW.ref),
    },
  }
}

/** A trusted root in a request, as its document or the text of it; null when there is none. @throws AirsealError TRUST_INVALID, REQUEST_INVALID */
export function parseRequestRoot(value: Json | undefined): TrustedRoot | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'string') return parseTrustedRoot(value)
  if (!isObject(value)) throw invalid('trustedRoot', 'must be a trusted root')
  return parseTrustedRoot(JSON.stringify(value))
}

function demand(members: JsonObject, name: string): TextDemand {
  const exact = text(members, name)
  const pattern = text(members, `${name}Regexp`)
  if ((exact === null) === (pattern === null)) {
    throw invalid(name, `or ${name}Regexp must be given, and not both`)
  }
  return exact === null ? { pattern: compilePattern(pattern ?? '') } : { exact }
}

function text(members: JsonObject, name: string): string | null {
  const value = members[name] ?? null
  if (value === null) return null
  if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT) {
    throw invalid(name, `must be a string of 1 to ${MAX_TEXT} characters`)
  }
  return value
}

function invalid(name: string, problem: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `${name} ${problem}`)
}
