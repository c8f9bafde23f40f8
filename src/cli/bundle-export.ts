import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  enclaveName,
  exportBundle,
  KINDS,
  volumeSize,
  type Kind,
} from '../../offline-bundles/index.ts'
import { AirsealError, isObject } from '../core/index.ts'
import { registrySettings } from '../registry-settings.ts'
import { readImageList, resolveImage, type WantedImage } from './bundle-images.ts'
import { senderSite } from './bundle-sites.ts'
import { byteProgress, size } from './byte-progress.ts'
import { SITE_OPTIONS, type Command, type Input } from './command.ts'
import { connect, siteDirectory, type Connection } from './connection.ts'
import { configOf } from './site.ts'

export const command: Command = {
  name: 'bundle export',
  summary: 'Writes a signed, numbered bundle of images and all that vouches for them.',
  usage: '[IMAGE…] --output DIR',
  takesArguments: true,
  description: `
Takes each image with its index and platforms, every signature, attestation, SBOM and referrer, the log entries with proofs, the trust
bundle and the policies. DIR is checked by \`sha256sum -c SHA256SUMS\` inside it, and images/0001 in it is an OCI image layout.
Kinds: full (everything), delta (what the last receipt does not cover), trust-only (no images), rebase (a full one that may follow a lost
medium). Without --kind it is a delta with --since-receipt, else full. An interrupted export is finished by running it again.`,
  options: {
    output: {
      type: 'string',
      value: 'DIR',
      help: 'directory to make (required)',
    },
    list: {
      type: 'string',
      value: 'FILE',
      help: 'more images, one a line: REFERENCE [REPOSITORY[:TAG] over there]',
    },
    'since-receipt': {
      type: 'boolean',
      help: 'everything signed or exported since the last receipt',
    },
    kind: { type: 'string', value: KINDS.join('|'), help: 'what to write' },
    to: {
      type: 'string',
      value: 'ENCLAVE',
      help: 'for whom (default: the only one so far, else anyone)',
    },
    platform: {
      type: 'string',
      multiple: true,
      value: 'OS/ARCH',
      help: 'only this platform of an index; may be repeated',
    },
    'volume-size': {
      type: 'string',
      value: 'dvd|bd25|bd50|BYTES',
      help: 'cut it into volumes, each verifiable alone',
    },
    label: {
      type: 'string',
      value: 'TEXT',
      help: 'words for people, for example a classification',
    },
    format: {
      type: 'string',
      short: 'o',
      value: 'text|json',
      help: 'form of the answer (default text)',
    },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal bundle export registry.low:5000/team/app:v1 --output /media/usb/bundle-1 --to high.example',
    'airseal bundle export --since-receipt --output /media/usb/bundle-2',
    'airseal bundle export --list images.txt --volume-size bd25 --output ./discs',
  ],
  exitCodes: [
    [3, 'service, key, disk or registry not available; run it again: it goes on'],
    [11, 'image not found'],
  ],
  async run(input, terminal) {
    const output = input.text('output')
    if (output === null) throw new AirsealError('USAGE', 'bundle export needs --output DIR')
    const json = input.text('format') === 'json'
    const capacity =
      input.text('volume-size') === null ? null : volumeSize(input.text('volume-size') ?? '')
    const to = input.text('to')
    const target = to === null ? null : enclaveName(to)
    const settings = await registrySettings(
      (await configOf(siteDirectory(input, terminal), input)).registries,
    )
    const connection = await connect(input, terminal)
    const progress = byteProgress(terminal, json)
    const scratch = scratchDirectories()
    try {
      const wanted = await wantedImages(input, connection)
      const kind = kindOf(input, wanted.length)
      progress.step('resolving images', 0)
      const images = []
      for (const image of wanted) images.push(await resolveImage(image, settings, scratch.make))
      const result = await exportBundle(senderSite(connection), {
        images,
        output,
        kind,
        target,
        platforms: input.texts('platform'),
        capacity,
        label: input.text('label'),
        progress,
      })
      progress.end()
      const { header, digest, bytes, finished } = result
      terminal.stdout(
        json
          ? `${JSON.stringify({ output: result.output, sequence: header.sequence, source: header.source, target: header.target, kind: header.kind, id: header.id, header: digest, images: header.images, volumes: header.volumes.length, bytes, finished })}\n`
          : [
              `Bundle ${header.sequence} of ${header.source} for ${header.target} (${header.kind})${finished ? ', begun earlier, now finished' : ''}`,
              `  ${resolve(output)}`,
              `  ${header.images} images, ${size(bytes)}${header.volumes.length > 1 ? ` on ${header.volumes.length} volumes` : ''}, log ${header.log.size} entries, trust version ${header.trust.version}`,
              `  header ${digest}`,
              '',
            ].join('\n'),
      )
      return 0
    } finally {
      progress.end()
      await scratch.remove()
      await connection.close()
    }
  },
}

/** Directories for what archives hold; gone afterwards. */
function scratchDirectories(): { make: () => Promise<string>; remove(): Promise<void> } {
  const made: string[] = []
  return {
    make: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'airseal-archive-'))
      made.push(directory)
      return directory
    },
    remove: async () => {
      for (const directory of made) await rm(directory, { recursive: true, force: true })
    },
  }
}

function kindOf(input: Input, images: number): Kind {
  const text = input.text('kind')
  if (text === null) return input.flag('since-receipt') ? 'delta' : 'full'
  const kind = KINDS.find((one) => one === text)
  if (kind === undefined)
    throw new AirsealError('USAGE', `--kind ${text}: want ${KINDS.join(', ')}`)
  if (kind === 'trust-only' && images > 0)
    throw new AirsealError('USAGE', 'a bundle of kind trust-only carries no images')
  return kind
}

async function wantedImages(input: Input, connection: Connection): Promise<WantedImage[]> {
  const wanted: WantedImage[] = input.positionals.map((from) => ({ from, as: null }))
  const list = input.text('list')
  if (list !== null) wanted.push(...(await readImageList(list)))
  if (input.flag('since-receipt')) {
    const answer = await connection.call('bundle/since-receipt', { target: input.text('to') })
    const images =
      isObject(answer) && Array.isArray(answer['images']) ? answer['images'].filter(isObject) : []
    for (const { from, digest, repository, tag } of images) {
      if (typeof from !== 'string' || typeof digest !== 'string') continue
      const place = withoutTagOrDigest(from)
      const as =
        typeof repository === 'string'
          ? `${repository}${typeof tag === 'string' ? `:${tag}` : ''}`
          : null
      wanted.push({ from: `${place}@${digest}`, as })
    }
  } else if (wanted.length === 0 && input.text('kind') !== 'trust-only') {
    throw new AirsealError(
      'USAGE',
      'bundle export needs images: IMAGE…, --list FILE, --since-receipt, or --kind trust-only',
    )
  }
  return wanted
}

/** `HOST/REPOSITORY` or `oci:DIR` of a reference. */
function withoutTagOrDigest(reference: string): string {
  const name = reference.replace(/@sha256:[0-9a-f]{64}$/, '')
  const colon = name.lastIndexOf(':')
  const isTag = colon > name.lastIndexOf('/') && colon > 'oci'.length
  return isTag ? name.slice(0, colon) : name
}
