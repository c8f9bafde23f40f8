import {
  AirsealError,
  fromHex,
  parseJson,
  publicKeyFromSpki,
  toBase64,
  toHex,
} from '../core/index.ts'
import type { Json, JsonObject, PublicKey } from '../core/index.ts'
import {
  arrayAt,
  bad,
  bytesAt,
  objectAt,
  optionalObjectAt,
  type Source,
  stringAt,
} from './protojson.ts'

/** The one media type that every client reads. */
const WRITTEN_TYPE = 'application/vnd.dev.sigstore.trustedroot+json;version=0.1'
const READ_TYPES: readonly string[] = [
  WRITTEN_TYPE,
  'application/vnd.dev.sigstore.trustedroot.v0.1+json',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
]
const MAX_ITEMS = 64
const MAX_CHAIN = 8
const RFC3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/

/** When something may be used, milliseconds since 1970; both ends inclusive. */
export interface Validity {
  readonly start: number
  /** Null: no end. */
  readonly end: number | null
}

/** A transparency log of a trusted root. */
export interface RootLog {
  readonly baseUrl: string
  readonly publicKey: PublicKey
  /**
   * 64 lower-case hex digits, as the document says: the SHA-256 of the key's SPKI, or for Rekor v2 with Ed25519 the note key id, which
   * covers the log's name.
   */
  readonly logId: string
  readonly validFor: Validity
}

/** A certificate or time-stamp authority. */
export interface RootAuthority {
  readonly uri: string
  /** DER, the root last, at least one. */
  readonly chain: readonly Uint8Array[]
  readonly validFor: Validity
}

/** A certificate-transparency log. */
export interface RootCtLog {
  readonly baseUrl: string
  readonly spki: Uint8Array
  readonly keyDetails: string
  /** SHA-256 of the key's SPKI, 64 lower-case hex digits. */
  readonly logId: string
  readonly validFor: Validity
}

export interface TrustedRoot {
  readonly logs: readonly RootLog[]
  readonly ctLogs: readonly RootCtLog[]
  readonly certificateAuthorities: readonly RootAuthority[]
  readonly timestampAuthorities: readonly RootAuthority[]
}

export interface TrustedRootInput {
  /** URL of the log with scheme; its host must be the name in the log's checkpoints, or clients refuse them. */
  readonly baseUrl: string
  readonly logPublicKey: PublicKey
  /** RFC 3339; entries before it are refused. */
  readonly start: string
  readonly end?: string | undefined
}

/** Text of a trusted root that names one log, as `cosign trusted-root create --rekor` would write it. */
export function trustedRootText(input: TrustedRootInput): string {
  const { logPublicKey: key } = input
  return `${JSON.stringify(
    {
      mediaType: WRITTEN_TYPE,
      tlogs: [
        {
          baseUrl: input.baseUrl,
          hashAlgorithm: 'SHA2_256',
          publicKey: {
            rawBytes: toBase64(key.spki),
            keyDetails: key.algorithm.keyDetails,
            validFor: {
              start: input.start,
              ...(input.end === undefined ? {} : { end: input.end }),
            },
          },
          logId: { keyId: toBase64(fromHex(key.id, 'log key id')) },
        },
      ],
    },
    null,
    2,
  )}\n`
}

/**
 * Reads a trusted root v0.1 or v0.2. Trust comes from the operator, yet a mistake in it must not widen it: unknown members, a log without
 * start of validity and two logs with one id are refused.
 * @throws AirsealError TRUST_INVALID
 */
export function parseTrustedRoot(text: string): TrustedRoot {
  const source: Source = { code: 'TRUST_INVALID', what: 'the trusted root' }
  const root = objectAt(source, parseJson(text, { maxDepth: 16, ...source }), 'root', [
    'mediaType',
    'tlogs',
    'ctlogs',
    'certificateAuthorities',
    'timestampAuthorities',
  ])
  if (!READ_TYPES.includes(stringAt(source, root['mediaType'], 'mediaType'))) {
    throw bad(source, 'mediaType is not a trusted root of version 0.1 or 0.2')
  }
  const items = (name: string) => arrayAt(source, root[name], name, MAX_ITEMS)
  const logs = items('tlogs').map((log, index) => parseLog(source, log, `tlogs[${index}]`))
  if (new Set(logs.map(({ logId }) => logId)).size !== logs.length) {
    throw bad(source, 'two tlogs have one logId')
  }
  return {
    logs,
    ctLogs: items('ctlogs').map((log, index) => parseCtLog(source, log, `ctlogs[${index}]`)),
    certificateAuthorities: items('certificateAuthorities').map((authority, index) =>
      parseAuthority(source, authority, `certificateAuthorities[${index}]`),
    ),
    timestampAuthorities: items('timestampAuthorities').map((authority, index) =>
      parseAuthority(source, authority, `timestampAuthorities[${index}]`),
    ),
  }
}

