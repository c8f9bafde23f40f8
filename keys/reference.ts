import { AirsealError } from '../src/core/index.ts'
import { parsePkcs11Uri, type Pkcs11Reference } from './pkcs11-uri.ts'

/** Where a key is. `uri` is the text it was read from: it never holds a secret. */
export type KeyReference = FileReference | AwsReference | GoogleReference | Pkcs11Reference

export interface FileReference {
  readonly backend: 'file'
  readonly uri: string
  readonly path: string
}

export interface AwsReference {
  readonly backend: 'aws-kms'
  readonly uri: string
  /** HOST[:PORT], reached by https; null: what the SDK's settings say. */
  readonly host: string | null
  /** Key id, `alias/NAME`, or the ARN of either. */
  readonly keyId: string
}

export interface GoogleReference {
  readonly backend: 'google-kms'
  readonly uri: string
  /** `projects/P/locations/L/keyRings/R/cryptoKeys/K` */
  readonly cryptoKey: string
  /** Null: the highest enabled version when the key is opened. */
  readonly version: bigint | null
}

const MAX_LENGTH = 2_048
const HOST =
  /^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?(:[0-9]{1,5})?$|^\[[0-9a-fA-F:]+\](:[0-9]{1,5})?$/
const AWS_KEY =
  /^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?(key\/)?([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$/
const AWS_ALIAS = /^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?alias\/[A-Za-z0-9/_-]{1,250}$/
const GOOGLE =
  /^(projects\/[A-Za-z0-9.:_-]{1,100}\/locations\/[a-z0-9-]{1,63}\/keyRings\/[A-Za-z0-9_-]{1,63}\/cryptoKeys\/[A-Za-z0-9_-]{1,63})(?:\/(?:cryptoKeyVersions|versions)\/([1-9][0-9]{0,17}))?$/

/**
 * Reads a key URI: `file:PATH`, `awskms://[HOST]/{id|alias/…|arn}`, `gcpkms://projects/…[/cryptoKeyVersions/N]`, or `pkcs11:…` (RFC 7512).
 * @throws AirsealError KEY_REFERENCE
 */
export function parseKeyReference(uri: string): KeyReference {
  if (uri.length > MAX_LENGTH) throw refusal('it is longer than 2,048 characters')
  const scheme = /^([a-z0-9]+):/.exec(uri)?.[1]
  switch (scheme) {
    case 'file':
      return parseFile(uri)
    case 'awskms':
      return parseAws(uri)
    case 'gcpkms':
      return parseGoogle(uri)
    case 'pkcs11':
      return parsePkcs11Uri(uri)
    default:
      throw refusal('its scheme is not file, awskms, gcpkms or pkcs11')
  }
}

function parseFile(uri: string): FileReference {
  // `file:///etc/x` and `file:/etc/x` name the same file, as does `file:x` in this directory; another host does not.
  const path = uri.slice('file:'.length).replace(/^\/\/(?=\/)/, '')
  if (path === '' || path.startsWith('//') || path.includes('\0')) {
    throw refusal('file: wants a path of this machine')
  }
  return { backend: 'file', uri, path }
}

function parseAws(uri: string): AwsReference {
  const found = /^awskms:\/\/([^/]*)\/(.+)$/.exec(uri)
  const [, host = '', keyId = ''] = found ?? []
  if (found === null || (host !== '' && !HOST.test(host))) {
    throw refusal('want awskms://[HOST]/KEY, with three slashes when there is no host')
  }
  const isArn = keyId.startsWith('arn:')
  if (!AWS_ALIAS.test(keyId) && (!AWS_KEY.test(keyId) || keyId.includes('key/') !== isArn)) {
    throw refusal('the part after the host is no key id, alias/NAME or ARN')
  }
  return { backend: 'aws-kms', uri, host: host === '' ? null : host, keyId }
}

function parseGoogle(uri: string): GoogleReference {
  const found = GOOGLE.exec(uri.slice('gcpkms://'.length))
  if (!uri.startsWith('gcpkms://') || found?.[1] === undefined) {
    throw refusal(
      'want gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K[/cryptoKeyVersions/N]',
    )
  }
  const version = found[2] === undefined ? null : BigInt(found[2])
  return { backend: 'google-kms', uri, cryptoKey: found[1], version }
}

function refusal(why: string): AirsealError {
  // The URI itself is left out: somebody may have written a PIN into it.
  return new AirsealError('KEY_REFERENCE', `key reference refused: ${why}`)
}
