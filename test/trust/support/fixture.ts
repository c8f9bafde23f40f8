import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import {
  isObject,
  parseJson,
  publicKeyFromSpki,
  type JsonObject,
  type PublicKey,
} from '../../../src/core/index.ts'
import { trustedRootText } from '../../../src/sigstore/index.ts'
import {
  sealBundle,
  signedBytes,
  unsignedBundle,
  type RootKey,
  type SignedTrustBundle,
  type SignerKey,
  type TrustDocument,
} from '../../../src/trust/index.ts'

/** Trust bundles for tests, with keys that are made anew in each run. */

export interface TestKey extends RootKey {
  readonly privateKey: KeyObject
}

export const CREATED = Date.parse('2026-11-24T00:00:00.000Z')
export const DAY = 24 * 60 * 60 * 1000

export function testKey(name: string): TestKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' }))
  return { name, key, privateKey }
}

export function signerKey({ name, key }: RootKey, changes: Partial<SignerKey> = {}): SignerKey {
  const free = { validFor: null, validIn: null, reason: null }
  return { name, key, state: 'active', ...free, ...changes }
}

export function rootWithLog(logPublicKey: PublicKey, baseUrl: string): JsonObject {
  const root = parseJson(trustedRootText({ baseUrl, logPublicKey, start: '2026-11-24T00:00:00Z' }))
  if (!isObject(root)) throw new Error('no trusted root')
  return root
}

/** Version 1 of an enclave with one root, one signer and one log. */
export function document(
  roots: readonly RootKey[],
  signer: RootKey,
  log: RootKey,
  changes: Partial<TrustDocument> = {},
): TrustDocument {
  const url = changes.url ?? 'http://airseal.test:8470'
  return {
    enclave: 'airseal.test',
    version: 1,
    created: CREATED,
    expires: CREATED + 365 * DAY,
    updateDays: 30,
    previous: null,
    url,
    roots: {
      version: 1,
      threshold: roots.length,
      keys: roots.map(({ name, key }) => ({ name, key })),
    },
    keys: [signerKey(signer)],
    trustedRoot: rootWithLog(log.key, url),
    foreign: [],
    revocations: { keys: [], images: [], entries: [] },
    policies: [{ name: 'default', scope: '*', keys: null }],
    tuf: null,
    ...changes,
  }
}

/** Signs a document with these keys. @throws AirsealError when they are not enough */
export function seal(
  content: TrustDocument,
  signers: readonly TestKey[],
  chain: readonly SignedTrustBundle[] = [],
): SignedTrustBundle {
  const unsigned = unsignedBundle(content)
  const signatures = signers.map(({ key, privateKey }) => ({
    keyid: key.id,
    sig: sign('sha256', signedBytes(unsigned.payload), privateKey),
  }))
  return sealBundle(unsigned, signatures, chain)
}

/** The version after `bundle`, with changes. */
export function after(
  bundle: SignedTrustBundle,
  changes: Partial<TrustDocument> = {},
): TrustDocument {
  const { document, digest } = bundle
  return {
    ...document,
    version: document.version + 1,
    created: document.created + DAY,
    expires: document.expires + DAY,
    previous: digest,
    ...changes,
  }
}
