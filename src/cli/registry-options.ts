import { readFile } from 'node:fs/promises'
import { AirsealError } from '../core/index.ts'
import {
  openRepository,
  parseReference,
  resolveReference,
  type Descriptor,
  type Reference,
  type RegistrySettings,
  type StreamingRepository,
} from '../oci/index.ts'
import { registrySettings } from '../registry-settings.ts'
import type { Input, Option, Terminal } from './command.ts'
import { siteDirectory } from './connection.ts'
import { configOf } from './site.ts'

/** How to reach the registry of an image, with cosign's names. */
export const REGISTRY_OPTIONS: Readonly<Record<string, Option>> = {
  'allow-http-registry': {
    type: 'boolean',
    help: 'speak to the registry without TLS. Danger: nobody is authenticated',
  },
  'registry-cacert': { type: 'string', value: 'FILE', help: 'authority of the registry, PEM' },
  'registry-client-cert': { type: 'string', value: 'FILE', help: 'own certificate, PEM' },
  'registry-client-key': { type: 'string', value: 'FILE', help: 'its private key, PEM' },
  'registry-username': { type: 'string', value: 'NAME', help: 'user at the registry' },
  'registry-password': {
    type: 'string',
    value: 'TEXT',
    help: 'password of the user. Danger: others on this machine see it; better use $DOCKER_CONFIG',
  },
}

/** Options by which these settings are found. */
export const SETTINGS_OPTIONS: Readonly<Record<string, Option>> = {
  data: {
    type: 'string',
    value: 'DIR',
    help: 'data directory whose configuration says how registries are reached',
  },
  config: { type: 'string', value: 'FILE', help: 'configuration instead' },
}

/** True when the settings of a running service would not be the ones that are asked for. */
function namesRegistry(input: Input): boolean {
  return Object.keys(REGISTRY_OPTIONS).some((name) => input.values[name] !== undefined)
}

/**
 * How registries are reached: as the configuration says, and for the registries of `images` as the options say.
 * @throws AirsealError USAGE, CONFIG_INVALID, REFERENCE_INVALID
 */
export async function settingsOf(
  input: Input,
  terminal: Terminal,
  images: readonly string[],
): Promise<RegistrySettings> {
  const config = await configOf(siteDirectory(input, terminal), input)
  const base = await registrySettings(config.registries)
  if (!namesRegistry(input)) return base
  const hosts = new Set(
    images.flatMap((image) => {
      const reference = parseReference(image)
      return reference.kind === 'registry' ? [reference.registry] : []
    }),
  )
  const ca = await fileOf(input, 'registry-cacert')
  const clientCert = await fileOf(input, 'registry-client-cert')
  const clientKey = await fileOf(input, 'registry-client-key')
  if ((clientCert === null) !== (clientKey === null))
    throw new AirsealError('USAGE', '--registry-client-cert and --registry-client-key go together')
  return {
    ...base,
    ...(input.flag('allow-http-registry') && { plainHttp: [...base.plainHttp, ...hosts] }),
    ...(ca !== null && { ca }),
    ...(clientCert !== null && clientKey !== null && { clientCert, clientKey }),
    ...credentialsOf(input, hosts),
  }
}

function credentialsOf(
  input: Input,
  hosts: ReadonlySet<string>,
): Pick<RegistrySettings, 'credentials'> {
  const username = input.text('registry-username')
  const password = input.text('registry-password')
  if (username === null && password === null) return {}
  if (username === null || password === null)
    throw new AirsealError('USAGE', '--registry-username and --registry-password go together')
  const [registry, ...others] = hosts
  // A password is for one registry: shown to another it is given away.
  if (registry === undefined || others.length > 0)
    throw new AirsealError(
      'USAGE',
      '--registry-password is for one registry; the images name several',
    )
  return { credentials: { registry, username, password } }
}

async function fileOf(input: Input, option: string): Promise<string | null> {
  const path = input.text(option)
  if (path === null) return null
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('USAGE', `--${option} ${path} can't be read`, { cause })
  })
}

/** An image with the place that it lies in. */
export interface Opened {
  readonly reference: Reference
  readonly repository: StreamingRepository
  readonly descriptor: Descriptor
}

/** Opens the place of an image and fixes its digest. @throws AirsealError as {@link resolveReference} does */
export async function openImage(image: string, settings: RegistrySettings): Promise<Opened> {
  const reference = parseReference(image)
  const repository = await openRepository(reference, settings)
  return { reference, repository, descriptor: await resolveReference(repository, reference) }
}
