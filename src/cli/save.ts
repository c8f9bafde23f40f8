import { mkdir } from 'node:fs/promises'
import { AirsealError } from '../core/index.ts'
import { copyImage, initLayout, openLayoutRepository } from '../oci/index.ts'
import type { Command } from './command.ts'
import { COSIGN_COMMON_OPTIONS, COSIGN_REGISTRY_FOREIGN } from './cosign-options.ts'
import { withProgress } from './progress.ts'
import { openImage, REGISTRY_OPTIONS, SETTINGS_OPTIONS, settingsOf } from './registry-options.ts'

export const command: Command = {
  name: 'save',
  summary: 'Saves an image with everything that is attached to it as an OCI layout.',
  usage: 'IMAGE --dir DIR',
  takesArguments: true,
  description: `
Copies the image, of every platform, with its signatures, attestations, SBOMs and referrers into the OCI image layout DIR, which is made when it is
missing. Bundles are kept, and so is what is attached to the images below an index. \`cosign load\` and \`cosign verify --local-image\` read the
layout; \`airseal load\` puts it into a registry, and \`airseal verify oci:DIR\` verifies it in place.`,
  options: {
    dir: { type: 'string', value: 'DIR', help: 'directory of the layout (required)' },
    ...REGISTRY_OPTIONS,
    ...SETTINGS_OPTIONS,
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: COSIGN_REGISTRY_FOREIGN,
  missingIsRefusal: true,
  examples: ['airseal save --dir ./app registry.example:5000/team/app:v1'],
  exitCodes: [[3, 'registry or disk not available; run it again, what is there is kept']],
  async run(input, terminal) {
    const [image, more] = input.required('IMAGE')
    if (image === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'save takes one image')
    const directory = input.text('dir')
    if (directory === null) throw new AirsealError('USAGE', 'save needs --dir DIR')
    const settings = await settingsOf(input, terminal, [image])
    const { reference, repository, descriptor } = await openImage(image, settings)
    await mkdir(directory, { recursive: true }).catch((cause: unknown) => {
      throw new AirsealError('USAGE', `--dir ${directory} can't be made`, { cause })
    })
    await initLayout(directory)
    const layout = await openLayoutRepository(directory)
    await withProgress(
      terminal,
      input.json,
      `saving ${image}`,
      copyImage(repository, layout, descriptor.digest, { tag: reference.tag }),
    )
    const { digest } = descriptor
    if (input.json) terminal.stdout(`${JSON.stringify({ image, digest, directory })}\n`)
    else terminal.stderr(`saved ${image} as ${digest} in ${directory}\n`)
    return 0
  },
}
