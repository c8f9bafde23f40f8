export { buildBundleReferrer, readBundles, readReferredEvidence } from './bundles.ts'
export type { Account, BundleReferrer, ReferredEvidence, StoredBundle } from './bundles.ts'
export { checkedChunks } from './blob-stream.ts'
export { copyImage } from './transfer.ts'
export type { Attached, CopyOptions } from './transfer.ts'
export { initLayout, openLayoutRepository } from './layout.ts'
export { appendLegacyLayer, appendStoredLayer, legacyTag, readLegacyLayers } from './legacy.ts'
export type { LegacyKind, LegacyLayer, NewLayer } from './legacy.ts'
export { parseManifest } from './manifest.ts'
export type { Descriptor, ImageIndex, ImageManifest, Manifest, Platform } from './manifest.ts'
export { MEDIA_TYPES } from './media-types.ts'
export { openRepository, resolveReference } from './open.ts'
export type { OpenOptions } from './open.ts'
export { formatReference, isTag, parseReference } from './reference.ts'
export type { LayoutReference, Reference, RegistryReference } from './reference.ts'
export { openRegistryRepository } from './registry.ts'
export type {
  BlobStream,
  Referrer,
  Referrers,
  Repository,
  StoredManifest,
  StreamingRepository,
} from './repository.ts'
export { DEFAULT_REGISTRY_SETTINGS } from './settings.ts'
export type { RegistrySettings } from './settings.ts'
