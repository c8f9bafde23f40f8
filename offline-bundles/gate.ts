import {
  AirsealError,
  canonicalJson,
  isObject,
  sha256Hex,
  type Digest,
  type Json,
  type JsonObject,
} from '../src/core/index.ts'
import type { Repository } from '../src/oci/index.ts'
import type { Policy, SignerPolicy, Trust } from '../src/verify/index.ts'
import type { ContentImage } from './contents.ts'
import { Reader } from './reading.ts'
import type { CarriedTrust } from './trust.ts'

/** What is asked of whoever judges evidence. */
export interface GateQuestion {
  readonly kind: 'signature' | 'attestation'
  readonly trust: Trust
  readonly policy: Policy
}

export interface GateJudgement {
  readonly outcome: 'verified' | 'rejected' | 'error'
  readonly reason: string | null
  readonly message: string
  /** Key or identity that signed; null when nothing verified. */
  readonly by: string | null
  /** SHA-256 (hex) of what was verified. */
  readonly payloads: readonly string[]
}

/** Judges what lies beside an image; given by the composition root. */
export type Judge = (
  repository: Repository,
  digest: Digest,
  question: GateQuestion,
) => Promise<GateJudgement>

/** Whose signature opens the gate. */
export type GateSigner =
  | { readonly kind: 'sender' }
  | { readonly kind: 'key'; readonly name: string }
  | {
      readonly kind: 'identity'
      readonly root: string
      readonly signer: SignerPolicy
      readonly shown: string
    }

export interface GateRule {
  readonly name: string
  /** Repositories by path; `*` stands for one part, `**` at the end for any rest. */
  readonly repositories: readonly string[]
  /** One of them must have signed. */
  readonly signers: readonly GateSigner[]
  /** Predicate types (URIs) of which each must be attested by one of the signers. */
  readonly attestations: readonly string[]
  /** Whether this side signs the image with its own key once it is in. */
  readonly resign: boolean
}

export interface Gate {
  readonly rules: readonly GateRule[]
  /** Names the rules in summaries; SHA-256, hex. */
  readonly digest: string
}

/** What holds where no rules are given: the sender itself must have signed every image. */
export const SENDER_GATE: Gate = {
  rules: [
    {
      name: 'sender',
      repositories: ['**'],
      signers: [{ kind: 'sender' }],
      attestations: [],
      resign: false,
    },
  ],
  digest: sha256Hex('sender'),
}

const MAX_RULES = 1_000
const NAME = /^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}$/

/**
 * Reads rules: `{rules: [{name?, repositories, signers, attestations?, resign?}]}`; a signer is `sender`, `{key: NAME}`, or
 * `{root: NAME, subject|subjectRegExp, issuer|issuerRegExp}` with a root that the trust bundle carries.
 * @param signerOf - reads an identity: exact texts or patterns
 * @param typeOf - URI of a predicate type's name
 * @throws AirsealError CONFIG_INVALID
 */
export function parseGate(
  value: Json,
  signerOf: (members: JsonObject) => SignerPolicy | null,
  typeOf: (name: string) => string,
): Gate {
  const reader = new Reader(value, 'the import gate', 'CONFIG_INVALID').only('rules')
  const rules = reader.objects('rules', MAX_RULES).map((item, at): GateRule => {
    item.only('name', 'repositories', 'signers', 'attestations', 'resign')
    const resign = item.raw('resign') ?? false
    if (typeof resign !== 'boolean') throw item.fail('has a resign that is not true or false')
    const signers = item.list('signers', 64).map((one) => gateSigner(one, item, signerOf))
    if (signers.length === 0) throw item.fail('has no signers: nothing could pass')
    return {
      name: item.has('name') ? item.text('name', NAME) : `rule ${at + 1}`,
      repositories: texts(item, 'repositories'),
      signers,
      attestations: item.has('attestations') ? texts(item, 'attestations').map(typeOf) : [],
      resign,
    }
  })
  if (rules.length === 0) throw reader.fail('has no rules')
  return { rules, digest: sha256Hex(canonicalJson(value)) }
}

function texts(item: Reader, name: string): readonly string[] {
  return item.list(name, MAX_RULES).map((one) => {
    if (typeof one !== 'string' || one === '' || one.length > 400)
      throw item.fail(`has a bad text in ${name}`)
    return one
  })
}

