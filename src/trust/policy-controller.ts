import { toBase64, utf8, type JsonObject } from '../core/index.ts'
import { objectName, type ConsumerAuthority, type ConsumerTrust } from './consumers.ts'
import type { ScopePolicy } from './model.ts'
import { metadata, yamlFile, type TrustFile } from './render.ts'
import { imageGlobs } from './scopes.ts'

/** policy-controller's TrustRoot with the keys written out: it fetches nothing. */
export function trustRoot(trust: ConsumerTrust): TrustFile {
  const { authorities, timestampAuthorities, logs, ctLogs } = trust
  const log = ({ url, pem }: { readonly url: string; readonly pem: string }): JsonObject => ({
    baseURL: url,
    hashAlgorithm: 'sha-256',
    publicKey: base64(pem),
  })
  const optional = (name: string, items: JsonObject[]): JsonObject =>
    items.length === 0 ? {} : { [name]: items }
  return yamlFile(trust, {
    apiVersion: 'policy.sigstore.dev/v1alpha1',
    kind: 'TrustRoot',
    metadata: metadata(trust),
    spec: {
      sigstoreKeys: {
        tLogs: logs.map(log),
        ...optional('ctLogs', ctLogs.map(log)),
        ...optional('certificateAuthorities', authorities.map(authority)),
        ...optional('timestampAuthorities', timestampAuthorities.map(authority)),
      },
    },
  })
}

function authority({ organization, commonName, url, pem }: ConsumerAuthority): JsonObject {
  return { subject: { organization, commonName }, uri: url, certChain: base64(pem) }
}

/** One ClusterImagePolicy for each policy, and one that refuses what is revoked. An image must meet every one that matches it. */
export function clusterImagePolicies(trust: ConsumerTrust): TrustFile {
  const { revokedImages, policies } = trust
  const revoked = revokedImages.map(({ digest }) => ({ glob: `**@${digest}` }))
  return yamlFile(
    trust,
    ...policies.map((policy) => signedPolicy(trust, policy)),
    ...(revoked.length === 0 ? [] : [refusing(trust, 'revoked-images', revoked)]),
  )
}

function signedPolicy(trust: ConsumerTrust, policy: ScopePolicy): JsonObject {
  const keys = trust.keysOf(policy)
  const images = imageGlobs(policy.scope, '**').map((glob) => ({ glob }))
  if (keys.length === 0 || trust.logs.length === 0) return refusing(trust, policy.name, images)
  return {
    ...head(trust, policy.name),
    spec: {
      mode: 'enforce',
      images,
      authorities: keys.map(({ id, pem }) => ({
        name: `key-${id.slice(0, 16)}`,
        key: { data: pem, hashAlgorithm: 'sha256' },
        ctlog: { url: trust.url, trustRootRef: objectName(trust) },
      })),
    },
  }
}

function refusing(trust: ConsumerTrust, name: string, images: JsonObject[]): JsonObject {
  return {
    ...head(trust, name),
    spec: {
      mode: 'enforce',
      images,
      authorities: [{ name: 'refused', static: { action: 'fail' } }],
    },
  }
}

function head(trust: ConsumerTrust, name: string): JsonObject {
  return {
    apiVersion: 'policy.sigstore.dev/v1beta1',
    kind: 'ClusterImagePolicy',
    metadata: metadata(trust, `${objectName(trust)}-${name.toLowerCase()}`),
  }
}

function base64(text: string): string {
  return toBase64(utf8(text))
}
