import type { RequestListener } from 'node:http'
import { createAwsListener, parseAwsCredentials } from '../doors/index.ts'
import { readProvidedBytes } from '../../keys/index.ts'
import { siteDoorKeys } from './door-keys.ts'
import type { SiteParts } from './site-parts.ts'

/**
 * What answers clients of AWS KMS; null: the door is closed.
 * @throws AirsealError CONFIG_INVALID, DATA_PERMISSIONS
 */
export async function openAwsDoor(
  site: Pick<SiteParts, 'config' | 'keyring' | 'clock' | 'notify'>,
): Promise<RequestListener | null> {
  const { aws } = site.config.doors
  if (aws === null) return null
  const { aliases, credentialsFile, region, account, signsPerMinute } = aws
  return createAwsListener({
    keys: siteDoorKeys(site.keyring, aliases.values(), signsPerMinute),
    aliases,
    account,
    region,
    credentials: parseAwsCredentials(await readProvidedBytes(credentialsFile, 'CONFIG_INVALID')),
    clock: site.clock,
    log: (record) => {
      if (record.status < 400) return
      const time = new Date(site.clock()).toISOString()
      site.notify(JSON.stringify({ time, ...record }))
    },
  })
}
