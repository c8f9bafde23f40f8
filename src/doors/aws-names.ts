import type { PublicKey } from '../core/index.ts'
import { awsFault } from './aws-fault.ts'
import type { DoorKey, DoorKeys } from './model.ts'

/** What this door is called in ARNs. */
export interface AwsAccount {
  /** Twelve digits. */
  readonly account: string
  readonly region: string
}

/** A key as a client of AWS names it. */
export interface AwsKey extends DoorKey {
  readonly keyId: string
  readonly arn: string
}

const MAX_NAME = 2_048
const ARN = /^arn:([a-z-]{1,20}):kms:([a-z0-9-]{1,40}):([0-9]{12}):(.+)$/
const ALIAS = /^alias\/([A-Za-z0-9/_-]{1,250})$/
const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A UUID (RFC 9562 version 8) made of the key itself: another key never has it, whatever it is called. */
function keyIdOf({ id }: PublicKey): string {
  const variant = ((parseInt(id.slice(16, 17), 16) & 3) | 8).toString(16)
  const parts = [id.slice(0, 8), id.slice(8, 12), `8${id.slice(13, 16)}`]
  return [...parts, `${variant}${id.slice(17, 20)}`, id.slice(20, 32)].join('-')
}

export function arnOf({ account, region }: AwsAccount, resource: string): string {
  return `arn:${partitionOf(region)}:kms:${region}:${account}:${resource}`
}

function partitionOf(region: string): string {
  const [first = '', second = ''] = region.split('-')
  if (first === 'cn') return 'aws-cn'
  if (first === 'us' && second === 'gov') return 'aws-us-gov'
  return first === 'us' && second.startsWith('iso') ? `aws-${second.replace('isoa', 'iso')}` : 'aws'
}

/**
 * Follows key id, alias or the ARN of either to a key of the door.
 * @throws AirsealError KEY_UNKNOWN, REQUEST_INVALID
 */
export async function findAwsKey(
  keys: DoorKeys,
  aliases: ReadonlyMap<string, string>,
  account: AwsAccount,
  name: string,
): Promise<AwsKey> {
  const resource = resourceOf(account, name)
  const alias = ALIAS.exec(resource)?.[1]
  if (alias !== undefined) {
    const key = await aliased(keys, aliases, alias)
    if (key !== null) return asAwsKey(account, key)
    throw notFound(`Alias ${arnOf(account, resource)} is not found.`)
  }
  const keyId = resource === name ? name : resource.replace(/^key\//, '')
  if (!KEY_ID.test(keyId)) throw awsFault('NotFoundException', 'KEY_UNKNOWN', 'Invalid keyId')
  for (const each of new Set(aliases.values())) {
    const key = await keys.find(each)
    if (key !== null && keyIdOf(key.publicKey) === keyId) return asAwsKey(account, key)
  }
  throw notFound(`Key '${arnOf(account, `key/${keyId}`)}' does not exist`)
}

/** The part of an ARN that names something here; a bare name as it is. */
function resourceOf(account: AwsAccount, name: string): string {
  if (name.length > MAX_NAME) {
    throw awsFault('ValidationException', 'REQUEST_INVALID', 'KeyId is longer than 2048')
  }
  if (!name.startsWith('arn:')) return name
  const [, partition, region, number, resource = ''] = ARN.exec(name) ?? []
  if (
    partition !== partitionOf(account.region) ||
    region !== account.region ||
    number !== account.account
  ) {
    throw notFound('Invalid arn: it is not of this region and account')
  }
  return resource
}

/** @returns null when the alias leads nowhere */
export async function aliased(
  keys: DoorKeys,
  aliases: ReadonlyMap<string, string>,
  alias: string,
): Promise<DoorKey | null> {
  const name = aliases.get(alias)
  return name === undefined ? null : keys.find(name)
}

export function asAwsKey(account: AwsAccount, key: DoorKey): AwsKey {
  const keyId = keyIdOf(key.publicKey)
  return { ...key, keyId, arn: arnOf(account, `key/${keyId}`) }
}

function notFound(message: string): ReturnType<typeof awsFault> {
  return awsFault('NotFoundException', 'KEY_UNKNOWN', message)
}
