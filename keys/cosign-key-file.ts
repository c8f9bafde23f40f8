import { randomBytes, scrypt } from 'node:crypto'
import { secretbox } from '@noble/ciphers/salsa.js'
import {
  AirsealError,
  canonicalJson,
  fromBase64,
  fromPem,
  fromUtf8,
  isObject,
  parseJson,
  toBase64,
  toPem,
  utf8,
  type Json,
} from '../src/core/index.ts'

/** PEM label that cosign writes today, and the older one that Podman and skopeo still write. */
const LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY'
const OLD_LABEL = 'ENCRYPTED COSIGN PRIVATE KEY'

/** Costs that cosign reads. Anything else is refused: a hostile file must not choose how much memory we spend. */
const SCRYPT_COSTS: ReadonlySet<number> = new Set([32768, 65536, 131072])
const SCRYPT_COST = 65536
const BLOCK_SIZE = 8
const PARALLELISM = 1
const MAX_MEMORY = 256 * 1024 * 1024
const NONCE_SIZE = 24
const SALT_SIZE = 32

/**
 * Encrypts a private key as cosign does: scrypt and NaCl secretbox (XSalsa20-Poly1305).
 * @param pkcs8 - PKCS#8, DER
 * @returns PEM text of the key file
 */
export async function encryptKeyFile(pkcs8: Uint8Array, passphrase: string): Promise<string> {
  const [keyFile = ''] = await encryptKeyFiles([pkcs8], passphrase)
  return keyFile
}

/**
 * The same for several keys that are made together: they share the salt, and so the costly derivation; each has a nonce of its own.
 * @param keys - PKCS#8, DER
 */
export async function encryptKeyFiles(
  keys: readonly Uint8Array[],
  passphrase: string,
): Promise<readonly string[]> {
  const salt = randomBytes(SALT_SIZE)
  const key = await deriveKey(passphrase, salt, SCRYPT_COST)
  const files = keys.map((pkcs8) => {
    const nonce = randomBytes(NONCE_SIZE)
    const document = {
      kdf: {
        name: 'scrypt',
        params: { N: SCRYPT_COST, r: BLOCK_SIZE, p: PARALLELISM },
        salt: toBase64(salt),
      },
      cipher: { name: 'nacl/secretbox', nonce: toBase64(nonce) },
      ciphertext: toBase64(secretbox(key, nonce).seal(pkcs8)),
    }
    return toPem(LABEL, utf8(JSON.stringify(document)))
  })
  key.fill(0)
  return files
}

/**
 * Opens a cosign key file.
 * @returns PKCS#8, DER
 * @throws AirsealError KEY_INVALID when the file is no cosign key file, PASSPHRASE when the passphrase does not open it
 */
export async function decryptKeyFile(pem: string, passphrase: string): Promise<Uint8Array> {
  const { label, der } = fromPem(pem)
  if (label !== LABEL && label !== OLD_LABEL) {
    throw new AirsealError('KEY_INVALID', `key file is "${label}", want "${LABEL}"`)
  }
  const box = parseBox(
    parseJson(fromUtf8(der, 'the key file', 'KEY_INVALID'), {
      code: 'KEY_INVALID',
      what: 'the key file',
    }),
  )
  const key = await deriveKey(passphrase, box.salt, box.cost)
  try {
    return secretbox(key, box.nonce).open(box.ciphertext)
  } catch {
    // No cause: the library's message adds nothing, and nothing about the passphrase may travel.
    throw new AirsealError('PASSPHRASE', 'the passphrase does not open the key file')
  } finally {
    key.fill(0)
  }
}

function parseBox(document: Json): {
  cost: number
  salt: Uint8Array
  nonce: Uint8Array
  ciphertext: Uint8Array
} {
  const kdf = isObject(document) ? document['kdf'] : undefined
  const cipher = isObject(document) ? document['cipher'] : undefined
  const params = isObject(kdf) ? kdf['params'] : undefined
  if (!isObject(document) || !isObject(kdf) || !isObject(cipher) || !isObject(params)) {
    throw new AirsealError('KEY_INVALID', 'key file lacks kdf, kdf.params or cipher')
  }
  const cost = params['N']
  const known =
    canonicalJson({ N: cost ?? null, p: PARALLELISM, r: BLOCK_SIZE }) === canonicalJson(params)
  if (kdf['name'] !== 'scrypt' || typeof cost !== 'number' || !SCRYPT_COSTS.has(cost) || !known) {
    throw new AirsealError(
      'KEY_INVALID',
      'key file does not use scrypt with N 32768, 65536 or 131072, r 8, p 1',
    )
  }
  if (cipher['name'] !== 'nacl/secretbox') {
    throw new AirsealError('KEY_INVALID', 'key file does not use nacl/secretbox')
  }
  const nonce = bytesMember(cipher['nonce'], 'cipher.nonce')
  if (nonce.length !== NONCE_SIZE)
    throw new AirsealError('KEY_INVALID', `cipher.nonce is not ${NONCE_SIZE} bytes`)
  return {
    cost,
    salt: bytesMember(kdf['salt'], 'kdf.salt'),
    nonce,
    ciphertext: bytesMember(document['ciphertext'], 'ciphertext'),
  }
}

function bytesMember(value: Json | undefined, name: string): Uint8Array {
  if (typeof value !== 'string') throw new AirsealError('KEY_INVALID', `${name} is missing`)
  return new Uint8Array(fromBase64(value, name, 'KEY_INVALID'))
}

function deriveKey(passphrase: string, salt: Uint8Array, cost: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const options = { N: cost, r: BLOCK_SIZE, p: PARALLELISM, maxmem: MAX_MEMORY }
    scrypt(passphrase, salt, 32, options, (error, key) => {
      if (error) reject(new AirsealError('KEY_UNAVAILABLE', 'scrypt failed', { cause: error }))
      else resolve(new Uint8Array(key))
    })
  })
}
