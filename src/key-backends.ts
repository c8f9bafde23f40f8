import { isAbsolute, join, relative } from 'node:path'
import {
  checkSigner,
  createKey,
  openSigner,
  parseKeyReference,
  type KeyCheck,
  type OpenedSigner,
} from '../keys/index.ts'
import { AirsealError, type PublicKey } from './core/index.ts'

/** A key file needs no waiting for: what takes long here is the machine. */
const FILE_LIMITS = { attempt: 60_000, deadline: 60_000 }

/** Where private keys are, as the registry of keys reaches them. */
export interface KeyBackends {
  /** @param expected - absent: the key is not registered yet. @throws AirsealError as openSigner gives it */
  open(name: string, uri: string, expected?: PublicKey): Promise<OpenedSigner>
  /** @throws AirsealError KEY_EXISTS, KEY_UNSUPPORTED, KEY_REFERENCE… */
  create(uri: string, algorithm: string): Promise<PublicKey>
  check(signer: OpenedSigner): Promise<KeyCheck>
  /** The URI as it is stored: files inside the data directory relative to it, so that the directory can move. @throws AirsealError KEY_REFERENCE */
  stored(uri: string): string
}

/** @param passphrase - of key files; asked for when one is opened, and kept elsewhere */
export function keyBackends(root: string, passphrase: () => Promise<string>): KeyBackends {
  const options = async (uri: string): Promise<Parameters<typeof openSigner>[2]> => {
    if (parseKeyReference(uri).backend !== 'file') return {}
    return { passphrase: await passphrase(), limits: FILE_LIMITS }
  }
  return {
    async open(name, uri, expected) {
      const where = resolveUri(uri, root)
      const given = await options(where)
      return openSigner(name, where, { ...given, ...(expected && { expected }) })
    },
    async create(uri, algorithm) {
      const where = resolveUri(uri, root)
      return createKey(where, algorithm, await options(where))
    },
    check: checkSigner,
    stored(uri) {
      const reference = parseKeyReference(uri)
      if (reference.backend !== 'file') return uri
      const inside = relative(root, absolute(reference.path, root))
      return inside.startsWith('..') || isAbsolute(inside) ? uri : `file:${inside}`
    },
  }
}

function resolveUri(uri: string, root: string): string {
  const reference = parseKeyReference(uri)
  return reference.backend === 'file' ? `file:${absolute(reference.path, root)}` : uri
}

function absolute(path: string, root: string): string {
  return isAbsolute(path) ? path : join(root, path)
}

/**
 * Which keys can sign images: those that hash with SHA-256. cosign, Kyverno and Podman verify with SHA-256 whatever the curve, and Rekor demands
 * it of envelopes, but of a P-384 key's `hashedrekord` entry it demands SHA-384 (P-521: SHA-512): no signature by such a key satisfies both.
 * An Ed25519 key does not sign the digest that a `hashedrekord` holds.
 * @throws AirsealError KEY_UNSUPPORTED
 */
export function requireImageKey({
  publicKey: { algorithm },
}: {
  readonly publicKey: Pick<PublicKey, 'algorithm'>
}): void {
  if (algorithm.hash === 'sha256') return
  throw new AirsealError(
    'KEY_UNSUPPORTED',
    `the signing key is ${algorithm.name}: cosign, Kyverno, Podman and Rekor agree on signatures of ECDSA P-256 and RSA keys only`,
  )
}
