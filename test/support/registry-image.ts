import { digestOf, utf8, type Digest } from '../../src/core/index.ts'
import {
  appendLegacyLayer,
  buildBundleReferrer,
  DEFAULT_REGISTRY_SETTINGS,
  openRepository,
  parseReference,
  type RegistrySettings,
  type Repository,
} from '../../src/oci/index.ts'
import { DSSE_TYPE, SIMPLE_SIGNING_TYPE } from '../../src/sigstore/index.ts'
import {
  attestationLayer,
  bundleOf,
  legacyLayer,
  NOW,
  type Enveloped,
  type LegacySignature,
} from './evidence.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

export const SETTINGS: RegistrySettings = { ...DEFAULT_REGISTRY_SETTINGS, timeoutMs: 2_000 }

/** An image without layers in a registry, and ways to put evidence beside it. */
export interface RegistryImage {
  readonly repository: Repository
  readonly digest: Digest
  /** `HOST/REPOSITORY@sha256:…` */
  readonly reference: string
  readonly pushLegacy: (signature: LegacySignature) => Promise<unknown>
  readonly pushAttestation: (signed: Enveloped) => Promise<unknown>
  readonly pushBundle: (signed: Enveloped, predicateType: string) => Promise<void>
}

/** @param name - `HOST/REPOSITORY:TAG`; the same name gives the same image */
export async function registryImage(name: string): Promise<RegistryImage> {
  const repository = await openRepository(parseReference(name), SETTINGS)
  const config = await repository.writeBlob(utf8('{}'))
  const manifest = utf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: 'application/vnd.oci.empty.v1+json', ...config },
      layers: [],
      annotations: { name },
    }),
  )
  const digest = digestOf(manifest)
  const tag = name.slice(name.lastIndexOf(':') + 1)
  await repository.writeManifest(manifest, MANIFEST, tag)
  return {
    repository,
    digest,
    reference: `${name.slice(0, name.lastIndexOf(':'))}@${digest}`,
    pushLegacy: (signature) => {
      const { payload, annotations } = legacyLayer(signature)
      const layer = { mediaType: SIMPLE_SIGNING_TYPE, blob: payload, annotations }
      return appendLegacyLayer(repository, digest, 'sig', layer, () => false)
    },
    pushAttestation: (signed) => {
      const { payload, annotations } = attestationLayer(signed)
      const layer = { mediaType: DSSE_TYPE, blob: payload, annotations }
      return appendLegacyLayer(repository, digest, 'att', layer, () => false)
    },
    pushBundle: (signed, predicateType) =>
      repository.addReferrer(
        buildBundleReferrer({
          bundle: utf8(bundleOf(signed)),
          subject: { mediaType: MANIFEST, digest, size: manifest.length },
          predicateType,
          created: new Date(NOW),
        }),
      ),
  }
}
