import { AirsealError, type JsonObject } from '../core/index.ts'
import type { Input, Option } from './command.ts'

/** Options that say whose certificate must have signed, with cosign's names. */
export const SIGNER_OPTIONS: Readonly<Record<string, Option>> = {
  'certificate-identity': {
    type: 'string',
    value: 'NAME',
    help: 'URI, email, DNS or user name in the certificate, exact',
  },
  'certificate-identity-regexp': {
    type: 'string',
    value: 'RE2',
    help: 'the same as a pattern that must match all of it',
  },
  'certificate-oidc-issuer': {
    type: 'string',
    value: 'URL',
    help: 'issuer that vouched for the name, exact',
  },
  'certificate-oidc-issuer-regexp': {
    type: 'string',
    value: 'RE2',
    help: 'the same as a pattern that must match all of it',
  },
  'certificate-github-workflow-trigger': {
    type: 'string',
    value: 'EVENT',
    help: 'event that started the workflow',
  },
  'certificate-github-workflow-sha': {
    type: 'string',
    value: 'SHA',
    help: 'commit of the workflow',
  },
  'certificate-github-workflow-name': {
    type: 'string',
    value: 'NAME',
    help: 'name of the workflow',
  },
  'certificate-github-workflow-repository': {
    type: 'string',
    value: 'REPO',
    help: 'repository of the workflow',
  },
  'certificate-github-workflow-ref': {
    type: 'string',
    value: 'REF',
    help: 'git reference of the workflow',
  },
  'insecure-ignore-sct': {
    type: 'boolean',
    help: 'accept certificates that no certificate-transparency log vouches for',
  },
  'use-signed-timestamps': {
    type: 'boolean',
    help: 'demand the time stamp of a trusted authority',
  },
}

/**
 * The members of a verification request that these options stand for; `certificate-identity` becomes `certificateIdentity`.
 * @throws AirsealError USAGE when only a half of the identity is given, or a key beside it
 */
export function signerMembers(input: Input): JsonObject {
  const members: JsonObject = {}
  for (const name of Object.keys(SIGNER_OPTIONS)) {
    const value = input.text(name)
    if (value !== null)
      members[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())] = value
  }
  const subject = 'certificateIdentity' in members || 'certificateIdentityRegexp' in members
  const issuer = 'certificateOidcIssuer' in members || 'certificateOidcIssuerRegexp' in members
  if (Object.keys(members).length > 0) {
    if (input.text('key') !== null)
      throw new AirsealError(
        'USAGE',
        '--key and a certificate identity are two questions: give one',
      )
    if (!subject)
      throw new AirsealError(
        'USAGE',
        'no --certificate-identity or --certificate-identity-regexp given',
      )
    if (!issuer)
      throw new AirsealError(
        'USAGE',
        'no --certificate-oidc-issuer or --certificate-oidc-issuer-regexp given',
      )
  }
  if (input.flag('insecure-ignore-sct')) members['requireSct'] = false
  if (input.flag('use-signed-timestamps')) members['timestampThreshold'] = 1
  return members
}

/** True when the options demand a certificate. */
export function demandsSigner(input: Input): boolean {
  return (
    input.text('certificate-identity') !== null ||
    input.text('certificate-identity-regexp') !== null
  )
}
