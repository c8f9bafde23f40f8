import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { RegistriesConfig } from './config.ts'
import { AirsealError } from './core/index.ts'
import { DEFAULT_REGISTRY_SETTINGS, type RegistrySettings } from './oci/index.ts'

/** How registries are reached, with the files that the configuration names read in. @throws AirsealError CONFIG_INVALID */
export async function registrySettings(config: RegistriesConfig): Promise<RegistrySettings> {
  const ca = await fileText('caFile', config.caFile)
  if (ca !== null) checkCertificates(ca, config.caFile ?? '')
  const clientCert = await fileText('clientCertFile', config.clientCertFile)
  const clientKey = await fileText('clientKeyFile', config.clientKeyFile)
  return {
    ...DEFAULT_REGISTRY_SETTINGS,
    dockerConfigDirectory:
      config.dockerConfigDirectory ?? process.env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'),
    ...(config.allowHosts !== null && { allowHosts: config.allowHosts }),
    plainHttp: config.plainHttp,
    forceHttps: config.forceHttps,
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

/** Node takes a text without certificates for "trust nobody", and one with a broken certificate for one without it. */
function checkCertificates(text: string, path: string): void {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  const begun = text.split('-----BEGIN CERTIFICATE-----').length - 1
  try {
    if (blocks.length === 0 || blocks.length !== begun) throw new Error('cut off')
    for (const block of blocks) new X509Certificate(block)
  } catch (cause) {
    throw new AirsealError(
      'CONFIG_INVALID',
      `registries: caFile: ${path} does not hold certificates in PEM, whole ones only`,
      { cause },
    )
  }
}
