import {
  AirsealError,
  fromUtf8,
  parseJson,
  toBase64,
  type Digest,
  type JsonObject,
} from '../core/index.ts'
import {
  legacyTag,
  readLegacyLayers,
  readReferredEvidence,
  type Descriptor,
  type LegacyLayer,
  type Repository,
} from '../oci/index.ts'
import {
  envelopeText,
  parseBundle,
  parseCertificateAnnotations,
  parseEnvelope,
  parseStatement,
  predicateTypeUri,
  type Envelope,
} from '../sigstore/index.ts'
import type { Command, Input } from './command.ts'
import { COSIGN_COMMON_OPTIONS, COSIGN_REGISTRY_FOREIGN } from './cosign-options.ts'
import { withProgress } from './progress.ts'
import {
  openImage,
  REGISTRY_OPTIONS,
  SETTINGS_OPTIONS,
  settingsOf,
  type Opened,
} from './registry-options.ts'

const MAX_SBOM = 256 * 1024 * 1024
const ANNOTATION = 'dev.cosignproject.cosign/signature'

interface Output {
  readonly lines: readonly string[]
  /** Said on stderr. */
  readonly note?: string
}

const KINDS: ReadonlyMap<string, (image: Opened, input: Input) => Promise<Output>> = new Map([
  ['signature', signatures],
  ['attestation', attestations],
  ['sbom', sbom],
])

