import { createHash } from 'node:crypto'
import { DIGEST_SIZES, fromBase64, toBase64, type Json, type JsonObject } from '../core/index.ts'
import { awsFault } from './aws-fault.ts'
import { aliased, arnOf, asAwsKey, findAwsKey, type AwsAccount, type AwsKey } from './aws-names.ts'
import type { DoorKeys } from './model.ts'

export interface AwsKmsSettings {
  readonly keys: DoorKeys
  /** Alias, without `alias/` → name of a key. Nothing else can be reached. */
  readonly aliases: ReadonlyMap<string, string>
  /** Twelve digits. */
  readonly account: string
}

/** One authenticated call. */
export interface AwsCall {
  /** `Sign`, `DescribeKey`… */
  readonly operation: string
  readonly fields: JsonObject
  readonly region: string
  readonly accessKeyId: string
}

/** Longest message of `Sign` with `RAW`, bytes. */
const MAX_RAW = 4_096
const MAX_LIST = 100
const LIST = 50

/** Answers a call as AWS KMS does. @throws AirsealError */
export type AwsKms = (call: AwsCall) => Promise<Json>

/** The four operations that clients of signatures need; keys are made and managed elsewhere. */
export function createAwsKms(settings: AwsKmsSettings): AwsKms {
  const { keys, aliases, account } = settings
  const operations: Readonly<Record<string, (call: AwsCall, at: AwsAccount) => Promise<Json>>> = {
    async DescribeKey({ fields }, at) {
      return { KeyMetadata: metadata(account, await find(fields, at)) }
    },
    async GetPublicKey({ fields }, at) {
      const key = await find(fields, at)
      requireTrusted(key)
      const { aws } = key.publicKey.algorithm
      return {
        KeyId: key.arn,
        PublicKey: toBase64(key.publicKey.spki),
        CustomerMasterKeySpec: aws.keySpec,
        KeySpec: aws.keySpec,
        KeyUsage: 'SIGN_VERIFY',
        SigningAlgorithms: algorithmsOf(key),
      }
    },
    async Sign(call, at) {
      const key = await find(call.fields, at)
      const signing = checkSigning(key, call.fields)
      const digest = digestOf(key, call.fields)
      const { id: keyId } = key.publicKey
      const use = { door: 'aws', caller: `aws:${call.accessKeyId}`, keyId } as const
      const signature = await keys.signDigest(key.name, digest, use)
      return { KeyId: key.arn, Signature: toBase64(signature), SigningAlgorithm: signing }
    },
    ListAliases: ({ fields }, at) => listAliases(fields, at),
  }

  function find(fields: JsonObject, at: AwsAccount): Promise<AwsKey> {
    if (fields['GrantTokens'] !== undefined && !isEmptyList(fields['GrantTokens'])) {
      throw awsFault('InvalidGrantTokenException', 'REQUEST_INVALID', 'there are no grants here')
    }
    return findAwsKey(keys, aliases, at, textOf(fields, 'KeyId'))
  }

  async function listAliases(fields: JsonObject, at: AwsAccount): Promise<Json> {
    const wanted = fields['KeyId'] === undefined ? null : await find(fields, at)
    const limit = limitOf(fields['Limit'])
    const marker = fields['Marker'] === undefined ? '' : textOf(fields, 'Marker')
    const found: JsonObject[] = []
    for (const alias of [...aliases.keys()].sort()) {
      const key = alias > marker ? await aliased(keys, aliases, alias) : null
      if (key === null) continue
      const { keyId } = asAwsKey(at, key)
      if (wanted !== null && keyId !== wanted.keyId) continue
      found.push({
        AliasName: `alias/${alias}`,
        AliasArn: arnOf(at, `alias/${alias}`),
        TargetKeyId: keyId,
        CreationDate: key.created / 1000,
        LastUpdatedDate: key.created / 1000,
      })
    }
    const Aliases = found.slice(0, limit)
    const last = Aliases.at(-1)?.['AliasName']
    return found.length > limit && typeof last === 'string'
      ? { Aliases, Truncated: true, NextMarker: last.slice('alias/'.length) }
      : { Aliases, Truncated: false }
  }

  return async (call) => {
    const operation = Object.hasOwn(operations, call.operation)
      ? operations[call.operation]
      : undefined
    if (operation !== undefined) return operation(call, { account, region: call.region })
    throw awsFault(
      'UnsupportedOperationException',
      'KEY_UNSUPPORTED',
      `${call.operation} is not offered here: keys are made and managed with the airseal command`,
    )
  }
}

