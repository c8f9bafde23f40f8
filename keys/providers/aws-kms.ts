import {
  CreateAliasCommand,
  CreateKeyCommand,
  DescribeKeyCommand,
  GetPublicKeyCommand,
  KMSClient,
  SignCommand,
  type DescribeKeyCommandOutput,
  type KMSClientConfig,
  type KeySpec,
  type SigningAlgorithmSpec,
} from '@aws-sdk/client-kms'
import {
  AirsealError,
  publicKeyFromSpki,
  type ErrorCode,
  type KeyAlgorithm,
  type PublicKey,
} from '../../src/core/index.ts'
import { transient, wholeMessage, type Backend, type KeyDescription } from '../backend.ts'
import { checkEndpoint, readAuthorities } from '../endpoint.ts'
import type { AwsReference } from '../reference.ts'

/** Credentials and everything not named here come from the SDK's usual chain. */
export interface AwsOptions {
  /** Used when the URI has no host. Default: AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL, then the region's own. */
  readonly endpoint?: string
  readonly region?: string
  /** PEM file of the authority that a region of its own has. */
  readonly caFile?: string
}

/** KMS takes a message of at most this many bytes; only Ed25519 must send one. */
const MAX_RAW = 4_096
const MAX_RETRY_AFTER_MS = 60_000

/** What another attempt may not meet, beside connection faults and statuses from 500 on. */
const PASSING: ReadonlySet<string> = new Set([
  'ThrottlingException',
  'TooManyRequestsException',
  'LimitExceededException',
  'KMSInternalException',
  'DependencyTimeoutException',
  'KeyUnavailableException',
  'ServiceUnavailableException',
  'RequestTimeout',
  'ExpiredTokenException',
  'TimeoutError',
  'AbortError',
])

const CODES: ReadonlyMap<string, ErrorCode> = new Map([
  ['NotFoundException', 'KEY_UNKNOWN'],
  ['AlreadyExistsException', 'KEY_EXISTS'],
  ['UnsupportedOperationException', 'KEY_UNSUPPORTED'],
])

/**
 * Follows alias or ARN to one key, and pins its ARN and public key.
 * @throws AirsealError KEY_UNKNOWN, KEY_UNSUPPORTED, KEY_UNAVAILABLE, KEY_CHANGED when the service contradicts itself
 */
export async function awsBackend(
  reference: AwsReference,
  options: AwsOptions,
  signal: AbortSignal,
): Promise<Backend> {
  const client = await connect(reference, options)
  const lookUp = (signal: AbortSignal) => attempt(() => describe(client, reference, signal))
  const description = await lookUp(signal).catch((error: unknown) => {
    client.destroy()
    throw error
  })
  const { version: arn, publicKey } = description
  const { kind, aws } = publicKey.algorithm
  return {
    description,
    async sign(input, signal) {
      const isRaw = kind === 'ed25519'
      const message = isRaw ? wholeMessage(input) : input.digest
      if (isRaw && message.length > MAX_RAW) {
        throw new AirsealError(
          'KEY_UNSUPPORTED',
          `AWS KMS signs at most ${MAX_RAW} bytes with Ed25519, this is ${message.length}: use an ECDSA key`,
        )
      }
      const command = new SignCommand({
        KeyId: arn,
        Message: message,
        MessageType: isRaw ? 'RAW' : 'DIGEST',
        SigningAlgorithm: aws.signing as SigningAlgorithmSpec,
      })
      const answer = await attempt(() => client.send(command, { abortSignal: signal }))
      if (!names(answer.KeyId, arn)) {
        throw new AirsealError(
          'KEY_CHANGED',
          `AWS KMS signed with ${answer.KeyId}, not with ${arn}`,
        )
      }
      if (answer.SigningAlgorithm !== aws.signing || answer.Signature === undefined) {
        throw new AirsealError('SIGNATURE_FAULT', 'AWS KMS signed in another way than asked')
      }
      return answer.Signature
    },
    resolve: lookUp,
    close() {
      client.destroy()
      return Promise.resolve()
    },
  }
}

/**
 * Makes a key and the alias that the URI names.
 * @throws AirsealError KEY_EXISTS, KEY_REFERENCE when the URI names no alias
 */
export async function createAwsKey(
  reference: AwsReference,
  algorithm: KeyAlgorithm,
  options: AwsOptions,
  signal: AbortSignal,
): Promise<PublicKey> {
  const alias = /(alias\/.+)$/.exec(reference.keyId)?.[1]
  if (alias === undefined) {
    throw new AirsealError(
      'KEY_REFERENCE',
      'AWS chooses key ids itself: name the new key by alias/NAME',
    )
  }
  const client = await connect(reference, options)
  const abort = { abortSignal: signal }
  try {
    const existing = await attempt(() => describe(client, reference, signal)).catch(
      (error: unknown) => {
        if (error instanceof AirsealError && error.code === 'KEY_UNKNOWN') return null
        throw error
      },
    )
    if (existing !== null) {
      throw new AirsealError('KEY_EXISTS', `${alias} exists already and names ${existing.version}`)
    }
    const KeySpec = algorithm.aws.keySpec as KeySpec
    const made = await attempt(() =>
      client.send(
        new CreateKeyCommand({
          KeySpec,
          KeyUsage: 'SIGN_VERIFY',
          Description: 'Created by airseal',
        }),
        abort,
      ),
    )
    const arn = made.KeyMetadata?.Arn
    await attempt(() =>
      client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: arn }), abort),
    )
    return (await attempt(() => describe(client, reference, signal))).publicKey
  } finally {
    client.destroy()
  }
}

