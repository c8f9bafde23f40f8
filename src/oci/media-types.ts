/** Media types of OCI, Docker and Sigstore that airseal reads or writes. */
export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  simpleSigning: 'application/vnd.dev.cosign.simplesigning.v1+json',
  dsseEnvelope: 'application/vnd.dsse.envelope.v1+json',
  bundle: 'application/vnd.dev.sigstore.bundle.v0.3+json',
} as const

/** Manifest types that are read, and whether they list layers or other manifests. */
export const MANIFEST_KINDS: ReadonlyMap<string, 'image' | 'index'> = new Map([
  [MEDIA_TYPES.ociManifest, 'image'],
  [MEDIA_TYPES.ociIndex, 'index'],
  [MEDIA_TYPES.dockerManifest, 'image'],
  [MEDIA_TYPES.dockerList, 'index'],
])

/** Every bundle version starts so: `…bundle+json;version=0.1`, `…bundle.v0.3+json`. */
export const BUNDLE_PREFIX = 'application/vnd.dev.sigstore.bundle'
