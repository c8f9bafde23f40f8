import { AirsealError } from '../core/index.ts'
import {
  copyImage,
  openRepository,
  parseReference,
  type Attached,
  type Reference,
} from '../oci/index.ts'
import type { Command, Input } from './command.ts'
import { COSIGN_COMMON_OPTIONS, COSIGN_REGISTRY_FOREIGN } from './cosign-options.ts'
import { withProgress } from './progress.ts'
import { openImage, REGISTRY_OPTIONS, SETTINGS_OPTIONS, settingsOf } from './registry-options.ts'

const KINDS: ReadonlySet<string> = new Set<Attached>(['sig', 'att', 'sbom', 'referrers'])

export const command: Command = {
  name: 'copy',
  summary: 'Copies an image between registries with everything that is attached to it.',
  usage: 'IMAGE TARGET',
  takesArguments: true,
  description: `
Copies the image, of every platform, with its signatures, attestations, SBOMs and referrers, bundles among them. A tag of the target is moved only
with --force. Signatures that are there already stay.`,
  options: {
    only: {
      type: 'string',
      value: 'LIST',
      help: 'copy only these, for an image that is there: sig,att,sbom,referrers',
    },
    'sig-only': { type: 'boolean', help: 'the same as --only=sig,referrers' },
    force: { type: 'boolean', short: 'f', help: 'move the tag when it names another image' },
    ...REGISTRY_OPTIONS,
    ...SETTINGS_OPTIONS,
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: {
    ...COSIGN_REGISTRY_FOREIGN,
    platform: {
      type: 'string',
      instead: 'signatures cover the whole index: copy it, or copy the digest of one platform',
    },
  },
  missingIsRefusal: true,
  examples: ['airseal copy registry.outside/team/app:v1 registry.inside:5000/team/app:v1'],
  exitCodes: [[3, 'registry not available; run it again, what is there is kept']],
  async run(input, terminal) {
    const [image, target, more] = input.required('IMAGE')
    if (image === undefined || target === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'copy takes an image and where it goes')
    const attached = attachedOf(input)
    const settings = await settingsOf(input, terminal, [image, target])
    const source = await openImage(image, settings)
    const { digest } = source.descriptor
    const goal = parseReference(target)
    if (goal.digest !== undefined && goal.digest !== digest)
      throw new AirsealError('USAGE', `${image} is ${digest}, not ${goal.digest}`)
    const to = await openRepository(goal, settings)
    if (goal.tag !== undefined && attached === undefined && !input.flag('force')) {
      const there = await to.readManifestByTag(goal.tag)
      if (there !== null && there.descriptor.digest !== digest)
        throw new AirsealError(
          'CONFLICT',
          `${target} names ${there.descriptor.digest}: --force moves it`,
        )
    }
    await withProgress(
      terminal,
      input.json,
      `copying ${image}`,
      copyImage(source.repository, to, digest, {
        tag: tagFor(goal, attached),
        ...(attached === undefined ? {} : { attached, image: false }),
      }),
    )
    if (input.json) terminal.stdout(`${JSON.stringify({ image, target, digest })}\n`)
    else terminal.stderr(`copied ${digest} to ${target}\n`)
    return 0
  },
}

function tagFor(
  { tag }: Reference,
  attached: ReadonlySet<Attached> | undefined,
): string | undefined {
  return attached === undefined ? tag : undefined
}

/** What alone is to be copied; undefined: everything. @throws AirsealError USAGE */
function attachedOf(input: Input): ReadonlySet<Attached> | undefined {
  const only = input.text('only')
  if (only === null) return input.flag('sig-only') ? new Set(['sig', 'referrers']) : undefined
  const names = only.split(',')
  const wrong = names.find((name) => !KINDS.has(name))
  if (wrong !== undefined)
    throw new AirsealError('USAGE', `--only ${wrong.slice(0, 40)}: want ${[...KINDS].join(', ')}`)
  return new Set(names as Attached[])
}