function parseLog(source: Source, value: Json, path: string): RootLog {
  const log = parseCtLog(source, value, path)
  return {
    baseUrl: log.baseUrl,
    publicKey: keyOf(source, log.spki, path),
    logId: log.logId,
    validFor: log.validFor,
  }
}

function keyOf(source: Source, spki: Uint8Array, path: string): PublicKey {
  try {
    return publicKeyFromSpki(spki)
  } catch (cause) {
    throw new AirsealError(
      source.code,
      `${source.what}: ${path}.publicKey is not a key that airseal reads`,
      { cause },
    )
  }
}

function parseCtLog(source: Source, value: Json, path: string): RootCtLog {
  const log = objectAt(source, value, path, [
    'baseUrl',
    'hashAlgorithm',
    'publicKey',
    'logId',
    'checkpointKeyId',
    'operator',
  ])
  if (stringAt(source, log['hashAlgorithm'], `${path}.hashAlgorithm`) !== 'SHA2_256') {
    throw bad(source, `${path}.hashAlgorithm is not SHA2_256`)
  }
  const key = objectAt(source, log['publicKey'], `${path}.publicKey`, [
    'rawBytes',
    'keyDetails',
    'validFor',
  ])
  const id = objectAt(source, log['logId'], `${path}.logId`, ['keyId'])
  const keyId = bytesAt(source, id['keyId'], `${path}.logId.keyId`)
  if (keyId.length !== 32) throw bad(source, `${path}.logId.keyId is not 32 bytes`)
  const spki = bytesAt(source, key['rawBytes'], `${path}.publicKey.rawBytes`)
  if (spki.length === 0) throw bad(source, `${path}.publicKey.rawBytes is empty`)
  return {
    baseUrl: stringAt(source, log['baseUrl'], `${path}.baseUrl`),
    spki,
    keyDetails: stringAt(source, key['keyDetails'], `${path}.publicKey.keyDetails`),
    logId: toHex(keyId),
    validFor: parseValidity(source, key['validFor'], `${path}.publicKey.validFor`),
  }
}

function parseAuthority(source: Source, value: Json, path: string): RootAuthority {
  const authority = objectAt(source, value, path, [
    'subject',
    'uri',
    'certChain',
    'validFor',
    'operator',
  ])
  const holder = objectAt(source, authority['certChain'], `${path}.certChain`, ['certificates'])
  const chain = arrayAt(source, holder['certificates'], `${path}.certificates`, MAX_CHAIN).map(
    (certificate) =>
      bytesAt(
        source,
        objectAt(source, certificate, path, ['rawBytes'])['rawBytes'],
        `${path}.rawBytes`,
      ),
  )
  if (chain.length === 0) throw bad(source, `${path}.certChain has no certificate`)
  return {
    uri: stringAt(source, authority['uri'], `${path}.uri`),
    chain,
    validFor: parseValidity(source, authority['validFor'], `${path}.validFor`),
  }
}

/** Missing must not mean unbounded: sigstore-conformance refuses such roots too. */
function parseValidity(source: Source, value: Json | undefined, path: string): Validity {
  const range: JsonObject | null = optionalObjectAt(source, value, path, ['start', 'end'])
  const start = range === null ? null : time(source, range['start'], `${path}.start`)
  if (range === null || start === null) throw bad(source, `${path}.start is missing`)
  const end = time(source, range['end'], `${path}.end`)
  if (end !== null && end < start) throw bad(source, `${path} ends before it starts`)
  return { start, end }
}

/** Milliseconds of an RFC 3339 time, null when absent; finer digits are dropped. */
function time(source: Source, value: Json | undefined, path: string): number | null {
  if (value === undefined || value === null) return null
  const found = typeof value === 'string' ? RFC3339.exec(value) : null
  const fraction = (found?.[2] ?? '').padEnd(3, '0').slice(0, 3)
  const milliseconds =
    found === null ? Number.NaN : Date.parse(`${found[1] ?? ''}.${fraction}${found[3] ?? ''}`)
  if (Number.isNaN(milliseconds)) throw bad(source, `${path} is not an RFC 3339 time`)
  return milliseconds
}
