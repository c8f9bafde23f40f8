/** Hash functions that signatures use. */
export type HashName = 'sha256' | 'sha384' | 'sha512'

export interface KeyAlgorithm {
  /** Our name, shown to people. */
  readonly name: string
  readonly kind: 'ec' | 'rsa' | 'ed25519'
  /** Curve as node:crypto names it; EC only. */
  readonly curve?: string
  /** Bytes of one coordinate; EC only. */
  readonly coordinateSize?: number
  /** Modulus in bits; RSA only. */
  readonly bits?: number
  /** Hash that belongs to the key where nothing else is said; null: Ed25519 hashes by itself. */
  readonly hash: HashName | null
  /** Name in Sigstore's PublicKeyDetails. */
  readonly keyDetails: string
  /** DER of CKA_EC_PARAMS in PKCS#11, hex; EC and Ed25519 only. Ed25519 as the printable name, which SoftHSM wants for generation. */
  readonly ecParameters?: string
  /** AWS KMS: KeySpec, and the SigningAlgorithm that clients of Sigstore can verify. */
  readonly aws: { readonly keySpec: string; readonly signing: string }
  /** Google Cloud KMS: CryptoKeyVersionAlgorithm; absent: it has none. */
  readonly google?: string
}

/** Facts about key algorithms; nothing else enumerates them. */
export const KEY_ALGORITHMS: ReadonlyMap<string, KeyAlgorithm> = new Map(
  (
    [
      {
        name: 'ecdsa-p256',
        kind: 'ec',
        curve: 'prime256v1',
        coordinateSize: 32,
        hash: 'sha256',
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        ecParameters: '06082a8648ce3d030107',
        aws: { keySpec: 'ECC_NIST_P256', signing: 'ECDSA_SHA_256' },
        google: 'EC_SIGN_P256_SHA256',
      },
      {
        name: 'ecdsa-p384',
        kind: 'ec',
        curve: 'secp384r1',
        coordinateSize: 48,
        hash: 'sha384',
        keyDetails: 'PKIX_ECDSA_P384_SHA_384',
        ecParameters: '06052b81040022',
        aws: { keySpec: 'ECC_NIST_P384', signing: 'ECDSA_SHA_384' },
        google: 'EC_SIGN_P384_SHA384',
      },
      {
        name: 'ecdsa-p521',
        kind: 'ec',
        curve: 'secp521r1',
        coordinateSize: 66,
        hash: 'sha512',
        keyDetails: 'PKIX_ECDSA_P521_SHA_512',
        ecParameters: '06052b81040023',
        aws: { keySpec: 'ECC_NIST_P521', signing: 'ECDSA_SHA_512' },
      },
      {
        name: 'rsa-2048',
        kind: 'rsa',
        bits: 2048,
        hash: 'sha256',
        keyDetails: 'PKIX_RSA_PKCS1V15_2048_SHA256',
        aws: { keySpec: 'RSA_2048', signing: 'RSASSA_PKCS1_V1_5_SHA_256' },
        google: 'RSA_SIGN_PKCS1_2048_SHA256',
      },
      {
        name: 'rsa-3072',
        kind: 'rsa',
        bits: 3072,
        hash: 'sha256',
        keyDetails: 'PKIX_RSA_PKCS1V15_3072_SHA256',
        aws: { keySpec: 'RSA_3072', signing: 'RSASSA_PKCS1_V1_5_SHA_256' },
        google: 'RSA_SIGN_PKCS1_3072_SHA256',
      },
      {
        name: 'rsa-4096',
        kind: 'rsa',
        bits: 4096,
        hash: 'sha256',
        keyDetails: 'PKIX_RSA_PKCS1V15_4096_SHA256',
        aws: { keySpec: 'RSA_4096', signing: 'RSASSA_PKCS1_V1_5_SHA_256' },
        google: 'RSA_SIGN_PKCS1_4096_SHA256',
      },
      {
        name: 'ed25519',
        kind: 'ed25519',
        hash: null,
        keyDetails: 'PKIX_ED25519',
        ecParameters: '130c656477617264733235353139',
        aws: { keySpec: 'ECC_NIST_EDWARDS25519', signing: 'ED25519_SHA_512' },
        google: 'EC_SIGN_ED25519',
      },
    ] as const satisfies readonly KeyAlgorithm[]
  ).map((facts) => [facts.name, facts] as const),
)
