import type { FieldReader } from './config-fields.ts'
import { AirsealError } from './core/index.ts'

/**
 * Doors sign digests of what airseal never sees, so that unmodified cosign can use its keys.
 * Danger: who passes a door can have anything signed that the key's policy does not rule out. Each key must allow digests in its policy too.
 */
export interface DoorsConfig {
  /** For the plugin `sigstore-kms-airseal`, on the service's own address and socket. Default: closed. */
  readonly plugin: PluginDoorConfig | null
  /** As AWS KMS speaks, on an address of its own. Default: closed. */
  readonly aws: AwsDoorConfig | null
}

export interface PluginDoorConfig {
  /** Names of the keys that are used as `airseal://NAME`. Required. */
  readonly keys: readonly string[]
  /** Signatures a minute for each caller. Default 60. */
  readonly signsPerMinute: number
}

export interface AwsDoorConfig {
  /** Default 127.0.0.1:8471. Danger: any other address than loopback needs `tls`. */
  readonly listen: { readonly host: string; readonly port: number }
  /** Certificate and key, PEM files. Default: those of the service. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null
  /** Alias (without `alias/`) → name of the key it leads to. Required: nothing else can be reached. */
  readonly aliases: ReadonlyMap<string, string>
  /** File of `ACCESSKEYID SECRETACCESSKEY` lines, mode 0600. Required. */
  readonly credentialsFile: string
  /** Region that requests must be signed for. Default: any; ARNs then name the one that was asked. */
  readonly region: string | null
  /** Account number in ARNs. Default 000000000000. */
  readonly account: string
  /** Signatures a minute for each access key. Default 60. */
  readonly signsPerMinute: number
}

const SIGNS_PER_MINUTE = 60
const MAX_SIGNS_PER_MINUTE = 100_000
const AWS_LISTEN = '127.0.0.1:8471'
const ALIAS = /^(?!aws\/)[A-Za-z0-9/_-]{1,250}$/

/** Reads the section `doors`. @throws AirsealError CONFIG_INVALID */
export function readDoors(
  section: FieldReader,
  parseListen: (text: string) => AwsDoorConfig['listen'],
): DoorsConfig {
  return {
    plugin: section.has('plugin') ? readPlugin(section.section('plugin')) : null,
    aws: section.has('aws') ? readAws(section.section('aws'), parseListen) : null,
  }
}

function readPlugin(section: FieldReader): PluginDoorConfig {
  const keys = section.texts('keys')
  if (keys.length === 0) throw wrong('plugin: keys must name at least one key')
  const signsPerMinute = signsOf(section)
  section.refuseUnknown()
  return { keys, signsPerMinute }
}

function readAws(
  section: FieldReader,
  parseListen: (text: string) => AwsDoorConfig['listen'],
): AwsDoorConfig {
  const tls = section.has('tls') ? section.section('tls') : null
  const aliases = section.textMap('aliases')
  if (aliases.size === 0) throw wrong('aws: aliases must lead to at least one key')
  for (const alias of aliases.keys()) {
    if (!ALIAS.test(alias)) throw wrong(`aws: aliases: "${alias}" is no name for an alias`)
  }
  const account = section.text('account') ?? '0'.repeat(12)
  if (!/^[0-9]{12}$/.test(account)) throw wrong('aws: account must be twelve digits, in quotes')
  const region = section.text('region')
  if (region !== null && !/^[a-z0-9-]{1,40}$/.test(region)) throw wrong('aws: region is no region')
  const config = {
    listen: parseListen(section.text('listen') ?? AWS_LISTEN),
    tls: tls && { certFile: tls.requiredPath('certFile'), keyFile: tls.requiredPath('keyFile') },
    aliases,
    credentialsFile: section.requiredPath('credentialsFile'),
    region,
    account,
    signsPerMinute: signsOf(section),
  }
  tls?.refuseUnknown()
  section.refuseUnknown()
  return config
}

function signsOf(section: FieldReader): number {
  return section.count('signsPerMinute', 1, MAX_SIGNS_PER_MINUTE) ?? SIGNS_PER_MINUTE
}

function wrong(what: string): AirsealError {
  return new AirsealError('CONFIG_INVALID', `doors: ${what}`)
}
