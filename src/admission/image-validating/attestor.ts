import type { Attestor, AttestorEntry, AttestorSet } from '../policy/attestor.ts'
import { parseAttestorSet } from '../policy/attestor.ts'
import { Fields, invalid, unsupported } from '../policy/fields.ts'
import type { Json } from '../../core/index.ts'

/** A named attestor of an ImageValidatingPolicy, as a set of which one must hold. */
export interface NamedAttestor {
  readonly name: string
  readonly set: AttestorSet
}

/**
 * Reads a cosign attestor. It is brought into the form that ClusterPolicies have, so that both are judged by the same code.
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED
 */
export function parseNamedAttestor(fields: Fields): NamedAttestor {
  const name = fields.requiredText('name')
  fields.unsupported('notary')
  const cosign = fields.object('cosign')
  fields.refuseUnknown()
  if (cosign === null) throw invalid(fields.at('cosign'), 'is missing')
  cosign.unsupported('tuf', 'trustedRoot')
  const { rekor, ctlog } = logs(cosign.object('ctlog'))
  const common = { ...(rekor && { rekor }), ...(ctlog && { ctlog }) }
  const outer = outerMembers(cosign)
  const key = cosign.object('key')
  const keyless = cosign.object('keyless')
  const certificate = cosign.object('certificate')
  cosign.refuseUnknown()
  const given = [key, keyless, certificate].filter((one) => one !== null)
  if (given.length !== 1)
    throw invalid(cosign.path, 'must have exactly one of key, keyless, certificate')
  const entries: Json[] =
    key !== null
      ? [{ ...outer, keys: { ...keyMembers(key), ...common } }]
      : keyless !== null
        ? keylessMembers(keyless).map((one) => ({
            ...outer,
            keyless: { rekor: { url: 'https://rekor.invalid' }, ...common, ...one },
          }))
        : certificate !== null
          ? [{ ...outer, certificates: { ...certificateMembers(certificate), ...common } }]
          : []
  const set = parseAttestorSet(new Fields({ count: 1, entries }, cosign.path))
  return { name, set: { ...set, entries: set.entries.map(exact) } }
}

/** `rekorPubKey` without demand for a log means nothing; the URL is never dialled. */
function logs(fields: Fields | null): {
  rekor: Record<string, Json> | null
  ctlog: Record<string, Json> | null
} {
  if (fields === null) return { rekor: null, ctlog: null }
  const url = fields.text('url')
  const rekorKey = fields.text('rekorPubKey')
  const ctKey = fields.text('ctLogPubKey')
  const chain = fields.text('tsaCertChain')
  const rekor = {
    url: url ?? 'https://rekor.invalid',
    ...(rekorKey !== null && { pubkey: rekorKey }),
    ignoreTlog: fields.flag('insecureIgnoreTlog', false),
  }
  const ctlog = {
    ...(ctKey !== null && { pubkey: ctKey }),
    ...(chain !== null && { tsaCertChain: chain }),
    ignoreSCT: fields.flag('insecureIgnoreSCT', false),
  }
  fields.refuseUnknown()
  return { rekor, ctlog }
}

function outerMembers(cosign: Fields): Record<string, Json> {
  const annotations = cosign.map('annotations')
  const source = cosign.object('source')
  source?.unsupported('PullSecrets', 'pullSecrets', 'signaturePullSecrets', 'tagPrefix')
  const repository = source?.text('repository') ?? null
  source?.refuseUnknown()
  return {
    ...(Object.keys(annotations).length > 0 && { annotations }),
    ...(repository !== null && { repository }),
  }
}

function keyMembers(key: Fields): Record<string, Json> {
  key.unsupported('expression')
  const data = key.text('data')
  const kms = key.text('kms')
  const algorithm = key.text('hashAlgorithm')
  key.refuseUnknown()
  if (algorithm !== null && algorithm !== 'sha256')
    throw unsupported(
      key.at('hashAlgorithm'),
      `${algorithm.slice(0, 40)} is not supported by airseal, which verifies with sha256`,
    )
  return { ...(data !== null && { publicKeys: data }), ...(kms !== null && { kms }) }
}

function keylessMembers(keyless: Fields): Record<string, Json>[] {
  const roots = keyless.text('roots')
  const extensions = keyless.map('additionalExtensions')
  const identities = keyless.objects('identities')
  keyless.refuseUnknown()
  if (identities.length === 0)
    throw invalid(keyless.at('identities'), 'are missing: a signature by anybody would do')
  return identities.map((identity) => {
    identity.unsupported('subjectExpression')
    const one: Record<string, Json> = {
      ...(roots !== null && { roots }),
      additionalExtensions: extensions,
    }
    for (const name of ['issuer', 'subject', 'issuerRegExp', 'subjectRegExp'] as const) {
      const text = identity.text(name)
      if (text !== null) one[name] = text
    }
    identity.refuseUnknown()
    return one
  })
}

function certificateMembers(certificate: Fields): Record<string, Json> {
  const value = (name: string): string | null => {
    const part = certificate.object(name)
    part?.unsupported('expression')
    const text = part?.text('value') ?? null
    part?.refuseUnknown()
    return text
  }
  const [cert, chain] = [value('cert'), value('certChain')]
  certificate.refuseUnknown()
  return { ...(cert !== null && { cert }), ...(chain !== null && { certChain: chain }) }
}

function exact(entry: AttestorEntry): AttestorEntry {
  const { attestor }: { attestor: Attestor } = entry
  return attestor.kind === 'set'
    ? entry
    : { ...entry, path: entry.path.replace(/^entries\[\d+\]\./, '') }
}