async function connect(reference: AwsReference, options: AwsOptions): Promise<KMSClient> {
  const env = process.env
  const setting = options.endpoint ?? env['AWS_ENDPOINT_URL_KMS'] ?? env['AWS_ENDPOINT_URL']
  const endpoint = reference.host === null ? setting : `https://${reference.host}`
  const region = /^arn:[^:]+:kms:([^:]+):/.exec(reference.keyId)?.[1] ?? options.region
  const ca = options.caFile === undefined ? undefined : await readAuthorities(options.caFile)
  // One attempt a call: waiting and repeating belong to resilience.ts alone.
  const config: KMSClientConfig = { maxAttempts: 1 }
  if (endpoint !== undefined) config.endpoint = checkEndpoint(endpoint).href
  if (region !== undefined) config.region = region
  config.requestHandler = {
    connectionTimeout: 2_000,
    httpsAgent: { keepAlive: true, maxSockets: 50, ...(ca === undefined ? {} : { ca }) },
  }
  return new KMSClient(config)
}

async function describe(
  client: KMSClient,
  { uri, keyId }: AwsReference,
  signal: AbortSignal,
): Promise<KeyDescription> {
  const abort = { abortSignal: signal }
  const { KeyMetadata: facts } = await client.send(new DescribeKeyCommand({ KeyId: keyId }), abort)
  if (facts?.Arn === undefined || facts.KeyUsage !== 'SIGN_VERIFY') {
    throw new AirsealError('KEY_UNSUPPORTED', `${keyId} is not a signing key`)
  }
  if (facts.KeyState !== 'Enabled') {
    throw new AirsealError('KEY_UNAVAILABLE', `${facts.Arn} is ${facts.KeyState}, not Enabled`)
  }
  const answer = await client.send(new GetPublicKeyCommand({ KeyId: facts.Arn }), abort)
  if (answer.PublicKey === undefined || !names(answer.KeyId, facts.Arn)) {
    throw new AirsealError(
      'KEY_CHANGED',
      `AWS KMS gave the public key of another key than ${facts.Arn}`,
    )
  }
  const publicKey = publicKeyFromSpki(answer.PublicKey)
  const { signing } = publicKey.algorithm.aws
  if (answer.SigningAlgorithms?.includes(signing as SigningAlgorithmSpec) !== true) {
    throw new AirsealError('KEY_UNSUPPORTED', `${facts.Arn} does not sign with ${signing}`)
  }
  return { uri, backend: 'aws-kms', version: facts.Arn, publicKey, ...guarantees(facts) }
}

/** AWS answers with the ARN; services that stand in for it also with the bare id, which names the same key. */
function names(answered: string | undefined, arn: string): boolean {
  return (
    answered !== undefined &&
    (answered === arn || `:key/${answered}` === arn.slice(arn.indexOf(':key/')))
  )
}

/** What KMS promises of the key material: nobody takes it out, but imported material exists elsewhere too. */
function guarantees(
  facts: NonNullable<DescribeKeyCommandOutput['KeyMetadata']>,
): Pick<KeyDescription, 'extractable' | 'everExtractable' | 'madeInside' | 'protection'> {
  const madeInside = facts.Origin === 'AWS_KMS' || facts.Origin === 'AWS_CLOUDHSM'
  const isForeign = facts.Origin === 'EXTERNAL_KEY_STORE'
  return {
    extractable: isForeign ? null : false,
    everExtractable: madeInside ? false : null,
    madeInside,
    protection: isForeign ? 'external' : facts.Origin === 'AWS_CLOUDHSM' ? 'cloudhsm' : 'hsm',
  }
}

/** One call; its faults become ours. */
async function attempt<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw error instanceof AirsealError ? error : translate(error)
  }
}

interface SdkFault {
  readonly name: string
  readonly message: string
  readonly code?: unknown
  readonly $metadata?: { readonly httpStatusCode?: number; readonly clockSkewCorrected?: boolean }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

function translate(error: unknown): AirsealError {
  if (!(error instanceof Error)) return new AirsealError('INTERNAL', 'the AWS SDK threw no error')
  const fault: SdkFault = error
  const status = fault.$metadata?.httpStatusCode
  const code = CODES.get(fault.name)
  const message = `AWS KMS: ${fault.name}: ${fault.message}`
  if (code !== undefined) return new AirsealError(code, message, { cause: error })
  // Connection faults carry a code of the operating system or of TLS. After a clock difference the SDK knows the offset.
  const isPassing =
    PASSING.has(fault.name) ||
    fault.$metadata?.clockSkewCorrected === true ||
    (status === undefined && typeof fault.code === 'string') ||
    (status !== undefined && (status >= 500 || status === 429))
  if (!isPassing) return new AirsealError('KEY_UNAVAILABLE', message, { cause: error })
  const seconds = Number(fault.$response?.headers?.['retry-after'] ?? '0')
  const wait = seconds > 0 ? Math.min(seconds * 1_000, MAX_RETRY_AFTER_MS) : undefined
  return transient(message, error, wait)
}
