import { createHash } from 'node:crypto'
import {
  AirsealError,
  asAirsealError,
  DIGEST_SIZES,
  fromBase64,
  isObject,
  publicKeyFromPem,
  toBase64,
  utf8,
  verifyDigest,
  type Json,
  type JsonObject,
  type PublicKey,
} from '../core/index.ts'
import { parsePluginCall, type PluginCall } from './plugin-protocol.ts'

/** What the plugin works with: the appliance, and the message on standard input. */
export interface PluginSite {
  /** Has the service do `door/key` or `door/sign`. @throws AirsealError */
  call(operation: string, body: Json): Promise<Json>
  readonly message: AsyncIterable<Uint8Array>
}

/** Algorithms that the registry makes keys of and doors sign with, as clients are told. */
const ALGORITHMS = ['ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'rsa-2048', 'rsa-3072', 'rsa-4096']

/** Answers one call of a plugin. Never rejects: what failed is told in `errorMessage`. */
export async function answerPlugin(
  args: readonly string[],
  openSite: (deadline: number | null) => PluginSite,
): Promise<JsonObject> {
  try {
    const [version = '', text = ''] = args
    const call = parsePluginCall(version, text)
    return await answer(call, openSite('deadline' in call ? call.deadline : null))
  } catch (thrown) {
    const { message, code, facts } = asAirsealError(thrown)
    return { errorMessage: `airseal: ${message} [${code}] ${facts.remedy}` }
  }
}

async function answer(call: PluginCall, site: PluginSite): Promise<JsonObject> {
  switch (call.method) {
    case 'defaultAlgorithm':
      return { defaultAlgorithm: { defaultAlgorithm: ALGORITHMS[0] ?? '' } }
    case 'supportedAlgorithms':
      return { supportedAlgorithms: { supportedAlgorithms: ALGORITHMS } }
    case 'createKey':
      throw new AirsealError(
        'FORBIDDEN',
        'keys are made on the appliance: airseal key create NAME URI',
      )
    case 'publicKey': {
      const { publicKey } = await keyOf(call, site)
      return { publicKey: { publicKeyPEM: toBase64(utf8(publicKey.pem)) } }
    }
    case 'signMessage':
      return { signMessage: { signature: await sign(call, site) } }
    case 'verifySignature': {
      const { publicKey } = await keyOf(call, site)
      const digest = await digestOf(call, site)
      if (await verifyDigest(publicKey, call.hash, digest, call.signature)) {
        return { verifySignature: {} }
      }
      throw new AirsealError('REQUEST_INVALID', 'the signature does not verify with this key')
    }
  }
}

type About = Extract<PluginCall, { key: string }>
type Subject = Extract<PluginCall, { hash: string }>

interface Key {
  readonly publicKey: PublicKey
  readonly hash: string
}

async function keyOf({ key }: About, site: PluginSite): Promise<Key> {
  const answer = await site.call('door/key', { key })
  const pem = isObject(answer) ? answer['publicKeyPem'] : undefined
  const hash = isObject(answer) ? answer['hash'] : undefined
  if (typeof pem !== 'string') throw odd()
  return { publicKey: publicKeyFromPem(pem), hash: typeof hash === 'string' ? hash : 'none' }
}

/** The service verified the signature before it left; here it is looked at again, since the key may have been asked for by hand. */
async function sign(call: Subject & About, site: PluginSite): Promise<string> {
  const { publicKey, hash } = await keyOf(call, site)
  if (hash !== call.hash) {
    throw new AirsealError(
      'KEY_UNSUPPORTED',
      `key "${call.key}" (${publicKey.algorithm.name}) signs with ${hash}, and ${call.hash} is wanted: use a P-256 or RSA key`,
    )
  }
  const digest = await digestOf(call, site)
  const answer = await site.call('door/sign', {
    key: call.key,
    hash: call.hash,
    digest: toBase64(digest),
    keyId: publicKey.id,
  })
  const text = isObject(answer) ? answer['signature'] : undefined
  if (typeof text !== 'string') throw odd()
  const signature = fromBase64(text, 'the signature', 'REQUEST_INVALID')
  if (await verifyDigest(publicKey, call.hash, digest, signature)) return text
  throw new AirsealError(
    'SIGNATURE_FAULT',
    'the service answered with a signature of something else',
  )
}

async function digestOf({ digest, hash }: Subject, site: PluginSite): Promise<Uint8Array> {
  if (digest !== null) {
    if (digest.length === DIGEST_SIZES[hash]) return digest
    throw new AirsealError('REQUEST_INVALID', `the digest is not as long as ${hash} makes it`)
  }
  const hasher = createHash(hash)
  for await (const chunk of site.message) hasher.update(chunk)
  return hasher.digest()
}

function odd(): AirsealError {
  return new AirsealError('SERVER_UNREACHABLE', 'the service did not answer as airseal does')
}
