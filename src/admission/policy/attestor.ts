import { publicKeyFromPem, type Json } from '../../core/index.ts'
import { Fields, invalid, unsupported } from './fields.ts'

/** What is asked of the log. */
export interface LogDemand {
  /** False with `ignoreTlog`. */
  readonly required: boolean
  readonly url: string | null
  /** PEM; null: the site's logs. */
  readonly publicKey: string | null
}

/** What is asked of certificate transparency and of time stamps. */
export interface TransparencyDemand {
  readonly sctRequired: boolean
  /** PEM; null: the site's logs. */
  readonly publicKey: string | null
  /** PEM; null: no time stamp is asked for. */
  readonly timestampChain: string | null
}

interface Common {
  readonly log: LogDemand
  readonly transparency: TransparencyDemand
}

/** A text of a certificate: Kyverno's wildcards, and a pattern. */
export interface IdentityDemand {
  readonly subject: string | null
  readonly subjectPattern: string | null
  readonly issuer: string | null
  readonly issuerPattern: string | null
  /** Claims of the workflow by their names in the certificate. */
  readonly extensions: Readonly<Record<string, string>>
}

export type Attestor =
  | (Common & { readonly kind: 'key'; readonly pem: string })
  | (Common & { readonly kind: 'kms'; readonly uri: string })
  | (Common & { readonly kind: 'secret'; readonly namespace: string; readonly name: string })
  | (Common & {
      readonly kind: 'certificate'
      readonly certificate: string | null
      readonly chain: string | null
    })
  | (Common & {
      readonly kind: 'keyless'
      readonly identity: IdentityDemand
      readonly roots: string | null
    })
  | { readonly kind: 'set'; readonly set: AttestorSet }

export interface AttestorEntry {
  readonly attestor: Attestor
  /** As Kyverno's messages name it, relative to its set: `entries[0].keys`. */
  readonly path: string
  readonly annotations: Readonly<Record<string, string>>
  /** Where the signatures are; null: beside the image. */
  readonly repository: string | null
}

/** So many of the entries must hold. */
export interface AttestorSet {
  readonly count: number
  readonly entries: readonly AttestorEntry[]
}

const MAX_NESTING = 8
const MAX_ENTRIES = 64

/**
 * Reads attestors of Kyverno (`attestors[]`). Several PEM blocks in `publicKeys` become one entry each.
 * @throws AirsealError POLICY_INVALID with Kyverno's own words where it refuses the same, POLICY_UNSUPPORTED
 */
export function parseAttestorSet(fields: Fields, depth = 0): AttestorSet {
  if (depth > MAX_NESTING) throw invalid(fields.path, 'is nested too deeply')
  const items = fields.objects('entries')
  if (items.length === 0) throw invalid(fields.at('entries'), ': An entry is required')
  const count = fields.count('count', 1, 1_000)
  // Compared before blocks of PEM are counted, as Kyverno does.
  if (count !== null && count > items.length)
    throw invalid(fields.at('count'), ': Count cannot exceed length of entries')
  fields.refuseUnknown()
  const entries = items.flatMap((item, index) => parseEntry(item, index, depth))
  if (entries.length > MAX_ENTRIES)
    throw invalid(fields.at('entries'), `are more than ${MAX_ENTRIES}`)
  return { count: count ?? entries.length, entries }
}

function parseEntry(fields: Fields, index: number, depth: number): AttestorEntry[] {
  const kinds = (['keys', 'certificates', 'keyless', 'attestor'] as const).filter((name) =>
    fields.has(name),
  )
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1)
    throw invalid(fields.path, ': keys, certificates, keyless, or a nested attestor is required')
  const common = {
    path: `entries[${index}].${kind}`,
    annotations: fields.map('annotations'),
    repository: fields.text('repository'),
  }
  checkAlgorithm(fields)
  const part = fields.object(kind)
  fields.refuseUnknown()
  if (part === null) throw invalid(fields.at(kind), 'must be an object')
  if (kind === 'attestor')
    return [{ ...common, attestor: { kind: 'set', set: parseAttestorSet(part, depth + 1) } }]
  const attestors =
    kind === 'keys'
      ? parseKeys(part)
      : [kind === 'keyless' ? parseKeyless(part) : parseCertificates(part)]
  part.refuseUnknown()
  return attestors.map((attestor) => ({ ...common, attestor }))
}

function checkAlgorithm(fields: Fields): void {
  const algorithm = fields.text('signatureAlgorithm')
  if (algorithm === null || algorithm === 'sha256') return
  if (!['sha224', 'sha384', 'sha512'].includes(algorithm))
    throw invalid(fields.at('signatureAlgorithm'), ': Invalid signature algorithm provided')
  throw unsupported(
    fields.at('signatureAlgorithm'),
    `${algorithm} is not supported by airseal, which verifies with sha256`,
  )
}

