import { readFile } from 'node:fs/promises'
import { AirsealError } from '../src/core/index.ts'

/**
 * Checks where a key service is reached: https, or http on this machine (what answers is not authenticated otherwise, and describes keys).
 * @throws AirsealError CONFIG_INVALID
 */
export function checkEndpoint(text: string): URL {
  const url = URL.parse(text)
  const isLocal = url !== null && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && isLocal))) {
    throw new AirsealError(
      'CONFIG_INVALID',
      `"${text}" is not https://HOST[:PORT] (http: on loopback only)`,
    )
  }
  return url
}

/** Certificates of a region's own authority, PEM. @throws AirsealError CONFIG_INVALID */
export async function readAuthorities(path: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => {
    throw new AirsealError('CONFIG_INVALID', `the CA file ${path} can't be read`, { cause })
  })
}