function metadata(account: string, key: AwsKey): JsonObject {
  const { aws } = key.publicKey.algorithm
  const isEnabled = key.state === 'active'
  return {
    AWSAccountId: account,
    Arn: key.arn,
    CreationDate: key.created / 1000,
    CustomerMasterKeySpec: aws.keySpec,
    Description: `airseal key ${key.name}`,
    Enabled: isEnabled,
    KeyId: key.keyId,
    KeyManager: 'CUSTOMER',
    KeySpec: aws.keySpec,
    KeyState: isEnabled ? 'Enabled' : 'Disabled',
    KeyUsage: 'SIGN_VERIFY',
    MultiRegion: false,
    Origin: 'EXTERNAL_KEY_STORE',
    SigningAlgorithms: algorithmsOf(key),
  }
}

/** Clients take the first: there is one, and the key signs in no other way. */
function algorithmsOf({ publicKey, hash }: AwsKey): string[] {
  const { algorithm } = publicKey
  return hash === null || hash !== algorithm.hash ? [] : [algorithm.aws.signing]
}

/** A key that signs no more still verifies what it signed, unless nothing of it is to be believed. */
function requireTrusted({ arn, state }: AwsKey): void {
  if (state === 'active' || state === 'verify-only') return
  throw awsFault('DisabledException', 'KEY_UNAVAILABLE', `${arn} is ${state}.`)
}

function checkSigning(key: AwsKey, fields: JsonObject): string {
  if (key.state !== 'active') {
    throw awsFault('DisabledException', 'KEY_UNAVAILABLE', `${key.arn} is ${key.state}.`)
  }
  const wanted = textOf(fields, 'SigningAlgorithm')
  if (!algorithmsOf(key).includes(wanted)) {
    const { keySpec } = key.publicKey.algorithm.aws
    throw awsFault(
      'InvalidKeyUsageException',
      'KEY_UNSUPPORTED',
      `Algorithm ${wanted.slice(0, 64)} is incompatible with key spec ${keySpec} here; it signs with ${algorithmsOf(key).join() || 'none'}.`,
    )
  }
  if (fields['DryRun'] === true) {
    throw awsFault(
      'DryRunOperationException',
      'REQUEST_INVALID',
      'The request would have succeeded, but the DryRun option is set.',
    )
  }
  return wanted
}

function digestOf({ hash }: AwsKey, fields: JsonObject): Uint8Array {
  const name = hash ?? 'sha256'
  const message = fromBase64(textOf(fields, 'Message'), 'Message', 'REQUEST_INVALID')
  const type = fields['MessageType'] ?? 'RAW'
  if (type === 'RAW') {
    if (message.length < 1 || message.length > MAX_RAW) {
      throw invalid(`Message has ${message.length} bytes, want 1 to ${MAX_RAW}`)
    }
    return createHash(name).update(message).digest()
  }
  if (type !== 'DIGEST') throw invalid('MessageType is not RAW or DIGEST')
  if (message.length !== DIGEST_SIZES[name]) {
    throw invalid(`Digest is invalid length: ${message.length}, want ${DIGEST_SIZES[name]}`)
  }
  return message
}

function textOf(fields: JsonObject, name: string): string {
  const value = fields[name]
  if (typeof value === 'string' && value !== '') return value
  throw invalid(`${name} is missing`)
}

function limitOf(value: Json | undefined): number {
  if (value === undefined) return LIST
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_LIST) {
    return value
  }
  throw invalid(`Limit is not a whole number from 1 to ${MAX_LIST}`)
}

function isEmptyList(value: Json | undefined): boolean {
  return Array.isArray(value) && value.length === 0
}

function invalid(message: string): ReturnType<typeof awsFault> {
  return awsFault('ValidationException', 'REQUEST_INVALID', message)
}
