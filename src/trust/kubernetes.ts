import { toBase64, utf8, type JsonObject } from '../core/index.ts'
import type { ConsumerTrust } from './consumers.ts'
import { metadataIn, yamlFile, type TrustFile } from './render.ts'

/** Secret with the key that signs now, as `cosign verify --key k8s://NAMESPACE/NAME` and Kyverno's `secret` read it. */
export function cosignSecret(trust: ConsumerTrust): TrustFile | null {
  const { current } = trust
  if (current === null) return null
  return yamlFile(trust, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: metadataIn(trust, 'kyverno'),
    type: 'Opaque',
    data: { 'cosign.pub': base64(current.pem) },
  })
}

/** ConfigMap that policies can take keys from: all of them in one text, so that rotation changes no policy. */
export function keysConfigMap(trust: ConsumerTrust, trustedRoot: string): TrustFile {
  return yamlFile(trust, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: metadataIn(trust, 'kyverno'),
    data: {
      allkeys: trust.keys.map(({ pem }) => pem).join(''),
      rekor: trust.logs[0]?.pem ?? '',
      'trusted_root.json': trustedRoot,
    },
  })
}

/** Secret for Flux's `spec.verify.secretRef`: any of its `.pub` keys may have signed. */
export function fluxSecret(trust: ConsumerTrust): TrustFile {
  const data: JsonObject = Object.fromEntries(
    trust.keys.map(({ id, pem }) => [`key-${id.slice(0, 16)}.pub`, base64(pem)]),
  )
  return yamlFile(trust, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: metadataIn(trust, 'flux-system'),
    type: 'Opaque',
    data,
  })
}

function base64(text: string): string {
  return toBase64(utf8(text))
}
