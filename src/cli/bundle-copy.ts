import { access, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  asSavedByCosign,
  copyImage,
  packArchive,
  unpackArchive,
} from '../../offline-bundles/index.ts'
import { AirsealError } from '../core/index.ts'
import {
  initLayout,
  openLayoutRepository,
  openRepository,
  parseReference,
  resolveReference,
  type RegistrySettings,
  type StreamingRepository,
} from '../oci/index.ts'
import { registrySettings } from '../registry-settings.ts'
import { ARCHIVE, archiveName } from './bundle-images.ts'
import { byteProgress } from './byte-progress.ts'
import { SITE_OPTIONS, type Command } from './command.ts'
import { siteDirectory } from './connection.ts'
import { absoluteImage } from './image-argument.ts'
import { configOf } from './site.ts'

const { data, config } = SITE_OPTIONS

export const command: Command = {
  name: 'bundle copy',
  summary: 'Copies an image with all that vouches for it between registries, layouts and archives.',
  usage: 'SOURCE TARGET',
  takesArguments: true,
  description: `
SOURCE and TARGET are HOST/REPOSITORY[:TAG][@DIGEST], oci:DIR[:TAG] (an image layout, also one that \`cosign save\` wrote), or
oci-archive:FILE[:TAG] (a layout in a tar). Manifests, layers, signatures, attestations, SBOMs and referrers arrive bit for bit. A layout written here is
read by \`cosign load\`, oras and skopeo. Unlike a bundle, nothing is signed, numbered or checked against a log.`,
  options: {
    platform: {
      type: 'string',
      multiple: true,
      value: 'OS/ARCH',
      help: 'only this platform of an index; may be repeated',
    },
    ...(data && { data }),
    ...(config && { config }),
  },
  examples: [
    'airseal bundle copy registry.low:5000/team/app:v1 oci-archive:app.tar',
    'airseal bundle copy oci:./saved-by-cosign registry.high:5000/team/app:v1',
  ],
  exitCodes: [
    [3, 'registry or disk not available'],
    [11, 'image not found'],
  ],
  async run(input, terminal) {
    const [from, to, ...others] = input.required('SOURCE')
    if (from === undefined || to === undefined || others.length > 0)
      throw new AirsealError('USAGE', 'bundle copy needs SOURCE and TARGET')
    const settings = await registrySettings(
      (await configOf(siteDirectory(input, terminal), input)).registries,
    )
    const work = await mkdtemp(join(tmpdir(), 'airseal-copy-'))
    const progress = byteProgress(terminal, input.json)
    try {
      const source = await openSource(from, work, settings)
      const target = await openTarget(to, work, settings, source.tag)
      const image = {
        repository: 'image',
        tag: null,
        from,
        digest: source.digest,
        source: source.repository,
      }
      const result = await copyImage(
        image,
        target.repository,
        target.tag,
        input.texts('platform'),
        progress,
      )
      await target.finish()
      progress.end()
      const { digest, manifests, blobs, attached } = result
      terminal.stdout(
        input.json
          ? `${JSON.stringify({ digest, manifests, blobs, attached: attached.map((one) => ({ ...one, repository: undefined })) })}\n`
          : `Copied ${digest}: ${manifests} manifests, ${blobs} blobs, of them attached: ${
              attached
                .map(({ kind }) => kind)
                .sort()
                .join(' ') || 'nothing'
            }\n`,
      )
      return 0
    } finally {
      progress.end()
      await rm(work, { recursive: true, force: true })
    }
  },
}

interface Source {
  readonly repository: StreamingRepository
  readonly digest: Awaited<ReturnType<typeof resolveReference>>['digest']
  readonly tag: string | null
}

async function openSource(text: string, work: string, settings: RegistrySettings): Promise<Source> {
  let name = text
  if (text.startsWith(ARCHIVE)) {
    const { file, tag } = archiveName(text)
    const layout = join(work, 'source')
    await mkdir(layout)
    await unpackArchive(file, layout)
    name = `oci:${layout}${tag === null ? '' : `:${tag}`}`
  }
  const reference = parseReference(absoluteImage(name))
  const opened = await openRepository(reference, settings)
  const repository =
    reference.kind === 'layout' ? await asSavedByCosign(opened, reference.directory) : opened
  const { digest } = await resolveReference(repository, reference)
  return { repository, digest, tag: reference.tag ?? null }
}

interface Target {
  readonly repository: StreamingRepository
  readonly tag: string
  finish(): Promise<void>
}

async function openTarget(
  text: string,
  work: string,
  settings: RegistrySettings,
  sourceTag: string | null,
): Promise<Target> {
  const fallback = sourceTag ?? 'latest'
  if (text.startsWith(ARCHIVE)) {
    const { file, tag } = archiveName(text)
    if (await exists(file)) throw new AirsealError('USAGE', `${file} exists`)
    const layout = join(work, 'target')
    await mkdir(layout)
    await initLayout(layout)
    const repository = await openLayoutRepository(layout)
    return { repository, tag: tag ?? fallback, finish: () => packArchive(layout, file) }
  }
  const reference = parseReference(absoluteImage(text))
  if (reference.digest !== undefined)
    throw new AirsealError('USAGE', 'TARGET has a tag, not a digest')
  if (reference.kind === 'layout') {
    await mkdir(reference.directory, { recursive: true })
    await initLayout(reference.directory)
  }
  const repository = await openRepository(reference, settings)
  return { repository, tag: reference.tag ?? fallback, finish: () => Promise.resolve() }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
