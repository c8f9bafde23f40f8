import { createHash } from 'node:crypto'
import { RE2JS } from 're2js'
import {
  AirsealError,
  canonicalJson,
  fromPem,
  publicKeyFromPem,
  type Json,
} from '../../core/index.ts'
import {
  compilePattern,
  pinnedAuthority,
  type Policy,
  type SignerPolicy,
  type TextDemand,
  type Trust,
  type TrustedKey,
  type TrustedLog,
} from '../../verify/index.ts'
import type { Attestor, IdentityDemand, LogDemand, TransparencyDemand } from '../policy/attestor.ts'
import { hasWildcard, matchesWildcard } from '../policy/wildcard.ts'
import type { Demand, Facts } from './ports.ts'

export type SingleAttestor = Exclude<Attestor, { readonly kind: 'set' }>

export interface DemandOptions {
  readonly annotations: Readonly<Record<string, string>>
  readonly type: 'Cosign' | 'SigstoreBundle'
}

const ALWAYS = { start: 0, end: null }
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g
const MAX_CERTIFICATES = 12

/**
 * What an attestor asks, as trust and policy. What the policy gives itself (keys, roots, log keys) stands in place of the site's; whatever it leaves
 * open is the site's own trust, and never a public service.
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED, POLICY_FACTS_MISSING, KEY_INVALID, TRUST_INVALID
 */
export function demandOf(attestor: SingleAttestor, options: DemandOptions, facts: Facts): Demand {
  const { believed, revoked } = facts.trust
  const { log, transparency } = attestor
  const trust: Trust = {
    ...believed,
    keys: keysOf(attestor, facts),
    logs: log.publicKey === null ? believed.logs : [ownLog(log, log.publicKey)],
    ...ownTransparency(transparency),
    ...ownAuthorities(attestor),
    revoked,
  }
  const signer = signerOf(attestor, options, facts)
  const policy: Policy = {
    annotations: options.annotations,
    requireLog: log.required,
    requireSct: transparency.sctRequired,
    ...(signer !== null && { signer }),
    ...(transparency.timestampChain !== null && { timestampThreshold: 1 }),
  }
  const format = facts.parity ? (options.type === 'Cosign' ? 'legacy' : 'bundle') : 'any'
  const asked = {
    attestor,
    annotations: options.annotations,
    type: options.type,
    parity: facts.parity,
    keys: trust.keys.map(({ key }) => key.id),
  }
  const key = createHash('sha256')
    .update(canonicalJson(asked as unknown as Json))
    .digest('hex')
  return { key, trust, policy, format }
}

function keysOf(attestor: SingleAttestor, facts: Facts): readonly TrustedKey[] {
  switch (attestor.kind) {
    case 'key':
      return [registered(attestor.pem, 'the key of the policy', facts)]
    case 'kms': {
      const keys = facts.keysByUri(attestor.uri)
      if (keys.length === 0)
        throw missing(`no trusted key is registered under ${attestor.uri.slice(0, 120)}`)
      return keys
    }
    case 'secret': {
      const { namespace, name } = attestor
      const pem = facts.secret(namespace, name)
      if (pem === null) throw missing(`the Secret ${namespace}/${name} was not given to airseal`)
      return [registered(pem, `the Secret ${namespace}/${name}`, facts)]
    }
    case 'certificate': {
      if (attestor.certificate === null) return []
      const [der] = certificates(attestor.certificate, 'cert')
      if (der === undefined) throw new AirsealError('POLICY_INVALID', 'cert holds no certificate')
      // Reading it as a chain of its own checks it, and gives its key.
      const [link] = pinnedAuthority('cert', [der], ALWAYS).chain
      if (link === undefined) throw new AirsealError('POLICY_INVALID', 'cert holds no certificate')
      if (attestor.chain !== null)
        pinnedAuthority('certChain', certificates(attestor.chain, 'certChain'), ALWAYS)
      return [
        { name: 'the certificate of the policy', key: link.certificate.publicKey, validFor: null },
      ]
    }
    case 'keyless':
      return []
  }
}

