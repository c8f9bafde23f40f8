import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  AirsealError,
  digestHex,
  fromUtf8,
  isDigest,
  isObject,
  parseJson,
  type Digest,
} from '../src/core/index.ts'
import type {
  Descriptor,
  Referrers,
  StoredManifest,
  StreamingRepository,
} from '../src/oci/index.ts'
import { readFileOf } from './medium-files.ts'

const KIND = 'dev.cosignproject.cosign/'
const MAX_INDEX = 4 * 1024 * 1024
/** Manifests of bundles are far smaller; what is larger is a layer. Bytes. */
const MAX_MANIFEST = 256 * 1024

/**
 * The repository as `cosign save` left it: its index says what each entry is by the annotation `kind` instead of a tag, and forgets the
 * manifests of bundles, whose blobs are there all the same. Other layouts are given back as they are.
 */
export async function asSavedByCosign(
  layout: StreamingRepository,
  directory: string,
): Promise<StreamingRepository> {
  const path = join(directory, 'index.json')
  const json = parseJson(
    fromUtf8(await readFileOf(path, MAX_INDEX, path), path, 'LAYOUT_INVALID'),
    {
      code: 'LAYOUT_INVALID',
      what: path,
    },
  )
  const manifests =
    isObject(json) && Array.isArray(json['manifests']) ? json['manifests'].filter(isObject) : []
  const byKind = new Map<string, Digest>()
  for (const { digest, annotations } of manifests) {
    const kind = isObject(annotations) ? annotations['kind'] : undefined
    if (
      typeof kind !== 'string' ||
      !kind.startsWith(KIND) ||
      typeof digest !== 'string' ||
      !isDigest(digest)
    )
      continue
    const name = kind.slice(KIND.length)
    // Several images: cosign saves one.
    if (byKind.has(name)) return layout
    byKind.set(name, digest)
  }
  const image = byKind.get('image') ?? byKind.get('imageIndex')
  if (image === undefined) return layout
  const about = new Map<string, Digest>()
  for (const [kind, suffix] of [
    ['sigs', 'sig'],
    ['atts', 'att'],
  ] as const) {
    const digest = byKind.get(kind)
    if (digest !== undefined) about.set(`sha256-${digestHex(image)}.${suffix}`, digest)
  }
  const forgotten = await forgottenReferrers(layout, directory)
  return {
    kind: layout.kind,
    identity: layout.identity,
    location: layout.location,
    exclusive: layout.exclusive,
    resolveTag: (tag) => layout.resolveTag(tag),
    resolveOnly: async () => (await layout.readManifest(image)).descriptor,
    readManifest: (digest) => layout.readManifest(digest),
    readManifestByTag: (tag) => {
      const digest = about.get(tag)
      return digest === undefined ? layout.readManifestByTag(tag) : layout.readManifest(digest)
    },
    hasManifest: (digest) => layout.hasManifest(digest),
    readBlob: (descriptor, maxBytes) => layout.readBlob(descriptor, maxBytes),
    hasBlob: (digest) => layout.hasBlob(digest),
    writeBlob: (bytes) => layout.writeBlob(bytes),
    writeManifest: (bytes, mediaType, target) => layout.writeManifest(bytes, mediaType, target),
    referrers: async (digest): Promise<Referrers> => {
      const listed = await layout.referrers(digest)
      const known = new Set(listed.descriptors.map((one) => one.digest))
      const more = (forgotten.get(digest) ?? []).filter((one) => !known.has(one.digest))
      return { ...listed, descriptors: [...listed.descriptors, ...more] }
    },
    addReferrer: (referrer) => layout.addReferrer(referrer),
    exclusively: (tag, work) => layout.exclusively(tag, work),
    streamBlob: (descriptor) => layout.streamBlob(descriptor),
    writeBlobFrom: (blob) => layout.writeBlobFrom(blob),
    mountBlob: (digest, from) => layout.mountBlob(digest, from),
    deleteManifest: (digest) => layout.deleteManifest(digest),
  }
}

/** Manifests with a subject among the blobs, by that subject. */
async function forgottenReferrers(
  layout: StreamingRepository,
  directory: string,
): Promise<ReadonlyMap<Digest, readonly Descriptor[]>> {
  const found = new Map<Digest, Descriptor[]>()
  const blobs = join(directory, 'blobs', 'sha256')
  for (const name of await readdir(blobs)) {
    const digest = `sha256:${name}`
    if (!isDigest(digest)) continue
    const stored = await smallManifest(layout, digest, join(blobs, name))
    const subject = stored?.manifest.subject?.digest
    if (stored === null || subject === undefined) continue
    found.set(subject, [...(found.get(subject) ?? []), stored.descriptor])
  }
  return found
}

/** Null for what is too large, or no manifest. */
async function smallManifest(
  layout: StreamingRepository,
  digest: Digest,
  path: string,
): Promise<StoredManifest | null> {
  try {
    const bytes = await readFileOf(path, MAX_MANIFEST, path)
    if (!bytes.includes('"subject"')) return null
    return await layout.readManifest(digest)
  } catch (error) {
    if (error instanceof AirsealError) return null
    throw error
  }
}
