import { AirsealError, digestHex, type Digest, type JsonObject } from '../core/index.ts'
import type { Repository } from '../oci/index.ts'
import type { Command } from './command.ts'
import { COSIGN_COMMON_OPTIONS, COSIGN_REGISTRY_FOREIGN } from './cosign-options.ts'
import { withProgress } from './progress.ts'
import { openImage, REGISTRY_OPTIONS, SETTINGS_OPTIONS, settingsOf } from './registry-options.ts'

/** What is attached to an image in one place. */
interface Attached {
  readonly kind: 'signatures' | 'attestations' | 'sboms' | 'referrer'
  /** Tag or digest, with its repository. */
  readonly place: string
  /** Predicate type of a bundle, else the artifact type of a referrer; null for tags. */
  readonly type: string | null
  readonly layers: readonly Digest[]
}

const TAGS = [
  ['signatures', 'sig', '🔐 Signatures'],
  ['attestations', 'att', '💾 Attestations'],
  ['sboms', 'sbom', '📦 SBOMs'],
] as const
const PREDICATE = 'dev.sigstore.bundle.predicateType'

export const command: Command = {
  name: 'tree',
  summary: 'Lists what is attached to an image: signatures, attestations, SBOMs, referrers.',
  usage: 'IMAGE',
  takesArguments: true,
  description: `
Looks at the tags .sig, .att and .sbom beside the image and at everything that refers to it, bundles among them. Nothing of it is verified:
\`airseal verify\` does that.`,
  options: {
    'registry-referrers-mode': {
      type: 'string',
      value: 'MODE',
      help: 'legacy: only the tags; oci-1-1 (default): referrers as well',
    },
    ...REGISTRY_OPTIONS,
    ...SETTINGS_OPTIONS,
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: {
    ...COSIGN_REGISTRY_FOREIGN,
    'experimental-oci11': { type: 'boolean', instead: null },
  },
  missingIsRefusal: true,
  examples: ['airseal tree registry.example:5000/team/app@sha256:4bc4…'],
  exitCodes: [[3, 'registry not available']],
  async run(input, terminal) {
    const [image, more] = input.required('IMAGE')
    if (image === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'tree takes one image')
    const mode = input.text('registry-referrers-mode') ?? 'oci-1-1'
    if (mode !== 'legacy' && mode !== 'oci-1-1')
      throw new AirsealError(
        'USAGE',
        `--registry-referrers-mode ${mode.slice(0, 40)}: want legacy or oci-1-1`,
      )
    const settings = await settingsOf(input, terminal, [image])
    const { repository, descriptor } = await openImage(image, settings)
    const attached = await withProgress(
      terminal,
      input.json,
      `looking at ${image}`,
      attachedTo(repository, descriptor.digest, mode === 'oci-1-1'),
    )
    terminal.stdout(
      input.json
        ? `${JSON.stringify(treeJson(image, descriptor.digest, attached))}\n`
        : treeText(image, attached),
    )
    return 0
  },
}

async function attachedTo(
  repository: Repository,
  digest: Digest,
  referrers: boolean,
): Promise<readonly Attached[]> {
  const found: Attached[] = []
  for (const [kind, suffix] of TAGS) {
    const tag = `sha256-${digestHex(digest)}.${suffix}`
    const stored = await repository.readManifestByTag(tag)
    if (stored?.manifest.kind !== 'image' || stored.manifest.layers.length === 0) continue
    const layers = stored.manifest.layers.map((layer) => layer.digest)
    found.push({ kind, place: `${repository.identity}:${tag}`, type: null, layers })
  }
  if (!referrers) return found
  for (const { digest: each } of (await repository.referrers(digest)).descriptors) {
    const { manifest } = await repository.readManifest(each)
    if (manifest.subject?.digest !== digest) continue
    const image = manifest.kind === 'image' ? manifest : null
    found.push({
      kind: 'referrer',
      place: `${repository.identity}@${each}`,
      type:
        manifest.annotations[PREDICATE] ?? manifest.artifactType ?? image?.config.mediaType ?? '',
      layers: (image?.layers ?? []).map((layer) => layer.digest),
    })
  }
  return found
}

/** As cosign prints it; texts of the registry may hold control characters, which are shown as such. */
function treeText(image: string, attached: readonly Attached[]): string {
  const head = `📦 Supply Chain Security Related artifacts for an image: ${image}\n`
  if (attached.length === 0)
    return `${head}No Supply Chain Security Related Artifacts found for image ${image}: sign it with airseal sign\n`
  return [
    head,
    ...attached.map(({ kind, place, type, layers }) => {
      const name = TAGS.find(([one]) => one === kind)?.[2]
      const title =
        name === undefined
          ? `🔗 ${JSON.stringify(type ?? '').slice(1, -1)} artifacts via OCI referrer: ${place}`
          : `${name} for an image tag: ${place}`
      const rows = layers.map(
        (layer, at) => `   ${at === layers.length - 1 ? '└' : '├'}── 🍒 ${layer}\n`,
      )
      return `└── ${title}\n${rows.join('')}`
    }),
  ].join('')
}

function treeJson(image: string, digest: Digest, attached: readonly Attached[]): JsonObject {
  return {
    image,
    digest,
    attached: attached.map(({ kind, place, type, layers }) => ({
      kind,
      place,
      type,
      layers: [...layers],
    })),
  }
}
