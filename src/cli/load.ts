import { AirsealError } from '../core/index.ts'
import { copyImage, openRepository, parseReference } from '../oci/index.ts'
import type { Command } from './command.ts'
import { COSIGN_COMMON_OPTIONS, COSIGN_REGISTRY_FOREIGN } from './cosign-options.ts'
import { withProgress } from './progress.ts'
import { openImage, REGISTRY_OPTIONS, SETTINGS_OPTIONS, settingsOf } from './registry-options.ts'

export const command: Command = {
  name: 'load',
  summary:
    'Puts an image from an OCI layout into a registry, with everything that is attached to it.',
  usage: 'IMAGE --dir DIR',
  takesArguments: true,
  description: `
Reads layouts that \`airseal save\` or \`cosign save\` wrote, and any other OCI image layout. IMAGE is where the image goes: a tag, or its digest.
Signatures, attestations, SBOMs, bundles and other referrers go along; signatures that are in the registry already stay. Nothing is verified on the
way, but every byte is compared with its digest.`,
  options: {
    dir: { type: 'string', value: 'DIR', help: 'directory of the layout (required)' },
    source: {
      type: 'string',
      value: 'TAG|DIGEST',
      help: 'which image of the layout, where it holds several',
    },
    ...REGISTRY_OPTIONS,
    ...SETTINGS_OPTIONS,
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: COSIGN_REGISTRY_FOREIGN,
  missingIsRefusal: true,
  examples: ['airseal load --dir ./app registry.inside:5000/team/app:v1'],
  exitCodes: [[3, 'registry not available; run it again, what is there is kept']],
  async run(input, terminal) {
    const [image, more] = input.required('IMAGE')
    if (image === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'load takes one image')
    const directory = input.text('dir')
    if (directory === null) throw new AirsealError('USAGE', 'load needs --dir DIR')
    const target = parseReference(image)
    if (target.kind !== 'registry' || (target.tag === undefined && target.digest === undefined))
      throw new AirsealError('USAGE', `load wants HOST/REPOSITORY:TAG, not ${image.slice(0, 200)}`)
    const wanted = input.text('source') ?? target.digest ?? null
    const settings = await settingsOf(input, terminal, [image])
    const source = await openImage(`oci:${directory}${suffixOf(wanted)}`, settings)
    const { digest } = source.descriptor
    if (target.digest !== undefined && target.digest !== digest)
      throw new AirsealError('USAGE', `the layout's image is ${digest}, not ${target.digest}`)
    await withProgress(
      terminal,
      input.json,
      `loading ${image}`,
      copyImage(source.repository, await openRepository(target, settings), digest, {
        tag: target.tag,
      }),
    )
    if (input.json) terminal.stdout(`${JSON.stringify({ image, digest })}\n`)
    else terminal.stderr(`loaded ${digest} as ${image}\n`)
    return 0
  },
}

function suffixOf(wanted: string | null): string {
  if (wanted === null) return ''
  return wanted.startsWith('sha256:') ? `@${wanted}` : `:${wanted}`
}
