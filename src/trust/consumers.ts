import { canonicalJson, isObject, sha256Hex, toPem, type PublicKey } from '../core/index.ts'
import { parseTrustedRoot, type RootAuthority, type TrustedRoot } from '../sigstore/index.ts'
import { trustOf } from './trust-of.ts'
import type { ScopePolicy, SignedTrustBundle, TrustDocument } from './model.ts'

/** A public key as it goes into consumers' files. */
export interface NamedKey {
  readonly name: string
  /** SHA-256 of the SPKI, hex. */
  readonly id: string
  readonly pem: string
}

/** An authority: its chain as it stands in the bundle, the root last. */
export interface ConsumerAuthority {
  readonly organization: string
  readonly commonName: string
  readonly url: string
  readonly pem: string
}

/**
 * What consumers' files are made of. They know no log index: keys that are active or only verify count in all of the log, retired,
 * compromised and revoked ones nowhere.
 */
export interface ConsumerTrust {
  readonly enclave: string
  readonly version: number
  /** Digest of the bundle's payload. */
  readonly digest: string
  readonly url: string
  /** The default key first, then other active ones, those that only verify, those of carried enclaves. */
  readonly keys: readonly NamedKey[]
  /** The key that signs now; null: none does. */
  readonly current: NamedKey | null
  /** Logs that speak Rekor v1 (ECDSA keys): ours and those of carried enclaves. */
  readonly logs: readonly { readonly url: string; readonly pem: string }[]
  /** Our own certificate and time-stamp authorities. */
  readonly authorities: readonly ConsumerAuthority[]
  readonly timestampAuthorities: readonly ConsumerAuthority[]
  readonly ctLogs: readonly { readonly url: string; readonly pem: string }[]
  /** Images that are revoked, in the order of their digests. */
  readonly revokedImages: readonly { readonly digest: string; readonly repository: string | null }[]
  readonly policies: readonly ScopePolicy[]
  readonly tuf: { readonly mirror: string; readonly root: Uint8Array } | null
  /** Keys that a policy asks for, in the order of `keys`. */
  keysOf(policy: ScopePolicy): readonly NamedKey[]
}

const STATES = ['active', 'verify-only']

/** @throws AirsealError TRUST_INVALID */
export function consumerTrust(bundle: SignedTrustBundle): ConsumerTrust {
  const { document, digest } = bundle
  const trust = trustOf(bundle)
  const revoked = new Set(document.revocations.keys.map(({ keyId }) => keyId))
  const own = document.keys
    .filter(({ key, state }) => STATES.includes(state) && !revoked.has(key.id))
    // The order of the bundle is kept among keys of one state: the default key comes first there.
    .toSorted((a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state))
  const carried = document.foreign.flatMap((root) =>
    root.kind === 'enclave'
      ? consumerTrust(root.bundle).keys.map((key) => ({ ...key, name: `${root.name}/${key.name}` }))
      : [],
  )
  const keys = [...own.map(namedKey), ...carried].filter(({ id }) => !revoked.has(id))
  const vendors = document.foreign
    .flatMap((root) => (root.kind === 'key' ? [namedKey(root)] : []))
    .filter(({ id }) => !revoked.has(id))
  const repositories = new Map(
    document.revocations.images.map((image) => [image.digest, image.repository]),
  )
  const active = own.find(({ state }) => state === 'active')
  const root = parseTrustedRoot(canonicalJson(document.trustedRoot))
  return {
    enclave: document.enclave,
    version: document.version,
    digest,
    url: document.url,
    keys,
    current: active === undefined ? null : namedKey(active),
    logs: allLogs(bundle).flatMap(({ baseUrl, publicKey }) =>
      publicKey.algorithm.kind === 'ec' ? [{ url: baseUrl, pem: publicKey.pem }] : [],
    ),
    authorities: authoritiesOf(document, 'certificateAuthorities', root.certificateAuthorities),
    timestampAuthorities: authoritiesOf(
      document,
      'timestampAuthorities',
      root.timestampAuthorities,
    ),
    ctLogs: root.ctLogs.map(({ baseUrl, spki }) => ({
      url: baseUrl,
      pem: toPem('PUBLIC KEY', spki),
    })),
    revokedImages: [...trust.revoked.digests.keys()].sort().map((revoked) => ({
      digest: revoked,
      repository: repositories.get(revoked) ?? null,
    })),
    policies: document.policies,
    tuf: document.tuf,
    keysOf: (policy) =>
      policy.keys === null
        ? keys
        : [...keys, ...vendors].filter(({ name }) => policy.keys?.includes(name)),
  }
}

/** Our logs and those of carried enclaves, each once. */
function allLogs({ document }: SignedTrustBundle): TrustedRoot['logs'] {
  const logs = [
    document,
    ...document.foreign.flatMap((root) => (root.kind === 'enclave' ? [root.bundle.document] : [])),
  ].flatMap(({ trustedRoot }) => parseTrustedRoot(canonicalJson(trustedRoot)).logs)
  return logs.filter((log, at) => logs.findIndex(({ logId }) => logId === log.logId) === at)
}

function authoritiesOf(
  { trustedRoot }: TrustDocument,
  member: string,
  parsed: readonly RootAuthority[],
): ConsumerAuthority[] {
  const list = trustedRoot[member]
  return parsed.map(({ uri, chain }, at) => {
    const item = Array.isArray(list) ? list[at] : null
    const subject = isObject(item) ? item['subject'] : null
    const named = (name: string): string => {
      const value = isObject(subject) ? subject[name] : null
      return typeof value === 'string' ? value : ''
    }
    return {
      organization: named('organization'),
      commonName: named('commonName'),
      url: uri,
      pem: chain.map((der) => toPem('CERTIFICATE', der)).join(''),
    }
  })
}

/** Name that is fit for Kubernetes: from the enclave's, or a hash of it where that has other characters. */
export function objectName({ enclave }: Pick<ConsumerTrust, 'enclave'>): string {
  const name = `airseal-${enclave.toLowerCase()}`
  return /^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$/.test(name) && !/\.[.-]|-\./.test(name)
    ? name
    : `airseal-${sha256Hex(enclave).slice(0, 16)}`
}

function namedKey({ name, key }: { readonly name: string; readonly key: PublicKey }): NamedKey {
  return { name, id: key.id, pem: key.pem }
}
