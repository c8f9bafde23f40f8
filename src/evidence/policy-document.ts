import { isObject, type Json, type JsonObject } from '../core/index.ts'
import { predicateTypeUri } from '../sigstore/index.ts'
import type { SignerPolicy } from '../verify/index.ts'
import { parseConditions } from './conditions.ts'
import { type DemandSpec, namesOf, parseStrictness } from './demand.ts'
import { Members } from './members.ts'
import { parseSigner } from './signer-request.ts'

/** What a policy demands of every image. */
export interface VerificationPolicy {
  readonly name: string
  /** All of them must hold; at least one. */
  readonly demands: readonly DemandSpec[]
}

const POLICY_API_VERSION = 'airseal/v1'
const POLICY_KIND = 'VerificationPolicy'

/** Names of policies: they stand in paths and files. */
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/
const STRICTNESS = ['annotations', 'requireLog', 'logThreshold', 'requireSct', 'timestampThreshold']
const SIGNERS = ['keys', 'identities', 'threshold']
const IDENTITY = [
  'subject',
  'subjectRegexp',
  'issuer',
  'issuerRegexp',
  'workflowTrigger',
  'workflowSha',
  'workflowName',
  'workflowRepository',
  'workflowRef',
]
const MAX_ATTESTATIONS = 16
const MAX_SIGNERS = 16

/** True for a document that {@link parsePolicyDocument} is for. */
export function isPolicyDocument(document: Json): document is JsonObject {
  return (
    isObject(document) &&
    document['apiVersion'] === POLICY_API_VERSION &&
    document['kind'] === POLICY_KIND
  )
}

/**
 * Reads a policy: `apiVersion: airseal/v1`, `kind: VerificationPolicy`, `metadata.name`, and in `spec` `signatures` and `attestations`, of which one must
 * be there. See docs/verification.md. Nothing unknown is passed over.
 * @throws AirsealError POLICY_INVALID, PREDICATE_INVALID, EXPRESSION_INVALID
 */
export async function parsePolicyDocument(document: Json): Promise<VerificationPolicy> {
  const members = new Members(
    document,
    ['apiVersion', 'kind', 'metadata', 'spec'],
    'the policy',
    'POLICY_INVALID',
  )
  if (members.text('apiVersion') !== POLICY_API_VERSION || members.text('kind') !== POLICY_KIND) {
    throw members.invalid('apiVersion', `and kind must be ${POLICY_API_VERSION} and ${POLICY_KIND}`)
  }
  const name = members.object('metadata', ['name'])?.text('name') ?? ''
  if (!NAME.test(name)) {
    throw members.invalid(
      'metadata.name',
      'must be 1 to 63 lower-case letters, digits, dots and hyphens',
    )
  }
  const spec = members.object('spec', ['signatures', 'attestations'])
  const signatures = spec?.object('signatures', [...SIGNERS, ...STRICTNESS, 'identity']) ?? null
  const attestations =
    spec?.objects(
      'attestations',
      [...SIGNERS, ...STRICTNESS, 'name', 'type', 'conditions'],
      MAX_ATTESTATIONS,
    ) ?? []
  const first = signatures === null ? null : signatureDemand(signatures)
  const demands = [
    ...(first === null ? [] : [first]),
    ...(await Promise.all(attestations.map((one) => attestationDemand(one, first)))),
  ]
  if (demands.length === 0) {
    // One that demands nothing would let everything pass.
    throw members.invalid('spec', 'must demand signatures or attestations')
  }
  return { name, demands }
}

function signatureDemand(members: Members): DemandSpec {
  return {
    name: 'signatures',
    predicateType: null,
    ...signersOf(members),
    ...parseStrictness(members),
    identity: namesOf(members, 'identity'),
    conditions: [],
  }
}

/** Signers that are not named are those of the signatures. */
async function attestationDemand(
  members: Members,
  signatures: DemandSpec | null,
): Promise<DemandSpec> {
  const type = members.text('type')
  if (type === null) throw members.invalid('type', 'is missing')
  const own = members.has('keys') || members.has('identities')
  const signers =
    own || signatures === null
      ? signersOf(members)
      : { ...signatures, threshold: members.count('threshold') ?? 1 }
  return {
    ...parseStrictness(members),
    name: members.text('name') ?? type,
    predicateType: predicateTypeUri(type),
    keys: signers.keys,
    identities: signers.identities,
    threshold: signers.threshold,
    identity: null,
    conditions: await parseConditions(members),
  }
}

function signersOf(members: Members): Pick<DemandSpec, 'keys' | 'identities' | 'threshold'> {
  const keys = members.has('keys') ? members.texts('keys', MAX_SIGNERS) : null
  const identities = members.objects('identities', IDENTITY, MAX_SIGNERS).map(identityOf)
  const threshold = members.count('threshold') ?? 1
  const most = (keys?.length ?? 0) + identities.length
  if (most > 0 && threshold > most) {
    throw members.invalid('threshold', `is ${threshold}, and there are ${most} signers`)
  }
  return { keys: keys ?? (identities.length > 0 ? [] : null), identities, threshold }
}

/** Under the names that requests have, so that one place reads both. */
function identityOf(members: Members): SignerPolicy {
  const names: Readonly<Record<string, string>> = {
    subject: 'certificateIdentity',
    subjectRegexp: 'certificateIdentityRegexp',
    issuer: 'certificateOidcIssuer',
    issuerRegexp: 'certificateOidcIssuerRegexp',
    workflowTrigger: 'certificateGithubWorkflowTrigger',
    workflowSha: 'certificateGithubWorkflowSha',
    workflowName: 'certificateGithubWorkflowName',
    workflowRepository: 'certificateGithubWorkflowRepository',
    workflowRef: 'certificateGithubWorkflowRef',
  }
  const signer = parseSigner(
    Object.fromEntries(
      Object.entries(members.json).map(([name, value]) => [names[name] ?? name, value]),
    ),
    false,
  )
  if (signer === null) throw members.invalid('subject', 'is missing')
  return signer
}
