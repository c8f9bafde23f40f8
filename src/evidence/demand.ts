import { predicateTypeUri } from '../sigstore/index.ts'
import type { Condition, SignerPolicy } from '../verify/index.ts'
import { parseConditions } from './conditions.ts'
import { MAX_LIST, type Members } from './members.ts'
import { parseSigner } from './signer-request.ts'

/** One thing that is asked of each image, as a caller or a policy wrote it. */
export interface DemandSpec {
  readonly name: string
  /** Predicate type URI of the attestations asked for; null: signatures are asked for. */
  readonly predicateType: string | null
  /** Names of trusted keys, or public keys as PEM; null: every trusted key, unless identities are given. */
  readonly keys: readonly string[] | null
  /** Whose certificates count as well. */
  readonly identities: readonly SignerPolicy[]
  /** Distinct signers, from 1. */
  readonly threshold: number
  /** Annotations that must be signed. */
  readonly annotations: Readonly<Record<string, string>>
  /** Repository names of which legacy signatures must bear one; null: not compared. */
  readonly identity: readonly string[] | null
  readonly requireLog: boolean
  /** Distinct logs that must hold the signature; null: one, with `requireLog`. */
  readonly logThreshold: number | null
  readonly requireSct: boolean
  /** Distinct authorities that must have stamped the signature; null: none need have. */
  readonly timestampThreshold: number | null
  /** Of the predicate. */
  readonly conditions: readonly Condition[]
}

/** Members of a request that say what is demanded beside the keys and the identity. */
export const DEMAND_MEMBERS: readonly string[] = [
  'annotations',
  'type',
  'identity',
  'requireLog',
  'logThreshold',
  'requireSct',
  'timestampThreshold',
  'keyThreshold',
  'keys',
  'conditions',
]
const MAX_KEYS = 32

/**
 * Reads {@link DEMAND_MEMBERS}, `key` and the members of {@link parseSigner}.
 * @param ownPki - whether an own authority is given: its certificates need not name an issuer
 * @throws AirsealError REQUEST_INVALID, PREDICATE_INVALID, EXPRESSION_INVALID
 */
export async function parseDemand(members: Members, ownPki: boolean): Promise<DemandSpec> {
  const type = members.text('type')
  const key = members.text('key')
  const keys = members.has('keys') ? members.texts('keys', MAX_KEYS) : null
  if (key !== null && keys !== null) throw members.invalid('key', 'and keys say the same: give one')
  const signer = parseSigner(members.json, ownPki)
  if ((key ?? keys) !== null && signer !== null) {
    throw members.invalid('key', 'and a certificate identity are two questions: ask one at a time')
  }
  const threshold = members.count('keyThreshold') ?? 1
  if (signer !== null && threshold > 1)
    throw members.invalid('keyThreshold', 'is for keys; a policy can demand several identities')
  const conditions = await parseConditions(members)
  if (type === null && conditions.length > 0)
    throw members.invalid('conditions', 'are for attestations: give their type')
  const named = keys ?? (key === null ? null : [key])
  if (named !== null && threshold > named.length)
    throw members.invalid('keyThreshold', `is ${threshold}, and there are ${named.length} keys`)
  return {
    name: type ?? 'signatures',
    predicateType: type === null ? null : predicateTypeUri(type),
    keys: named,
    identities: signer === null ? [] : [signer],
    threshold,
    identity: namesOf(members, 'identity'),
    ...parseStrictness(members),
    conditions,
  }
}

/** The members that requests and policies share. */
export function parseStrictness(
  members: Members,
): Pick<
  DemandSpec,
  'annotations' | 'requireLog' | 'logThreshold' | 'requireSct' | 'timestampThreshold'
> {
  const requireLog = members.flag('requireLog', true)
  const logThreshold = members.count('logThreshold')
  if (!requireLog && logThreshold !== null)
    throw members.invalid('logThreshold', 'demands logs, and requireLog says that none need be')
  return {
    annotations: members.map('annotations'),
    requireLog,
    logThreshold,
    requireSct: members.flag('requireSct', true),
    timestampThreshold: members.count('timestampThreshold'),
  }
}

/** One text, or a list of them; null when absent. */
export function namesOf(members: Members, name: string): readonly string[] | null {
  if (!members.has(name)) return null
  const one = members.value(name)
  return typeof one === 'string' ? [members.text(name) ?? ''] : members.texts(name, MAX_LIST)
}
