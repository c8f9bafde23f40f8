import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  sign,
  type KeyObject,
  type KeyPairKeyObjectResult,
} from 'node:crypto'
import { open } from 'node:fs/promises'
import { resolve as resolvePath } from 'node:path'
import {
  AirsealError,
  publicKeyFromSpki,
  sha256Hex,
  type KeyAlgorithm,
  type PublicKey,
} from '../../src/core/index.ts'
import type { Backend, KeyDescription, SignInput } from '../backend.ts'
import { decryptKeyFile, encryptKeyFile } from '../cosign-key-file.ts'
import { readSecretFile } from '../secret-file.ts'
import type { FileReference } from '../reference.ts'
import type { Signer } from '../signer.ts'
import { verifiedSigner } from '../verified-signer.ts'
import { signDigest } from './file-digest.ts'

const NEVER = new AbortController().signal

/**
 * Bytes of a message that P-256 and Ed25519 keys sign on the calling thread: less work than waking another one. Other keys take milliseconds.
 */
const MAX_SIGNED_HERE = 16_384

const P256: Pick<KeyAlgorithm, 'kind' | 'curve' | 'bits'> = { kind: 'ec', curve: 'prime256v1' }

export interface FileKey {
  readonly name: string
  /** Path of a cosign key file, mode 0600 or stricter. */
  readonly path: string
  readonly passphrase: string
}

/**
 * Opens a cosign key file as a signer. The key stays in this process.
 * @throws AirsealError KEY_INVALID, PASSPHRASE, KEY_UNSUPPORTED, DATA_PERMISSIONS
 */
export async function openFileSigner({ name, path, passphrase }: FileKey): Promise<Signer> {
  const backend = await fileBackend({ backend: 'file', uri: `file:${path}`, path }, passphrase)
  const { publicKey } = backend.description
  // No retries and no deadline: there is nothing to wait for.
  const sign = (input: SignInput) => backend.sign(input, NEVER)
  const { hash } = publicKey.algorithm
  return verifiedSigner({ name, publicKey, hash, sign, close: () => backend.close() })
}

/** Makes a key; cosign makes only ECDSA P-256, and reads all of them. @returns the text of its cosign key file, and the public key */
export async function generateKeyFile(
  passphrase: string,
  algorithm: Pick<KeyAlgorithm, 'kind' | 'curve' | 'bits'> = P256,
): Promise<{ keyFile: string; publicKey: PublicKey }> {
  const { publicKey, privateKey } = await generatePair(algorithm)
  const pkcs8 = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }))
  const keyFile = await encryptKeyFile(pkcs8, passphrase)
  pkcs8.fill(0)
  return {
    keyFile,
    publicKey: publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' })),
  }
}

function generatePair({
  kind,
  curve = '',
  bits = 0,
}: Pick<KeyAlgorithm, 'kind' | 'curve' | 'bits'>): Promise<KeyPairKeyObjectResult> {
  return new Promise((resolve, reject) => {
    const done = (cause: Error | null, publicKey: KeyObject, privateKey: KeyObject): void => {
      if (cause === null) resolve({ publicKey, privateKey })
      else reject(new AirsealError('KEY_UNAVAILABLE', 'no key could be made', { cause }))
    }
    if (kind === 'ec') generateKeyPair('ec', { namedCurve: curve }, done)
    else if (kind === 'rsa') generateKeyPair('rsa', { modulusLength: bits }, done)
    else generateKeyPair('ed25519', {}, done)
  })
}

function privateKeyFromPkcs8(pkcs8: Uint8Array): KeyObject {
  try {
    // The same memory, so that nothing is left of it.
    const key = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length)
    return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
  } catch {
    // The cause is dropped on purpose: OpenSSL's message could quote the key.
    throw new AirsealError('KEY_INVALID', 'the key file holds no PKCS#8 private key')
  } finally {
    pkcs8.fill(0)
  }
}

/** Never says that the key can't leave: it is a file. */
async function openFile(path: string, passphrase: string): Promise<FileBackend> {
  const text = await readSecretFile(path)
  const pkcs8 = await decryptKeyFile(text, passphrase)
  const privateKey = privateKeyFromPkcs8(pkcs8)
  const publicKey = publicKeyFromSpki(
    createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
  )
  return { privateKey, publicKey, file: sha256Hex(text) }
}

interface FileBackend {
  readonly privateKey: KeyObject
  readonly publicKey: PublicKey
  /** SHA-256 of the key file, hex. */
  readonly file: string
}

/**
 * A cosign key file as a back-end. The passphrase is not kept, so nothing here may hold on to it.
 * @throws AirsealError KEY_INVALID, PASSPHRASE, KEY_UNSUPPORTED, DATA_PERMISSIONS, KEY_UNAVAILABLE
 */
export async function fileBackend(
  { uri, path }: FileReference,
  passphrase: string,
): Promise<Backend> {
  return backendOf(uri, path, await openFile(path, passphrase))
}

function backendOf(
  uri: string,
  path: string,
  { privateKey, publicKey, file }: FileBackend,
): Backend {
  const describe = (key: PublicKey): KeyDescription => ({
    uri,
    backend: 'file',
    version: resolvePath(path),
    publicKey: key,
    extractable: true,
    everExtractable: true,
    madeInside: null,
    protection: 'software',
  })
  let key: KeyObject | null = privateKey
  const { kind, curve } = publicKey.algorithm
  const isFast = curve === 'prime256v1' || kind === 'ed25519'

  function makeSignature({ message, digest, hash }: SignInput): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const fail = (cause?: unknown): void => {
        const why = key === null ? 'is closed' : 'did not sign'
        reject(new AirsealError('KEY_UNAVAILABLE', `the key file ${why}`, { cause }))
      }
      if (key === null) {
        fail()
      } else if (message === null) {
        resolve(signDigest(key, publicKey, digest, hash))
      } else if (isFast && message.length <= MAX_SIGNED_HERE) {
        try {
          resolve(sign(hash, message, key))
        } catch (cause) {
          fail(cause)
        }
      } else {
        sign(hash, message, key, (error, signature) => {
          if (error) fail(error)
          else resolve(signature)
        })
      }
    })
  }

  return {
    description: describe(publicKey),
    sign: makeSignature,
    async resolve() {
      if (sha256Hex(await readSecretFile(path)) === file) return describe(publicKey)
      throw new AirsealError(
        'KEY_CHANGED',
        `${path} was written anew; the key that was in it signs until airseal is started again`,
      )
    },
    close() {
      key = null
      return Promise.resolve()
    },
  }
}

/**
 * Makes a key, writes its cosign key file (0600) and flushes it.
 * @throws AirsealError KEY_EXISTS, KEY_UNAVAILABLE
 */
export async function createFileKey(
  { path }: FileReference,
  passphrase: string,
  algorithm: KeyAlgorithm,
): Promise<PublicKey> {
  const { keyFile, publicKey } = await generateKeyFile(passphrase, algorithm)
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    const exists = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    throw new AirsealError(
      exists ? 'KEY_EXISTS' : 'KEY_UNAVAILABLE',
      exists ? `${path} exists already` : `${path} can't be written`,
      { cause },
    )
  })
  try {
    await file.writeFile(keyFile)
    await file.sync()
  } finally {
    await file.close()
  }
  return publicKey
}
