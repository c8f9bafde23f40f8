import { join } from 'node:path'
import {
  AirsealError,
  fromBase64,
  fromUtf8,
  isObject,
  parseJson,
  type JsonObject,
} from '../core/index.ts'
import { limiter } from './concurrency.ts'

/** Secret: never put into a message. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** Handed to the token server in exchange for an access token. */
  | { readonly kind: 'identity'; readonly token: string }

const MAX_CONFIG = 1024 * 1024
const HELPER = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/
const HELPER_TIMEOUT_MS = 10_000
/** Helpers that run at a time; each is a process. */
const MAX_HELPERS = 4
const HUB_NAMES = ['index.docker.io', 'docker.io', 'registry-1.docker.io']

/**
 * Credentials for exactly `registry` (`host` or `host:port`) in Docker's config.json of `directory`: `credHelpers`, then `credsStore`,
 * then `auths`, as Docker has it. Null when there are none.
 * @throws AirsealError REGISTRY_AUTH when the file or a helper can't be used
 */
export async function findCredentials(
  directory: string | undefined,
  registry: string,
): Promise<Credentials | null> {
  if (directory === undefined) return null
  const config = await readConfig(directory)
  if (config === null) return null
  const names = HUB_NAMES.includes(registry) ? HUB_NAMES : [registry]
  const helper = lookUp(config['credHelpers'], names)?.value ?? config['credsStore']
  const auth = lookUp(config['auths'], names)
  if (typeof helper === 'string' && helper !== '') {
    // Helpers file Docker Hub under its old address.
    const server = names === HUB_NAMES ? 'https://index.docker.io/v1/' : registry
    const found = await askHelper(helper, server, registry)
    if (found !== null) return found
  }
  return isObject(auth?.value) ? fromAuth(auth.value, registry) : null
}

async function readConfig(directory: string): Promise<JsonObject | null> {
  const { readFile, stat } = await import('node:fs/promises')
  const path = join(directory, 'config.json')
  let text: string
  try {
    if ((await stat(path)).size > MAX_CONFIG)
      throw new AirsealError('REGISTRY_AUTH', `${path} is too large`)
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof AirsealError) throw cause
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new AirsealError('REGISTRY_AUTH', `${path} can't be read`, { cause })
  }
  const json = parseJson(text, { code: 'REGISTRY_AUTH', what: path })
  if (!isObject(json)) throw new AirsealError('REGISTRY_AUTH', `${path} is not a JSON object`)
  return json
}

/** The member whose name is one of `names`, also when it is written as an address (`https://registry.corp/v2/`). */
function lookUp(members: unknown, names: readonly string[]): { value: unknown } | undefined {
  if (!isObject(members)) return undefined
  for (const [name, value] of Object.entries(members)) {
    const host = name.replace(/^https?:\/\//, '').replace(/\/(?:v[12]\/?)?$/, '')
    if (names.includes(host)) return { value }
  }
  return undefined
}

function fromAuth(entry: JsonObject, registry: string): Credentials | null {
  const { identitytoken, username, password, auth } = entry
  if (typeof identitytoken === 'string' && identitytoken !== '')
    return { kind: 'identity', token: identitytoken }
  if (typeof username === 'string' && username !== '' && typeof password === 'string') {
    return { kind: 'password', username, password }
  }
  if (typeof auth !== 'string' || auth === '') return null
  const what = `the credentials for ${registry}`
  const text = fromUtf8(fromBase64(auth, what, 'REGISTRY_AUTH'), what, 'REGISTRY_AUTH')
  const colon = text.indexOf(':')
  if (colon < 1) throw new AirsealError('REGISTRY_AUTH', `${what} are not user:password`)
  return {
    kind: 'password',
    username: text.slice(0, colon),
    password: text.slice(colon + 1).replace(/\0+$/, ''),
  }
}

const limited = limiter(MAX_HELPERS)

/** Runs `docker-credential-NAME get` (docker-credential-helpers protocol). Its output is secret and never quoted. */
async function askHelper(
  name: string,
  server: string,
  registry: string,
): Promise<Credentials | null> {
  if (!HELPER.test(name)) {
    throw new AirsealError(
      'REGISTRY_AUTH',
      `the credential helper for ${registry} has a name that can't be a program's`,
    )
  }
  const program = `docker-credential-${name}`
  const output = await limited(() => runHelper(program, server, registry))
  if (output === null) return null

  const json = parseJson(output, { code: 'REGISTRY_AUTH', what: `the answer of ${program}` })
  if (
    !isObject(json) ||
    typeof json['Username'] !== 'string' ||
    typeof json['Secret'] !== 'string'
  ) {
    throw new AirsealError('REGISTRY_AUTH', `${program} answered without Username and Secret`)
  }
  const { Username: username, Secret: secret } = json
  if (username === '' && secret === '') return null
  return username === '<token>'
    ? { kind: 'identity', token: secret }
    : { kind: 'password', username, password: secret }
}

/** What the helper printed; null when it knows no credentials. Secret. */
async function runHelper(
  program: string,
  server: string,
  registry: string,
): Promise<string | null> {
  const { execFile } = await import('node:child_process')
  return new Promise<string | null>((resolve, reject) => {
    const options = {
      timeout: HELPER_TIMEOUT_MS,
      maxBuffer: 64 * 1024,
      killSignal: 'SIGKILL' as const,
    }
    const child = execFile(program, ['get'], options, (error, stdout) => {
      if (error === null) resolve(stdout)
      else if (/credentials not found/i.test(stdout)) resolve(null)
      else {
        const why =
          error.killed === true
            ? 'gave no answer in time'
            : `failed (${String(error.code ?? 'unknown')})`
        reject(new AirsealError('REGISTRY_AUTH', `${program}, asked for ${registry}, ${why}`))
      }
    })
    // A helper that ends without reading makes the pipe fail; what it answers counts.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(server)
  })
}
