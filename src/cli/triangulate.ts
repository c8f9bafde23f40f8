import { AirsealError, digestHex } from '../core/index.ts'
import { openRepository, parseReference } from '../oci/index.ts'
import type { Command } from './command.ts'
import { COSIGN_COMMON_OPTIONS, COSIGN_REGISTRY_FOREIGN } from './cosign-options.ts'
import { openImage, REGISTRY_OPTIONS, SETTINGS_OPTIONS, settingsOf } from './registry-options.ts'

const SUFFIX: ReadonlyMap<string, string> = new Map([
  ['signature', '.sig'],
  ['attestation', '.att'],
  ['sbom', '.sbom'],
])

export const command: Command = {
  name: 'triangulate',
  summary: 'Names the place where the signatures of an image lie.',
  usage: 'IMAGE',
  takesArguments: true,
  description: `
Prints the tag under which signatures, attestations or SBOMs of the image are kept in the legacy format, or its digest. It does not say whether
there are any. Bundles have no tag: \`airseal tree IMAGE\` lists them.`,
  options: {
    type: {
      type: 'string',
      value: 'TYPE',
      help: 'signature (default), attestation, sbom or digest',
    },
    ...REGISTRY_OPTIONS,
    ...SETTINGS_OPTIONS,
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: COSIGN_REGISTRY_FOREIGN,
  missingIsRefusal: true,
  examples: ['airseal triangulate --type attestation registry.example:5000/team/app:v1'],
  exitCodes: [[3, 'registry not available']],
  async run(input, terminal) {
    const [image, more] = input.required('IMAGE')
    if (image === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'triangulate takes one image')
    const type = input.text('type') ?? 'signature'
    const suffix = SUFFIX.get(type)
    if (suffix === undefined && type !== 'digest')
      throw new AirsealError(
        'USAGE',
        `--type ${type.slice(0, 40)}: want signature, attestation, sbom or digest`,
      )
    const { repository, digest } = await fixed(image, () => settingsOf(input, terminal, [image]))
    const place =
      suffix === undefined
        ? `${repository}@${digest}`
        : `${repository}:sha256-${digestHex(digest)}${suffix}`
    terminal.stdout(input.json ? `${JSON.stringify({ image, place })}\n` : `${place}\n`)
    return 0
  },
}

/** Of an image that is named by digest nothing is asked: the answer follows from the name. */
async function fixed(image: string, settings: () => ReturnType<typeof settingsOf>) {
  const reference = parseReference(image)
  if (reference.digest === undefined) {
    const { repository, descriptor } = await openImage(image, await settings())
    return { repository: repository.identity, digest: descriptor.digest }
  }
  const { identity } = await openRepository(reference, await settings())
  return { repository: identity, digest: reference.digest }
}
