import { setTimeout as pause } from 'node:timers/promises'
import { KeyManagementServiceClient, type protos } from '@google-cloud/kms'
import { grpc } from 'google-gax'
import {
  AirsealError,
  publicKeyFromPem,
  utf8,
  type ErrorCode,
  type KeyAlgorithm,
  type PublicKey,
} from '../../src/core/index.ts'
import { transient, wholeMessage, type Backend, type KeyDescription } from '../backend.ts'
import { crc32c } from '../crc32c.ts'
import { checkEndpoint, readAuthorities } from '../endpoint.ts'
import type { GoogleReference } from '../reference.ts'

/** Credentials come from the SDK's usual chain (GOOGLE_APPLICATION_CREDENTIALS…). */
export interface GoogleOptions {
  /** `https://HOST[:PORT]`; default: cloudkms of the universe domain. `http:` on loopback sends no credentials. */
  readonly endpoint?: string
  /** Of a cloud of its own; default: GOOGLE_CLOUD_UNIVERSE_DOMAIN, then googleapis.com. */
  readonly universeDomain?: string
  /** PEM file of the authority that such a cloud has. */
  readonly caFile?: string
  /** Protection level of new keys; default HSM. */
  readonly protection?: 'SOFTWARE' | 'HSM'
}

/** For one call, milliseconds. No retry by the SDK: waiting and repeating belong to resilience.ts alone. */
const CALL = { timeout: 4_000, retry: null }
const MAX_VERSIONS = 1_000

const { status } = grpc
const PASSING: ReadonlySet<number> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.INTERNAL,
  status.ABORTED,
  status.CANCELLED,
])
const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [status.NOT_FOUND, 'KEY_UNKNOWN'],
  [status.ALREADY_EXISTS, 'KEY_EXISTS'],
])

/**
 * Finds one key version (the highest enabled one when the URI names none) and pins its name and public key.
 * @throws AirsealError KEY_UNKNOWN, KEY_UNSUPPORTED, KEY_UNAVAILABLE, KEY_CHANGED when the service contradicts itself
 */
export async function googleBackend(
  reference: GoogleReference,
  options: GoogleOptions,
): Promise<Backend> {
  const client = await connect(options)
  const lookUp = () => attempt(() => describe(client, reference))
  const description = await lookUp().catch(async (error: unknown) => {
    await client.close()
    throw error
  })
  const { version: name, publicKey } = description
  return {
    description,
    async sign(input) {
      const { hash } = publicKey.algorithm
      const bytes = hash === null ? wholeMessage(input) : input.digest
      const sum = { value: crc32c(bytes) }
      const request =
        hash === null
          ? { data: bytes, dataCrc32c: sum }
          : { digest: { [hash]: bytes }, digestCrc32c: sum }
      const [answer] = await attempt(() => client.asymmetricSign({ name, ...request }, CALL))
      const isReceived = hash === null ? answer.verifiedDataCrc32c : answer.verifiedDigestCrc32c
      if (isReceived !== true) throw damaged('what was to be signed did not arrive whole')
      if (answer.name !== name) {
        throw new AirsealError('KEY_CHANGED', `Google KMS signed with ${answer.name}, not ${name}`)
      }
      const signature = answer.signature
      if (!(signature instanceof Uint8Array) || !sums(answer.signatureCrc32c, signature)) {
        throw damaged('the signature did not arrive whole')
      }
      return Uint8Array.from(signature)
    },
    resolve: lookUp,
    close: () => client.close(),
  }
}

/**
 * Makes a key with one version and waits until it is ready. The key ring must exist.
 * @throws AirsealError KEY_EXISTS, KEY_UNSUPPORTED
 */
export async function createGoogleKey(
  reference: GoogleReference,
  algorithm: KeyAlgorithm,
  options: GoogleOptions,
): Promise<PublicKey> {
  const { cryptoKey, version } = reference
  if (algorithm.google === undefined) {
    throw new AirsealError('KEY_UNSUPPORTED', `Google KMS has no ${algorithm.name}`)
  }
  if (version !== null) {
    throw new AirsealError('KEY_REFERENCE', 'Google numbers versions itself: leave the version out')
  }
  const [parent = '', cryptoKeyId = ''] = cryptoKey.split('/cryptoKeys/')
  const client = await connect(options)
  try {
    await attempt(() =>
      client.createCryptoKey(
        {
          parent,
          cryptoKeyId,
          cryptoKey: {
            purpose: 'ASYMMETRIC_SIGN',
            versionTemplate: {
              algorithm: algorithm.google as 'EC_SIGN_P256_SHA256',
              protectionLevel: options.protection ?? 'HSM',
            },
          },
        },
        CALL,
      ),
    )
    return await whenReady(async () => (await attempt(() => describe(client, reference))).publicKey)
  } finally {
    await client.close()
  }
}

/** A key in hardware takes its time. The caller's deadline ends the wait; the key then exists and `describe` shows it. */
async function whenReady<T>(look: () => Promise<T>): Promise<T> {
  for (let left = 20; ; left -= 1) {
    try {
      return await look()
    } catch (error) {
      const isWaiting = error instanceof AirsealError && error.code === 'KEY_UNAVAILABLE'
      if (!isWaiting || left === 0) throw error
      await pause(500)
    }
  }
}