/** A key that the site knows too keeps the limits that the site has set for it. */
function registered(pem: string, name: string, facts: Facts): TrustedKey {
  const key = publicKeyFromPem(pem)
  return facts.trust.keys.find((one) => one.key.id === key.id) ?? { name, key, validFor: null }
}

function ownLog({ url }: LogDemand, pem: string): TrustedLog {
  const key = publicKeyFromPem(pem)
  const parsed = url !== null && URL.canParse(url) ? new URL(url) : null
  return {
    key,
    logId: key.id,
    validFor: ALWAYS,
    host: parsed?.hostname ?? '',
    hostAndPort: parsed?.host,
  }
}

function ownTransparency({ publicKey, timestampChain }: TransparencyDemand): Partial<Trust> {
  const key = publicKey === null ? null : publicKeyFromPem(publicKey)
  return {
    ...(key !== null && { ctLogs: [{ logId: key.id, key, validFor: ALWAYS }] }),
    ...(timestampChain !== null && {
      timestampAuthorities: [
        pinnedAuthority('tsaCertChain', certificates(timestampChain, 'tsaCertChain'), ALWAYS),
      ],
    }),
  }
}

function ownAuthorities(attestor: SingleAttestor): Partial<Trust> {
  if (attestor.kind === 'keyless' && attestor.roots !== null)
    return {
      authorities: [pinnedAuthority('roots', certificates(attestor.roots, 'roots'), ALWAYS)],
    }
  if (attestor.kind === 'certificate' && attestor.certificate === null && attestor.chain !== null)
    return {
      authorities: [
        pinnedAuthority('certChain', certificates(attestor.chain, 'certChain'), ALWAYS),
      ],
    }
  return {}
}

function certificates(text: string, what: string): readonly Uint8Array[] {
  const blocks = text.match(CERTIFICATE) ?? []
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES)
    throw new AirsealError(
      'POLICY_INVALID',
      `${what} must hold 1 to ${MAX_CERTIFICATES} certificates in PEM`,
    )
  return blocks.map((block) => fromPem(block).der)
}

function signerOf(
  attestor: SingleAttestor,
  { type }: DemandOptions,
  facts: Facts,
): SignerPolicy | null {
  if (attestor.kind === 'certificate' && attestor.certificate === null) {
    return { subject: { pattern: anything }, issuer: null }
  }
  if (attestor.kind !== 'keyless') return null
  const { identity, roots } = attestor
  const exact = type === 'SigstoreBundle'
  const anchored = !facts.parity
  const subject = either(identity.subject, identity.subjectPattern, exact, anchored)
  const issuers = [
    identity.issuer,
    identity.issuerPattern,
    identity.extensions['oidcIssuer'] ?? null,
  ]
  const [issuer = null, pattern = null, extension = null] = issuers
  const demands = [
    ...(issuer === null ? [] : [textDemand(issuer, exact)]),
    ...(pattern === null ? [] : [{ pattern: patternOf(pattern, anchored) }]),
    ...(extension === null ? [] : [textDemand(extension, false)]),
  ]
  const named = every(demands) ?? (roots === null ? { pattern: anything } : null)
  return {
    subject: subject ?? { pattern: anything },
    issuer: named,
    workflow: workflowOf(identity),
  }
}

const anything = { source: '*', matches: () => true }

/** Kyverno: the wildcard or the pattern. */
function either(
  wildcard: string | null,
  pattern: string | null,
  exact: boolean,
  anchored: boolean,
): TextDemand | null {
  if (wildcard === null) return pattern === null ? null : { pattern: patternOf(pattern, anchored) }
  if (pattern === null) return textDemand(wildcard, exact)
  const compiled = patternOf(pattern, anchored)
  const literal = (text: string): boolean =>
    exact ? text === wildcard : matchesWildcard(wildcard, text)
  return {
    pattern: {
      source: `${wildcard} or ${pattern}`,
      matches: (text) => literal(text) || compiled.matches(text),
    },
  }
}

