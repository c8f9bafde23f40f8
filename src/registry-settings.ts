import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { RegistriesConfig } from './config.ts'
import { AirsealError } from './core/index.ts'
import { DEFAULT_REGISTRY_SETTINGS, type RegistrySettings } from './oci/index.ts'

/** How registries are reached, with the files that the configuration names read in. @throws AirsealError CONFIG_INVALID */
export async function registrySettings(config: RegistriesConfig): Promise<RegistrySettings> {
  const ca = await fileText('caFile', config.caFile)
  const clientCert = await fileText('clientCertFile', config.clientCertFile)
  const clientKey = await fileText('clientKeyFile', config.clientKeyFile)
  return {
    ...DEFAULT_REGISTRY_SETTINGS,
    dockerConfigDirectory:
      config.dockerConfigDirectory ?? process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'),
    ...(config.allowHosts !== null && { allowHosts: config.allowHosts }),
    plainHttp: config.plainHttp,
    allowRedirectHosts: config.allowRedirectHosts,
    allowRealms: config.allowRealms,
    timeoutMs: config.timeoutMs,
    ...(ca !== null && { ca }),
    ...(clientCert !== null && { clientCert }),
    ...(clientKey !== null && { clientKey }),
  }
}

function fileText(field: string, path: string | null): Promise<string | null> {
  if (path === null) return Promise.resolve(null)
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('CONFIG_INVALID', `registries: ${field}: ${path} can't be read`, {
      cause,
    })
  })
}
