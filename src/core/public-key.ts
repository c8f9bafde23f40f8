import { createPublicKey, type KeyObject } from 'node:crypto'
import { KEY_ALGORITHMS, type KeyAlgorithm } from './algorithms.ts'
import { bytesEqual, fromBase64, toBase64, toHex } from './bytes.ts'
import { sha256Hex } from './digest.ts'
import { AirsealError } from './errors.ts'

/** A public key, checked once when it was read. */
export interface PublicKey {
  readonly algorithm: KeyAlgorithm
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** PEM, `PUBLIC KEY`, 64 columns, ends with a newline. */
  readonly pem: string
  /** SHA-256 of `spki`, 64 lower-case hex digits. */
  readonly id: string
  /** EC point, uncompressed (0x04, x, y), raw; empty for other kinds. */
  readonly point: Uint8Array
  readonly handle: KeyObject
}

/**
 * DER before the key itself. Comparing it literally shuts out what node:crypto reads but Go's x509 does not:
 * compressed points, explicit curve parameters, other curves, RSA-PSS identifiers, bytes after the end.
 */
const EC_PREFIX: ReadonlyMap<string, string> = new Map([
  ['ecdsa-p256', '3059301306072a8648ce3d020106082a8648ce3d03010703420004'],
  ['ecdsa-p384', '3076301006072a8648ce3d020106052b8104002203620004'],
  ['ecdsa-p521', '30819b301006072a8648ce3d020106052b810400230381860004'],
])
const ED25519_PREFIX = '302a300506032b6570032100'
const RSA_ALGORITHM = '300d06092a864886f70d0101010500'

/** Ed25519 keys of small order, and their non-canonical spellings: any signature can be made to fit them. */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  '0100000000000000000000000000000000000000000000000000000000000080',
])

/**
 * Reads a SubjectPublicKeyInfo (DER): ECDSA P-256, P-384, P-521, RSA 2048, 3072, 4096 or Ed25519.
 * @throws AirsealError KEY_INVALID when it is no key, KEY_UNSUPPORTED when it is one that airseal does not use
 */
export function publicKeyFromSpki(spki: Uint8Array): PublicKey {
  let handle: KeyObject
  try {
    handle = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch (cause) {
    throw new AirsealError('KEY_INVALID', 'not a public key in SubjectPublicKeyInfo form', {
      cause,
    })
  }
  const name = algorithmName(handle, toHex(spki))
  const algorithm = name === undefined ? undefined : KEY_ALGORITHMS.get(name)
  if (
    algorithm === undefined ||
    !bytesEqual(handle.export({ format: 'der', type: 'spki' }), spki)
  ) {
    throw new AirsealError(
      'KEY_UNSUPPORTED',
      'public key is not ECDSA P-256, P-384 or P-521 (uncompressed), RSA 2048, 3072 or 4096, or Ed25519',
    )
  }
  const point = spki.subarray(spki.length - 2 * (algorithm.coordinateSize ?? 0) - 1)
  return {
    algorithm,
    spki,
    pem: toPem('PUBLIC KEY', spki),
    id: sha256Hex(spki),
    point: algorithm.kind === 'ec' ? point : new Uint8Array(),
    handle,
  }
}

function algorithmName(handle: KeyObject, spkiHex: string): string | undefined {
  for (const [name, prefix] of EC_PREFIX) if (spkiHex.startsWith(prefix)) return name
  if (spkiHex.startsWith(ED25519_PREFIX)) {
    return SMALL_ORDER.has(spkiHex.slice(ED25519_PREFIX.length)) ? undefined : 'ed25519'
  }
  if (
    handle.asymmetricKeyType !== 'rsa' ||
    spkiHex.slice(8, 8 + RSA_ALGORITHM.length) !== RSA_ALGORITHM
  )
    return undefined
  const exponent = handle.asymmetricKeyDetails?.publicExponent ?? 0n
  return exponent >= 3n && exponent % 2n === 1n
    ? `rsa-${handle.asymmetricKeyDetails?.modulusLength}`
    : undefined
}

/**
 * Reads exactly one PEM block `PUBLIC KEY`, white space around it allowed.
 * @throws AirsealError KEY_INVALID or KEY_UNSUPPORTED
 */
export function publicKeyFromPem(pem: string): PublicKey {
  const { label, der } = fromPem(pem)
  if (label !== 'PUBLIC KEY') {
    throw new AirsealError('KEY_INVALID', `PEM block is "${label}", want "PUBLIC KEY"`)
  }
  return publicKeyFromSpki(der)
}

const PEM = /^-----BEGIN ([A-Z0-9 ]{1,64})-----\r?\n([A-Za-z0-9+/=\r\n]+?)\r?\n?-----END \1-----$/

/** The one PEM block in `text`: its label and its bytes (DER). @throws AirsealError KEY_INVALID */
export function fromPem(text: string): { label: string; der: Uint8Array } {
  const found = PEM.exec(text.trim())
  if (found?.[1] === undefined || found[2] === undefined) {
    throw new AirsealError('KEY_INVALID', 'not exactly one PEM block')
  }
  return {
    label: found[1],
    der: fromBase64(found[2].replace(/[\r\n]+/g, ''), 'the PEM block', 'KEY_INVALID'),
  }
}

/** PEM block of `der`: 64 columns, newline at the end. */
export function toPem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** True when both are the same key. */
export function samePublicKey(a: PublicKey, b: PublicKey): boolean {
  return a.id === b.id
}