function gateSigner(
  value: Json,
  item: Reader,
  signerOf: (members: JsonObject) => SignerPolicy | null,
): GateSigner {
  if (value === 'sender') return { kind: 'sender' }
  if (!isObject(value)) throw item.fail('has a signer that is neither "sender" nor an object')
  const reader = new Reader(value, 'a signer of the import gate', 'CONFIG_INVALID')
  if (reader.has('key')) return { kind: 'key', name: reader.only('key').text('key', NAME) }
  reader.only('root', 'subject', 'subjectRegExp', 'issuer', 'issuerRegExp')
  const signer = signerOf({
    certificateIdentity: value['subject'] ?? null,
    certificateIdentityRegexp: value['subjectRegExp'] ?? null,
    certificateOidcIssuer: value['issuer'] ?? null,
    certificateOidcIssuerRegexp: value['issuerRegExp'] ?? null,
  })
  if (signer === null) throw item.fail('has a signer without key and subject')
  const subject = value['subject'] ?? value['subjectRegExp']
  return {
    kind: 'identity',
    root: reader.text('root', NAME),
    signer,
    shown: typeof subject === 'string' ? subject : '',
  }
}

/** What the gate found for one image. */
export interface Passed {
  readonly image: ContentImage
  readonly rule: GateRule
  /** Who signed it. */
  readonly by: string
  /** SHA-256 (hex) of signed payloads that counted. */
  readonly payloads: readonly string[]
}

/**
 * Judges one image by the first rule for its repository.
 * @throws AirsealError TRANSFER_REFUSED saying why
 */
export async function passGate(
  gate: Gate,
  image: ContentImage,
  repository: Repository,
  trust: CarriedTrust,
  judge: Judge,
): Promise<Passed> {
  const name = `${image.repository}${image.tag === null ? '' : `:${image.tag}`}@${image.digest}`
  const rule = gate.rules.find((one) =>
    one.repositories.some((form) => fits(form, image.repository)),
  )
  if (rule === undefined)
    throw new AirsealError(
      'TRANSFER_REFUSED',
      `${name}: no rule of the import gate is for this repository`,
    )
  let best: GateJudgement | null = null
  for (const signer of rule.signers) {
    const ask = questionOf(signer, trust)
    if (ask === null) continue
    const found = await judge(repository, image.digest, { kind: 'signature', ...ask })
    if (found.outcome !== 'verified') {
      best ??= found
      continue
    }
    const payloads = [...found.payloads]
    for (const type of rule.attestations)
      payloads.push(...(await attested(rule, type, image, name, repository, trust, judge)))
    return { image, rule, by: found.by ?? shownSigner(signer), payloads }
  }
  const why =
    best === null
      ? 'the trust bundle has none of the keys and roots of the rule'
      : `${best.message} [${best.reason ?? ''}]`
  throw new AirsealError('TRANSFER_REFUSED', `${name} does not pass "${rule.name}": ${why}`)
}

async function attested(
  rule: GateRule,
  type: string,
  image: ContentImage,
  name: string,
  repository: Repository,
  trust: CarriedTrust,
  judge: Judge,
): Promise<readonly string[]> {
  let message = `no attestation of type ${type}`
  for (const signer of rule.signers) {
    const ask = questionOf(signer, trust)
    if (ask === null) continue
    const policy = { ...ask.policy, predicateType: type }
    const found = await judge(repository, image.digest, {
      kind: 'attestation',
      trust: ask.trust,
      policy,
    })
    if (found.outcome === 'verified') return found.payloads
    message = `${found.message} [${found.reason ?? ''}]`
  }
  throw new AirsealError(
    'TRANSFER_REFUSED',
    `${name} does not pass "${rule.name}": ${type}: ${message}`,
  )
}

/** Null: the trust bundle does not have what the rule names. */
function questionOf(
  signer: GateSigner,
  { keys, believed, revoked, foreign }: CarriedTrust,
): { trust: Trust; policy: Policy } | null {
  switch (signer.kind) {
    case 'sender':
      return { trust: { ...believed, keys, revoked }, policy: {} }
    case 'key': {
      const root = foreign.get(signer.name)
      const own = keys.filter((key) => key.name === signer.name)
      if (own.length > 0) return { trust: { ...believed, keys: own, revoked }, policy: {} }
      // A vendor's key comes with no log of its own.
      return root === undefined || root.keys.length === 0
        ? null
        : {
            trust: { ...root.believed, keys: root.keys, revoked },
            policy: { requireLog: root.believed.logs.length > 0 },
          }
    }
    case 'identity': {
      const root = foreign.get(signer.root)
      return root === undefined
        ? null
        : {
            trust: { ...root.believed, keys: [], revoked },
            policy: { signer: signer.signer, requireSct: (root.believed.ctLogs?.length ?? 0) > 0 },
          }
    }
  }
}

function shownSigner(signer: GateSigner): string {
  return signer.kind === 'sender'
    ? 'the sender'
    : signer.kind === 'key'
      ? signer.name
      : signer.shown
}

/** `*` is one part of a path; `**` at the end is any rest, none included. */
function fits(form: string, repository: string): boolean {
  const wanted = form.split('/')
  const parts = repository.split('/')
  for (const [at, part] of wanted.entries()) {
    if (part === '**') return at === wanted.length - 1
    if (parts[at] === undefined || (part !== '*' && part !== parts[at])) return false
  }
  return wanted.length === parts.length
}