function every(demands: readonly TextDemand[]): TextDemand | null {
  const [only] = demands
  if (only === undefined) return null
  if (demands.length === 1) return only
  const holds = (demand: TextDemand, text: string): boolean =>
    'exact' in demand ? demand.exact === text : demand.pattern.matches(text)
  return {
    pattern: { source: 'all', matches: (text) => demands.every((demand) => holds(demand, text)) },
  }
}

function textDemand(text: string, exact: boolean): TextDemand {
  if (exact || !hasWildcard(text)) return { exact: text }
  return { pattern: { source: text, matches: (given) => matchesWildcard(text, given) } }
}

/** Anchored at both ends unless Kyverno is to be followed: a pattern without anchors accepts whatever contains it. */
function patternOf(source: string, anchored: boolean): ReturnType<typeof compilePattern> {
  const whole = compilePattern(source)
  if (anchored) return whole
  const compiled = RE2JS.compile(source)
  return { source, matches: (text) => text.length <= 4_096 && compiled.matcher(text).find() }
}

const CLAIMS: Readonly<Record<string, 'trigger' | 'sha' | 'name' | 'repository' | 'ref'>> = {
  githubWorkflowTrigger: 'trigger',
  githubWorkflowSha: 'sha',
  githubWorkflowName: 'name',
  githubWorkflowRepository: 'repository',
  githubWorkflowRef: 'ref',
  '1.3.6.1.4.1.57264.1.2': 'trigger',
  '1.3.6.1.4.1.57264.1.3': 'sha',
  '1.3.6.1.4.1.57264.1.4': 'name',
  '1.3.6.1.4.1.57264.1.5': 'repository',
  '1.3.6.1.4.1.57264.1.6': 'ref',
}

function workflowOf({ extensions }: IdentityDemand): NonNullable<SignerPolicy['workflow']> {
  const workflow: Partial<Record<'trigger' | 'sha' | 'name' | 'repository' | 'ref', string>> = {}
  for (const [name, value] of Object.entries(extensions)) {
    if (name === 'oidcIssuer') continue
    const claim = CLAIMS[name]
    if (claim === undefined)
      throw new AirsealError(
        'POLICY_UNSUPPORTED',
        `additionalExtensions: ${name.slice(0, 60)} is not supported by airseal`,
      )
    if (hasWildcard(value))
      throw new AirsealError(
        'POLICY_UNSUPPORTED',
        `additionalExtensions: wildcards are not supported by airseal (${name})`,
      )
    workflow[claim] = value
  }
  return workflow
}

function missing(message: string): AirsealError {
  return new AirsealError('POLICY_FACTS_MISSING', message)
}

/** Finds now what {@link demandOf} would refuse later. @throws AirsealError as it does, apart from facts that are not known yet */
export function checkDemand(attestor: SingleAttestor, options: DemandOptions, facts: Facts): void {
  try {
    demandOf(attestor, options, facts)
  } catch (thrown) {
    if (!(thrown instanceof AirsealError) || thrown.code !== 'POLICY_FACTS_MISSING') throw thrown
  }
  if (attestor.kind !== 'keyless' || facts.parity) return
  const { subject, subjectPattern, issuer, issuerPattern, extensions } = attestor.identity
  if (subject === null && subjectPattern === null)
    throw new AirsealError(
      'POLICY_INVALID',
      'keyless names no subject: a signature by anybody would do',
    )
  if (
    attestor.roots === null &&
    issuer === null &&
    issuerPattern === null &&
    extensions['oidcIssuer'] === undefined
  )
    throw new AirsealError(
      'POLICY_INVALID',
      'keyless names no issuer: a subject means nothing without who vouches for it',
    )
}
