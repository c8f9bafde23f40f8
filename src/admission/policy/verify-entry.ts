import { isObject, type Json } from '../../core/index.ts'
import { parseConditions, type ConditionBlock } from '../expression/conditions.ts'
import { attestorSetOf, parseAttestorSet, type AttestorSet } from './attestor.ts'
import type { Fields } from './fields.ts'
import { invalid, unsupported } from './fields.ts'

export type Action = 'Enforce' | 'Audit'

export interface Attestation {
  /** Name under which `validate.deny` sees the predicate; empty: at the root. */
  readonly name: string
  /** Predicate type, URI. */
  readonly type: string
  readonly attestors: readonly AttestorSet[]
  readonly conditions: readonly ConditionBlock[]
}

/** One item of `verifyImages`, with the defaults of the CRD filled in. */
export interface VerifyEntry {
  readonly action: Action | null
  /** `Cosign`: the legacy layout is where Kyverno looks; `SigstoreBundle`: referrers. */
  readonly type: 'Cosign' | 'SigstoreBundle'
  readonly references: readonly string[]
  readonly skips: readonly string[]
  readonly attestors: readonly AttestorSet[]
  readonly attestations: readonly Attestation[]
  readonly annotations: Readonly<Record<string, string>>
  readonly repository: string | null
  readonly mutateDigest: boolean
  readonly verifyDigest: boolean
  readonly required: boolean
  readonly deny: { readonly message: string; readonly conditions: readonly ConditionBlock[] } | null
}

export interface EntryOptions {
  /** Action where the entry names none. */
  readonly action: Action
  /** True: what Kyverno accepts though it checks nothing is accepted. */
  readonly parity: boolean
}

/** @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED */
export function parseVerifyEntry(fields: Fields, options: EntryOptions): VerifyEntry {
  const type = fields.choice('type', ['Cosign', 'SigstoreBundle', 'Notary']) ?? 'Cosign'
  if (type === 'Notary') throw unsupported(fields.at('type'), 'Notary is not supported by airseal')
  const action = fields.choice('failureAction', ['Enforce', 'Audit'])
  const image = fields.text('image')
  const references = [...fields.texts('imageReferences'), ...(image === null ? [] : [image])]
  if (references.length === 0)
    throw invalid(fields.at('imageReferences'), ': An image reference is required')
  const skips = fields.texts('skipImageReferences')
  if ([...references, ...skips].some((text) => text.includes('{{')))
    throw invalid(fields.at('imageReferences'), 'must not have variables')
  const old = deprecatedAttestor(fields)
  const given = fields.objects('attestors').map((one) => parseAttestorSet(one))
  const raw = fields.objects('attestations')
  // Kyverno means to give the old attestor to the attestations, and loses it on the way; airseal does what is meant.
  const own = old === null ? [] : [old]
  const attestations = raw.map((one) => parseAttestation(one, own, options))
  const attestors = [...given, ...(raw.length === 0 ? own : [])]
  if (fields.flag('cosignOCI11', false))
    throw unsupported(fields.at('cosignOCI11'), 'is not supported by airseal')
  checkCredentials(fields.object('imageRegistryCredentials'))
  const entry: VerifyEntry = {
    action,
    type,
    references,
    skips,
    attestors,
    attestations,
    annotations: old === null ? fields.map('annotations') : (fields.ignore('annotations'), {}),
    repository: fields.text('repository'),
    mutateDigest: fields.flag('mutateDigest', true),
    verifyDigest: fields.flag('verifyDigest', true),
    required: fields.flag('required', true),
    deny: parseDeny(fields.object('validate')),
  }
  fields.ignore('useCache', 'annotations')
  fields.refuseUnknown()
  if ((action ?? options.action) === 'Audit' && entry.mutateDigest)
    throw invalid(
      fields.at('mutateDigest'),
      ": mutateDigest must be set to false for 'Audit' failure action",
    )
  if (entry.deny !== null && entry.attestations.length === 0 && !options.parity)
    throw invalid(
      fields.at('validate'),
      'has no attestations beside it, and would never be looked at',
    )
  return entry
}

function deprecatedAttestor(fields: Fields): AttestorSet | null {
  const key = fields.text('key')
  const issuer = fields.text('issuer')
  const subject = fields.text('subject')
  const roots = fields.text('roots')
  const extensions = fields.raw('additionalExtensions')
  const annotations = fields.raw('annotations')
  const common = annotations === undefined ? {} : { annotations }
  if (key !== null) {
    return attestorSetOf({ ...common, keys: { publicKeys: key } }, fields.at('key'))
  }
  if (issuer !== null) {
    const keyless: Record<string, Json> = {
      issuer,
      ...(subject !== null && { subject }),
      ...(roots !== null && { roots }),
      ...(extensions !== undefined && { additionalExtensions: extensions }),
      // What it was written for: the site's own trust stands in for the public log.
      ...(roots === null && { rekor: { url: 'https://rekor.sigstore.dev' } }),
    }
    return attestorSetOf({ ...common, keyless }, fields.at('issuer'))
  }
  if (subject !== null || roots !== null || extensions !== undefined)
    throw invalid(
      fields.path,
      'has subject, roots or additionalExtensions without issuer, where they mean nothing',
    )
  return null
}

function parseAttestation(
  fields: Fields,
  own: readonly AttestorSet[],
  { parity }: EntryOptions,
): Attestation {
  const type = fields.text('type')
  const old = fields.text('predicateType')
  const attestors = fields.objects('attestors').map((one) => parseAttestorSet(one))
  const found: Attestation = {
    name: fields.text('name') ?? '',
    type: type ?? old ?? '',
    attestors: attestors.length > 0 ? attestors : own,
    conditions: parseConditions([...fields.list('conditions')], fields.at('conditions')),
  }
  fields.refuseUnknown()
  if (found.type === '') throw invalid(fields.path, ': missing type')
  if (found.attestors.length === 0 && !parity)
    throw invalid(fields.at('attestors'), 'are missing: an attestation by anybody would do')
  return found
}

function parseDeny(fields: Fields | null): VerifyEntry['deny'] {
  if (fields === null) return null
  const message = fields.text('message') ?? ''
  const deny = fields.object('deny')
  const conditions = deny?.raw('conditions')
  deny?.refuseUnknown()
  fields.refuseUnknown()
  if (conditions === undefined) throw invalid(fields.at('deny.conditions'), 'are missing')
  if (!isObject(conditions) && !Array.isArray(conditions))
    throw invalid(fields.at('deny.conditions'), 'must be conditions')
  return { message, conditions: parseConditions(conditions, fields.at('deny.conditions')) }
}

/** How registries are reached is airseal's own configuration; a policy has no say in it. */
function checkCredentials(fields: Fields | null): void {
  if (fields === null) return
  if (fields.flag('allowInsecureRegistry', false))
    throw unsupported(
      fields.at('allowInsecureRegistry'),
      'is not supported: set registries.plainHttp in the configuration of airseal',
    )
  if (fields.texts('secrets').length > 0)
    throw unsupported(
      fields.at('secrets'),
      'are not supported: give airseal its own credentials (registries.dockerConfigDirectory)',
    )
  if (fields.texts('providers').some((name) => name !== 'default'))
    throw unsupported(
      fields.at('providers'),
      'are not supported: use a credential helper (registries.dockerConfigDirectory)',
    )
  fields.refuseUnknown()
}