export const command: Command = {
  name: 'download',
  summary: 'Prints the signatures, attestations or SBOM of an image as they are stored.',
  usage: 'signature|attestation|sbom IMAGE',
  takesArguments: true,
  description: `
One JSON document a line, as \`cosign download\` prints them: bundles as they are, legacy signatures with their payload, attestations as DSSE
envelopes. Where an image has bundles, its legacy signatures are not printed unless --signatures asks for them. An SBOM that was attached by
tag is printed as it is. Nothing of it is verified: \`airseal verify\` does that.`,
  options: {
    'predicate-type': {
      type: 'string',
      value: 'TYPE',
      help: 'only attestations of this type: cyclonedx, slsaprovenance1 … or a URI',
    },
    platform: {
      type: 'string',
      value: 'OS/ARCH',
      help: 'attestations or SBOM of the image for this platform',
    },
    signatures: {
      type: 'string',
      value: 'FORMAT',
      help: 'legacy, bundle or both (default: bundle where there are any, else legacy; attestations: both)',
    },
    ...REGISTRY_OPTIONS,
    ...SETTINGS_OPTIONS,
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: COSIGN_REGISTRY_FOREIGN,
  missingIsRefusal: true,
  examples: [
    'airseal download signature registry.example:5000/team/app@sha256:4bc4…',
    'airseal download attestation --predicate-type cyclonedx registry.example:5000/team/app:v1',
  ],
  exitCodes: [[3, 'registry not available']],
  async run(input, terminal) {
    const [kind, image, more] = input.required('kind')
    const read = KINDS.get(kind ?? '')
    if (read === undefined)
      throw new AirsealError(
        'USAGE',
        `download ${(kind ?? '').slice(0, 40)}: want signature, attestation or sbom`,
      )
    if (image === undefined || more !== undefined)
      throw new AirsealError('USAGE', `download ${kind ?? ''} takes one image`)
    const settings = await settingsOf(input, terminal, [image])
    const opened = await openImage(image, settings)
    const { lines, note } = await withProgress(
      terminal,
      input.json,
      `reading ${image}`,
      read(await onPlatform(opened, input.text('platform')), input),
    )
    if (note !== undefined) terminal.stderr(note)
    for (const line of lines) terminal.stdout(line)
    return 0
  },
}

type Formats = 'legacy' | 'bundle' | 'both' | null

function formatsOf(input: Input): Formats {
  const text = input.text('signatures')
  if (text === null || text === 'legacy' || text === 'bundle' || text === 'both') return text
  throw new AirsealError('USAGE', `--signatures ${text.slice(0, 40)}: want legacy, bundle or both`)
}

async function signatures({ repository, descriptor }: Opened, input: Input): Promise<Output> {
  const formats = formatsOf(input)
  const { digest } = descriptor
  const referred = await readReferredEvidence(repository, digest)
  const bundles = formats === 'legacy' ? [] : referred.bundles.map(({ blob }) => jsonLine(blob))
  if (formats === 'bundle' || (formats === null && bundles.length > 0)) return some(bundles, digest)
  const layers = [...(await readLegacyLayers(repository, digest, 'sig')), ...referred.signatures]
  return some(
    [...bundles, ...layers.map((layer) => `${JSON.stringify(signedPayload(layer))}\n`)],
    digest,
  )
}

function some(lines: readonly string[], digest: Digest): Output {
  if (lines.length === 0)
    throw new AirsealError('NOT_FOUND', `no signatures associated: ${digest} has none`)
  return { lines }
}

/** As Go prints cosign's SignedPayload; of certificates only the bytes, which all else follows from. */
function signedPayload({ blob, annotations }: LegacyLayer): JsonObject {
  const chain = parseCertificateAnnotations(
    annotations['dev.sigstore.cosign/certificate'],
    annotations['dev.sigstore.cosign/chain'],
  )
  const [leaf, ...others] = (chain ?? []).map((der) => ({ Raw: toBase64(der) }))
  return {
    Base64Signature: annotations[ANNOTATION] ?? '',
    Payload: toBase64(blob),
    Cert: leaf ?? null,
    Chain: leaf === undefined || others.length === 0 ? null : others,
    Bundle: embedded(annotations['dev.sigstore.cosign/bundle']),
    RFC3161Timestamp: embedded(annotations['dev.sigstore.cosign/rfc3161timestamp']),
  }
}

function embedded(text: string | undefined): JsonObject | null {
  return text === undefined || text === ''
    ? null
    : (parseJson(text, { what: 'an annotation', code: 'BUNDLE_INVALID' }) as JsonObject)
}

async function attestations({ repository, descriptor }: Opened, input: Input): Promise<Output> {
  const formats = formatsOf(input) ?? 'both'
  const asked = input.text('predicate-type')
  const type = asked === null ? null : predicateTypeUri(asked)
  const referred = await readReferredEvidence(repository, descriptor.digest)
  const bundles =
    formats === 'legacy'
      ? []
      : referred.bundles
          .filter(({ blob }) => type === null || typeIn(() => envelopeInBundle(blob)) === type)
          .map(({ blob }) => jsonLine(blob))
  const layers =
    formats === 'bundle'
      ? []
      : [
          ...(await readLegacyLayers(repository, descriptor.digest, 'att')),
          ...referred.attestations,
        ]
  const envelopes = layers
    .map(({ blob }) => parseEnvelope(fromUtf8(blob, 'the envelope', 'BUNDLE_INVALID')))
    .filter((envelope) => type === null || typeIn(() => envelope) === type)
    .map((envelope) => `${envelopeText(envelope)}\n`)
  const lines = [...bundles, ...envelopes]
  if (type !== null && lines.length === 0)
    throw new AirsealError('NOT_FOUND', `no attestations with predicate type '${type}' found`)
  return { lines }
}

function envelopeInBundle(blob: Uint8Array): Envelope | null {
  const { content } = parseBundle(fromUtf8(blob, 'the bundle', 'BUNDLE_INVALID'))
  return content.kind === 'dsse' ? content.envelope : null
}

/** Null for what is no statement: it is of no type. */
function typeIn(read: () => Envelope | null): string | null {
  try {
    const envelope = read()
    return envelope === null ? null : parseStatement(envelope.payload).predicateType
  } catch {
    return null
  }
}

/** A stored document on one line. */
function jsonLine(blob: Uint8Array): string {
  const limits = { what: 'the bundle', code: 'BUNDLE_INVALID' } as const
  return `${JSON.stringify(parseJson(fromUtf8(blob, limits.what, limits.code), limits))}\n`
}

async function sbom({ repository, descriptor }: Opened): Promise<Output> {
  const tag = legacyTag(descriptor.digest, 'sig').replace(/sig$/, 'sbom')
  const stored = await repository.readManifestByTag(tag)
  const layer = stored?.manifest.kind === 'image' ? stored.manifest.layers[0] : undefined
  if (layer === undefined) throw new AirsealError('NOT_FOUND', 'no sbom attached to reference')
  const bytes = await repository.readBlob(layer, MAX_SBOM)
  return {
    lines: [fromUtf8(bytes, 'the SBOM', 'BUNDLE_INVALID')],
    note: `Found SBOM of media type: ${JSON.stringify(layer.mediaType).slice(1, -1)}\n`,
  }
}

/** The image of one platform in an index. @throws AirsealError NOT_FOUND naming the platforms that there are */
async function onPlatform(opened: Opened, platform: string | null): Promise<Opened> {
  if (platform === null) return opened
  const { manifest } = await opened.repository.readManifest(opened.descriptor.digest)
  if (manifest.kind !== 'index')
    throw new AirsealError('USAGE', '--platform is for images of several platforms')
  const known = manifest.manifests.filter((child) => child.platform !== undefined)
  const [found, ...others] = known.filter((child) => matches(child, platform))
  if (found !== undefined && others.length === 0)
    return { ...opened, descriptor: await child(opened.repository, found) }
  const names = known.map((child) => nameOf(child)).join(', ')
  throw new AirsealError(
    'NOT_FOUND',
    `platform ${platform.slice(0, 80)} is not there, or several times; there are: ${names}`,
  )
}

async function child(repository: Repository, { digest }: Descriptor): Promise<Descriptor> {
  return (await repository.readManifest(digest)).descriptor
}

function matches(descriptor: Descriptor, platform: string): boolean {
  const [os, architecture, variant] = platform.split('/')
  const its = descriptor.platform
  return (
    its?.os === os &&
    its?.architecture === architecture &&
    (variant === undefined || its?.variant === variant)
  )
}

function nameOf({ platform }: Descriptor): string {
  const { os = '', architecture = '', variant } = platform ?? {}
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/')
}
