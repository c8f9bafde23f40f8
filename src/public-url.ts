import type { Config } from './config.ts'
import { AirsealError } from './core/index.ts'

/**
 * URL under which clients reach the service. Its host must be the log's name, since clients compare the two.
 * @param logName - null: there is no log yet
 * @throws AirsealError CONFIG_INVALID
 */
export function publicUrlOf(config: Config, logName: string | null = null): string {
  const { host, port } = config.listen
  const bracketed = host.includes(':') ? `[${host}]` : host
  const url =
    config.publicUrl ?? `${config.tls ? 'https' : 'http'}://${logName ?? bracketed}:${port}`
  const name = new URL(url).hostname
  if (logName !== null && name !== logName) {
    throw new AirsealError(
      'CONFIG_INVALID',
      `publicUrl: host ${name} differs from the log's name ${logName}, which was fixed at init; clients would refuse its checkpoints`,
    )
  }
  return url.replace(/\/$/, '')
}