async function connect(options: GoogleOptions): Promise<KeyManagementServiceClient> {
  const settings: ConstructorParameters<typeof KeyManagementServiceClient>[0] = {}
  if (options.universeDomain !== undefined) settings.universeDomain = options.universeDomain
  const endpoint = options.endpoint === undefined ? null : checkEndpoint(options.endpoint)
  if (endpoint !== null) {
    settings.apiEndpoint = endpoint.hostname
    settings.port = Number(endpoint.port || '443')
  }
  const client = () => new KeyManagementServiceClient(settings)
  if (endpoint?.protocol === 'http:') {
    settings.sslCreds = grpc.credentials.createInsecure()
  } else if (options.caFile !== undefined) {
    const authorities = await readAuthorities(options.caFile)
    const plain = client()
    const identity = grpc.credentials.createFromGoogleCredential(
      // The declared type is narrower than what is used: getRequestHeaders.
      plain.auth as unknown as Parameters<typeof grpc.credentials.createFromGoogleCredential>[0],
    )
    const tls = grpc.credentials.createSsl(authorities)
    settings.sslCreds = grpc.credentials.combineChannelCredentials(tls, identity)
  }
  return client()
}

async function describe(
  client: KeyManagementServiceClient,
  { uri, cryptoKey, version }: GoogleReference,
): Promise<KeyDescription> {
  const number = version ?? (await highestEnabled(client, cryptoKey))
  const name = `${cryptoKey}/cryptoKeyVersions/${number}`
  const [facts] = await client.getCryptoKeyVersion({ name }, CALL)
  if (facts.name !== name)
    throw new AirsealError('KEY_CHANGED', `Google KMS described another key than ${name}`)
  if (facts.state !== 'ENABLED') {
    throw new AirsealError('KEY_UNAVAILABLE', `${name} is ${facts.state}, not ENABLED`)
  }
  const [answer] = await client.getPublicKey({ name }, CALL)
  const { pem } = answer
  if (answer.name !== name || typeof pem !== 'string') {
    throw new AirsealError(
      'KEY_CHANGED',
      `Google KMS gave the public key of another key than ${name}`,
    )
  }
  if (!sums(answer.pemCrc32c, utf8(pem))) throw damaged('the public key did not arrive whole')
  const publicKey = publicKeyFromPem(pem)
  // Clients of Sigstore verify RSA as PKCS#1 v1.5 with SHA-256: a version that pads or hashes otherwise is of no use to them.
  if (answer.algorithm !== publicKey.algorithm.google) {
    throw new AirsealError('KEY_UNSUPPORTED', `${name} signs with ${answer.algorithm}`)
  }
  const protection = String(facts.protectionLevel).toLowerCase()
  const isForeign = protection.startsWith('external')
  return {
    uri,
    backend: 'google-kms',
    version: name,
    publicKey,
    extractable: isForeign ? null : false,
    everExtractable: isForeign || facts.importJob ? null : false,
    madeInside: !isForeign && !facts.importJob,
    protection,
  }
}

/** By number, not by text: 10 comes after 9. */
async function highestEnabled(client: KeyManagementServiceClient, parent: string): Promise<bigint> {
  const request = { parent, filter: 'state=ENABLED', pageSize: MAX_VERSIONS }
  const [versions] = await client.listCryptoKeyVersions(request, { ...CALL, autoPaginate: false })
  let highest: bigint | null = null
  for (const { name, state } of versions) {
    const found = /\/cryptoKeyVersions\/([1-9][0-9]{0,17})$/.exec(name ?? '')?.[1]
    if (found === undefined || state !== 'ENABLED') continue
    if (highest === null || BigInt(found) > highest) highest = BigInt(found)
  }
  if (highest === null) {
    throw new AirsealError('KEY_UNAVAILABLE', `${parent} has no enabled version`)
  }
  return highest
}

type Int64 = protos.google.protobuf.IInt64Value | null | undefined

function sums(claimed: Int64, bytes: Uint8Array): boolean {
  const value = claimed?.value
  return value !== null && value !== undefined && String(value) === String(crc32c(bytes))
}

/** Damage on the way may not happen again. */
function damaged(what: string): AirsealError {
  return transient(`Google KMS: ${what} (CRC32C)`, undefined)
}

async function attempt<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw error instanceof AirsealError ? error : translate(error)
  }
}

function translate(error: unknown): AirsealError {
  if (!(error instanceof Error))
    return new AirsealError('INTERNAL', 'the Google SDK threw no error')
  const number = 'code' in error && typeof error.code === 'number' ? error.code : -1
  const message = `Google KMS: ${status[number] ?? error.name}: ${error.message}`
  const code = CODES.get(number)
  if (code !== undefined) return new AirsealError(code, message, { cause: error })
  return PASSING.has(number)
    ? transient(message, error)
    : new AirsealError('KEY_UNAVAILABLE', message, { cause: error })
}
