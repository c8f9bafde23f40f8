import { generateKeyPair, sign, type KeyObject } from 'node:crypto'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { AirsealError, publicKeyFromSpki } from '../../src/core/index.ts'
import { encryptKeyFiles } from '../cosign-key-file.ts'
import type { Signer } from '../signer.ts'
import { verifiedSigner } from '../verified-signer.ts'

export interface NewFile {
  readonly name: string
  /** Where its cosign key file is written, mode 0600. */
  readonly path: string
}

const makePair = promisify(generateKeyPair)

/**
 * Makes ECDSA P-256 keys and their files, and gives them open: making and opening them one by one costs a key derivation each time.
 * @throws AirsealError KEY_EXISTS, KEY_UNAVAILABLE; what was written before stays
 */
export async function createFileSigners(
  files: readonly NewFile[],
  passphrase: string,
): Promise<readonly Signer[]> {
  const pairs = await Promise.all(files.map(() => makePair('ec', { namedCurve: 'P-256' })))
  const secrets = pairs.map(({ privateKey }) =>
    Uint8Array.from(privateKey.export({ format: 'der', type: 'pkcs8' })),
  )
  const texts = await encryptKeyFiles(secrets, passphrase)
  for (const secret of secrets) secret.fill(0)
  for (const [at, { path }] of files.entries()) await writeNew(path, texts[at] ?? '')
  return pairs.map((pair, at) => signerOf(files[at]?.name ?? '', pair))
}

function signerOf(
  name: string,
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
): Signer {
  let key: KeyObject | null = privateKey
  return verifiedSigner({
    name,
    publicKey: publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' })),
    hash: 'sha256',
    sign: ({ message }) => {
      if (key === null)
        return Promise.reject(new AirsealError('KEY_UNAVAILABLE', `key "${name}" is closed`))
      if (message === null)
        return Promise.reject(new AirsealError('KEY_UNSUPPORTED', `key "${name}" signs no digests`))
      return Promise.resolve(sign('sha256', message, key))
    },
    close: () => {
      key = null
      return Promise.resolve()
    },
  })
}

async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    const exists = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    const why = exists ? 'exists already' : "can't be written"
    throw new AirsealError(exists ? 'KEY_EXISTS' : 'KEY_UNAVAILABLE', `${path} ${why}`, { cause })
  })
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}