function parseCommon(fields: Fields): Common {
  const rekor = fields.object('rekor')
  const log: LogDemand = {
    required: !(rekor?.flag('ignoreTlog', false) ?? false),
    url: rekor?.text('url') ?? null,
    publicKey: pem(rekor, 'pubkey'),
  }
  rekor?.refuseUnknown()
  const ctlog = fields.object('ctlog')
  const transparency: TransparencyDemand = {
    sctRequired: !(ctlog?.flag('ignoreSCT', false) ?? false),
    publicKey: pem(ctlog, 'pubkey'),
    timestampChain: ctlog?.text('tsaCertChain') ?? null,
  }
  ctlog?.refuseUnknown()
  return { log, transparency }
}

/** A public key in PEM, checked now unless a variable stands for it. */
function pem(fields: Fields | null, name: string): string | null {
  const text = fields?.text(name) ?? null
  if (text !== null && !text.includes('{{')) publicKeyFromPem(text)
  return text
}

const PEM_BLOCK = /-----BEGIN PUBLIC KEY-----[\s\S]*?-----END PUBLIC KEY-----/g

function parseKeys(fields: Fields): Attestor[] {
  const common = parseCommon(fields)
  checkAlgorithm(fields)
  const given = fields.text('publicKeys')
  const secret = fields.object('secret')
  const kms = fields.text('kms')
  const place = secret && {
    name: secret.requiredText('name'),
    namespace: secret.requiredText('namespace'),
  }
  secret?.refuseUnknown()
  if (given !== null) return parsePublicKeys(given, common, fields.at('publicKeys'))
  if (place !== null) return [{ ...common, kind: 'secret', ...place }]
  if (kms !== null) return [{ ...common, kind: 'kms', uri: checkKms(kms, fields.at('kms')) }]
  throw invalid(fields.path, ': A public key, kms key or secret is required')
}

function parsePublicKeys(text: string, common: Common, path: string): Attestor[] {
  const trimmed = text.trim()
  const secret = /^k8s:\/\/([^/]+)\/([^/]+)$/.exec(trimmed)
  if (secret !== null)
    return [{ ...common, kind: 'secret', namespace: secret[1] ?? '', name: secret[2] ?? '' }]
  const blocks = trimmed.match(PEM_BLOCK) ?? []
  if (blocks.length === 0) {
    if (/^[a-z0-9]+:\/\//.test(trimmed) || trimmed.startsWith('pkcs11:'))
      return [{ ...common, kind: 'kms', uri: checkKms(trimmed, path) }]
    // Complete only when the variable has its value.
    if (trimmed.includes('{{')) return [{ ...common, kind: 'key', pem: trimmed }]
    throw invalid(path, 'is no public key in PEM, and no reference to one')
  }
  if (blocks.length > MAX_ENTRIES) throw invalid(path, `has more than ${MAX_ENTRIES} keys`)
  return blocks.map((block) => {
    const pemText = unfolded(block)
    publicKeyFromPem(pemText)
    return { ...common, kind: 'key', pem: pemText }
  })
}

/** YAML folds the lines of a block that was written without `|`. */
function unfolded(block: string): string {
  const body = block
    .replace('-----BEGIN PUBLIC KEY-----', '')
    .replace('-----END PUBLIC KEY-----', '')
    .replaceAll(/\s+/g, '')
  const lines = body.match(/.{1,64}/g) ?? []
  return `-----BEGIN PUBLIC KEY-----\n${lines.join('\n')}\n-----END PUBLIC KEY-----\n`
}

/** Only names of keys that airseal has registered: a policy must not make it read files or open connections. */
function checkKms(uri: string, path: string): string {
  if (/^(?:awskms|gcpkms|azurekms|hashivault|pkcs11):/.test(uri) || uri.includes('{{')) return uri
  throw unsupported(
    path,
    `"${uri.slice(0, 60)}" is not followed: airseal knows keys by their KMS URI, PEM, or Secret`,
  )
}

function parseCertificates(fields: Fields): Attestor {
  const common = parseCommon(fields)
  const certificate = fields.text('cert')
  const chain = fields.text('certChain')
  if (certificate === null && chain === null)
    throw invalid(fields.path, ': cert or certChain required')
  return { ...common, kind: 'certificate', certificate, chain }
}

function parseKeyless(fields: Fields): Attestor {
  const rekor = fields.object('rekor')
  const roots = fields.text('roots')
  if (rekor === null && roots === null)
    throw invalid(fields.path, ': Either Rekor URL or roots are required')
  if (rekor !== null && rekor.text('url') === null)
    throw invalid(rekor.at('url'), ': An URL is required')
  const identity: IdentityDemand = {
    subject: fields.text('subject'),
    subjectPattern: fields.text('subjectRegExp'),
    issuer: fields.text('issuer'),
    issuerPattern: fields.text('issuerRegExp'),
    extensions: fields.map('additionalExtensions'),
  }
  return { ...parseCommon(fields), kind: 'keyless', identity, roots }
}

/** For the deprecated members `key`, `issuer`, `subject` and `roots`, which Kyverno turns into attestors. */
export function attestorSetOf(entry: Record<string, Json>, path: string): AttestorSet {
  return parseAttestorSet(new Fields({ entries: [entry] }, path))
}
