import { createHmac, createPublicKey, createSecretKey, randomBytes } from 'node:crypto'
import {
  AirsealError,
  concat,
  derSignature,
  publicKeyFromSpki,
  samePublicKey,
  type ErrorCode,
  type PublicKey,
} from '../../src/core/index.ts'
import {
  transient,
  wholeMessage,
  type Backend,
  type KeyDescription,
  type SignInput,
} from '../backend.ts'
import { SHA256_INFO } from '../digest-info.ts'
import type { Pkcs11Reference } from '../pkcs11-uri.ts'
import { pinReader } from '../pin.ts'
import { useModule, type Pkcs11Module } from './pkcs11-module.ts'
import type { OpenedKey, Pkcs11Answer, Target } from './pkcs11-model.ts'

const CODES: ReadonlyMap<string, ErrorCode> = new Map([
  ['PIN', 'KEY_PIN'],
  ['LOCKED', 'KEY_PIN'],
  ['NO_PIN', 'KEY_PIN'],
  ['MISSING', 'KEY_UNKNOWN'],
  ['AMBIGUOUS', 'KEY_REFERENCE'],
  ['UNSUPPORTED', 'KEY_UNSUPPORTED'],
  ['EXISTS', 'KEY_EXISTS'],
  ['ADDON', 'RUNTIME'],
])

/** PINs that a token refused, as keyed digests: none of them is tried again while this process lives, or retries would lock the token. */
const refusedPins = new Set<string>()
/** A PIN is short: its plain digest would give it away to whoever reads the memory. */
const MARK_KEY = createSecretKey(randomBytes(32))

/**
 * Opens a key of a PKCS#11 token and pins it.
 * @throws AirsealError KEY_PIN, KEY_UNKNOWN, KEY_REFERENCE when two fit, KEY_UNSUPPORTED, RUNTIME without the addon, KEY_UNAVAILABLE
 */
export async function pkcs11Backend(
  reference: Pkcs11Reference,
  signal: AbortSignal,
): Promise<Backend> {
  const connection = connect(reference)
  try {
    return await pinned(reference, connection, signal)
  } catch (error) {
    await connection.module.release()
    throw error
  }
}

/**
 * Makes a key pair in the token: sensitive, not extractable. The URI must give both object= and id=.
 * @throws AirsealError KEY_EXISTS and those of {@link pkcs11Backend}
 */
export async function createPkcs11Key(
  reference: Pkcs11Reference,
  algorithm: string,
  signal: AbortSignal,
): Promise<PublicKey> {
  const connection = connect(reference)
  try {
    const key = await connection.open({ kind: 'create', algorithm }, signal)
    return describe(reference, key).publicKey
  } finally {
    await connection.module.release()
  }
}

async function pinned(
  reference: Pkcs11Reference,
  connection: Connection,
  signal: AbortSignal,
): Promise<Backend> {
  const { module } = connection
  const first = await connection.open({ kind: 'open' }, signal)
  const description = describe(reference, first)
  const { publicKey } = description
  let handle: string | null = first.handle

  /** The token again, after it was away: same key or none. */
  async function reopen(signal: AbortSignal): Promise<string> {
    const again = await connection.open({ kind: 'open' }, signal)
    if (!samePublicKey(describe(reference, again).publicKey, publicKey)) {
      throw new AirsealError('KEY_CHANGED', 'the token now holds another key under this name')
    }
    return again.handle
  }

  return {
    description,
    async sign(input, signal) {
      handle ??= await reopen(signal)
      const bytes = mechanismInput(publicKey, input)
      const answer = await module.ask({ kind: 'sign', handle, input: bytes }, signal)
      if (answer.kind === 'signed') return clientForm(publicKey, answer.signature)
      handle = null
      throw failure(answer)
    },
    async resolve(signal) {
      return describe(reference, await connection.open({ kind: 'open' }, signal))
    },
    close: () => module.release(),
  }
}

interface Connection {
  readonly module: Pkcs11Module
  open(
    what: { kind: 'open' } | { kind: 'create'; algorithm: string },
    signal: AbortSignal,
  ): Promise<OpenedKey>
}

function connect(reference: Pkcs11Reference): Connection {
  const module = useModule(reference.modulePath, reference.initReserved)
  const readPin = pinReader(reference.pinSource)
  return {
    module,
    async open(what, signal) {
      const pin = await readPin()
      const mark = pin === null ? null : markOf(reference, pin)
      if (mark !== null && refusedPins.has(mark)) {
        throw new AirsealError(
          'KEY_PIN',
          'the token refused this PIN before; it was not tried again',
        )
      }
      const { token, object } = reference
      const target: Target = { token, object, pin }
      const answer = await module.ask({ ...what, ...target }, signal)
      if (answer.kind === 'opened') return answer.key
      if (answer.kind === 'failed' && answer.code === 'PIN' && mark !== null) refusedPins.add(mark)
      throw failure(answer)
    },
  }
}

function markOf({ modulePath, token }: Pkcs11Reference, pin: Uint8Array): string {
  return createHmac('sha256', MARK_KEY)
    .update(JSON.stringify([modulePath, token]))
    .update(pin)
    .digest('hex')
}

function failure(answer: Pkcs11Answer): AirsealError {
  if (answer.kind !== 'failed') return new AirsealError('INTERNAL', 'the module answered oddly')
  const code = CODES.get(answer.code)
  if (answer.code === 'ADDON') {
    return new AirsealError(
      'RUNTIME',
      'pkcs11: keys need the optional addon pkcs11js, which is not built here: install g++, make and python3, then run `node scripts/setup.mjs`',
    )
  }
  // Everything else may pass: a token that is away comes back, a session that died is opened anew.
  return code === undefined
    ? transient(`the PKCS#11 module said: ${answer.reason}`, undefined)
    : new AirsealError(code, `PKCS#11 token: ${answer.reason}`)
}

function describe(reference: Pkcs11Reference, key: OpenedKey): KeyDescription {
  const handle = createPublicKey({ key: { ...key.jwk }, format: 'jwk' })
  return {
    uri: reference.uri,
    backend: 'pkcs11',
    version: `token serial ${key.serial}, id ${key.id}`,
    publicKey: publicKeyFromSpki(handle.export({ format: 'der', type: 'spki' })),
    // A key that is not sensitive can be read as it is, whatever the other flag says.
    extractable: key.extractable || !key.sensitive,
    everExtractable: !key.neverExtractable,
    madeInside: key.local,
    protection: 'pkcs11 token',
  }
}

function mechanismInput({ algorithm }: PublicKey, input: SignInput): Uint8Array {
  if (algorithm.kind === 'ed25519') {
    const message = wholeMessage(input)
    // SoftHSM calls an empty message a bad argument, and every unexpected answer costs all keys their session.
    if (message.length > 0) return message
    throw new AirsealError('KEY_UNSUPPORTED', 'a token signs no empty message with Ed25519')
  }
  return algorithm.kind === 'rsa' ? concat(SHA256_INFO, input.digest) : input.digest
}

/** Tokens return r ‖ s; clients read DER. */
function clientForm({ algorithm }: PublicKey, signature: Uint8Array): Uint8Array {
  if (algorithm.kind !== 'ec') return signature
  const der = derSignature(signature)
  if (der === null) throw new AirsealError('SIGNATURE_FAULT', 'the token returned no signature')
  return der
}
