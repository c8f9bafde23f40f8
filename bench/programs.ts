import { accessSync, constants } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Debian keeps daemons where an ordinary user's PATH does not reach. */
const SYSTEM = ['/usr/sbin', '/usr/local/sbin', '/sbin']

/** Where `.ci/install-clients` puts what it builds. */
function toolFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
  return join(process.env['AIRSEAL_TOOLS'] ?? join(cache, 'airseal-tools'), 'bin')
}

/**
 * Path of the first of `names` that is installed.
 * @throws Error that says how to get it
 */
export function program(names: string | readonly string[], howToGet: string): string {
  const wanted = typeof names === 'string' ? [names] : names
  const folders = [toolFolder(), ...(process.env['PATH'] ?? '').split(':'), ...SYSTEM]
  for (const name of wanted) {
    for (const folder of folders) {
      if (folder !== '' && isProgram(join(folder, name))) return join(folder, name)
    }
  }
  throw new Error(`${wanted.join(' or ')} is not installed: ${howToGet}`)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
