import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { readDoors, type DoorsConfig } from './config-doors.ts'
import { FieldReader } from './config-fields.ts'
import { AirsealError } from './core/index.ts'

/** Everything an operator can set. The environment is read nowhere else than in the commands. */
export interface Config {
  /**
   * Address and port of the one listener. Default 127.0.0.1:8470.
   * Danger: any other address than loopback needs `tls` and `tokensFile`, else the start is refused.
   */
  readonly listen: { readonly host: string; readonly port: number }
  /**
   * URL under which clients reach this service; written into trusted_root.json and signing_config.json. Default http://LISTEN (https with `tls`).
   * Its host becomes the log's name at `init`, and stays so for the life of the log.
   */
  readonly publicUrl: string | null
  /** PEM files of the server certificate (leaf first) and its key. Default none: plain HTTP, loopback only. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null
  /**
   * File of bearer tokens, one `NAME TOKEN` a line, mode 0600. Default none: then processes on this machine may sign.
   * Danger: without it, whoever has an account on this machine can have images signed.
   */
  readonly tokensFile: string | null
  /** Who may write to the log through the Rekor routes: `open` (default, as cosign expects) or `token`. */
  readonly logWrites: 'open' | 'token'
  /** Largest request body, bytes. Default 33554432 (32 MiB). */
  readonly maxBodyBytes: number
  /** File with the passphrase of the keys, mode 0600. Default `keys/passphrase` in the data directory when that is there. */
  readonly passphraseFile: string | null
  /** Where the keys are, when not in files of the data directory. */
  readonly keys: KeysConfig
  /**
   * Which formats `sign` and `attest` write: `both` (default), `legacy` (`.sig` and `.att` tags) or `bundle` (OCI referrer).
   * Danger: admission controllers read only `legacy` today; beside a bundle, cosign demands a trusted root.
   */
  readonly signatures: 'both' | 'legacy' | 'bundle'
  /**
   * Folders whose image layouts may be named in requests over the network. Default none.
   * Danger: a caller can make the service write signatures into any layout below them.
   */
  readonly layoutRoots: readonly string[]
  /** Bytes of evidence about images kept in cache.db, the least recently used leave first. Default 536870912 (512 MiB). */
  readonly evidenceCacheBytes: number
  readonly registries: RegistriesConfig
  /** Where other programs have digests signed. Default: nowhere. See docs/doors.md. */
  readonly doors: DoorsConfig
  readonly trust: TrustConfig
  readonly tuf: TufConfig
  readonly admission: AdmissionConfig
}

export interface AdmissionConfig {
  /**
   * What happens to images that no policy speaks of: `deny` (default) or `allow`; the answer says so either way.
   * Danger of `allow`: a policy whose patterns miss an image lets it in.
   */
  readonly uncoveredImages: 'allow' | 'deny'
  /**
   * `none` (default): airseal is stricter than Kyverno where docs/admission.md says so. `kyverno-1.19`: Kyverno is followed there too.
   * Danger of the latter: what upstream accepts by mistake is accepted.
   */
  readonly parity: 'none' | 'kyverno-1.19'
  /** `KMS-URI NAME`: further URIs under which policies may call a trusted key. Default none; registered keys go by their own URI. */
  readonly keyAliases: readonly string[]
}

/** The trust bundle: who signs it, and what happens when it grows old. */
export interface TrustConfig {
  /**
   * URI of the root key that signs the trust bundle without anybody's help. Default: keys/trust-root.key in the data directory, until
   * `airseal trust rotate-root` gives the roots other keys. Danger: who has it can make everybody believe any key; root keys are better kept offline.
   */
  readonly rootKey: string | null
  /** How long a version is good for, days. Default 365. A site with its root key at hand makes a new one when half of it has passed. */
  readonly lifetimeDays: number
  /** How often a new version is promised to those who carry it elsewhere, days. Default 30. */
  readonly updateDays: number
  /** Age from which on trust is warned about, days. Default 90. */
  readonly warnAfterDays: number
  /** The same by promised updates that did not come. Default 3. */
  readonly warnAfterMissed: number
  /** Age from which on trust does not count any more, so that everything is refused, days. Default 540. Danger when short: it ends at a bad moment. */
  readonly enforceAfterDays: number
  /** The same by promised updates that did not come. Default 18. */
  readonly enforceAfterMissed: number
  /** Days after a version's expiry before it does not count any more. Default 90. */
  readonly graceDays: number
  /** Days before an expiry at which alarms begin. Default 60. */
  readonly alarmDays: number
}

/** The TUF repository below `/tuf/`, from which clients of Sigstore get their trust. */
export interface TufConfig {
  /**
   * `own` (default): this site signs a repository, made at the first start. `mirror`: it serves what was imported. `off`: it serves none.
   */
  readonly mode: 'own' | 'mirror' | 'off'
  /**
   * URIs of the keys, ECDSA P-256 or Ed25519, read when the repository is made. Default: keys/tuf-root.key, tuf-targets.key and tuf-online.key
   * in the data directory. Danger of the default: who takes the data directory can rewrite all trust; move the root key elsewhere.
   */
  readonly rootKey: string | null
  readonly targetsKey: string | null
  /** Signs snapshot and timestamp, every day, without anybody's help. */
  readonly onlineKey: string | null
  /** How long files are good for once signed, days. Default: root 1825, targets 730, snapshot 365, timestamp 14. */
  readonly rootDays: number
  readonly targetsDays: number
  readonly snapshotDays: number
  /** Danger: clients that can't reach the service refuse to verify when it has passed; a long one hides a frozen mirror as long. */
  readonly timestampDays: number
  /** The same for the timestamp that `tuf export` puts on a medium. Default 180. */
  readonly exportDays: number
}

export interface KeysConfig {
  /**
   * URI of the key that signs images: `awskms://…`, `gcpkms://…`, `pkcs11:…` or `file:…`. Default: keys/cosign.key in the data directory.
   * The public key is pinned at the first start: another one behind the same URI is refused. P-256 or RSA, since verifiers hash with SHA-256.
   */
  readonly signing: string | null
  /** URI of the log's key, ECDSA P-256, fixed at `init`. Default: keys/rekor.key in the data directory. */
  readonly log: string | null
}

export interface RegistriesConfig {
  /**
   * `host:port` of the only registries that are contacted. Default null: every one that a caller names, link-local addresses apart.
   * Danger of the default: whoever reaches the service can make it send GET requests to any host and port, and read whether they answer.
   */
  readonly allowHosts: readonly string[] | null
  /** `host:port` of registries that are spoken to without TLS. Default none; loopback needs no entry. Danger: no one is authenticated. */
  readonly plainHttp: readonly string[]
  /** `host:port` of registries on loopback that speak TLS all the same. Default none. */
  readonly forceHttps: readonly string[]
  /** PEM file of certificate authorities for registries, instead of the system's. Default none. */
  readonly caFile: string | null
  /** Client certificate and key, PEM files. Default none. */
  readonly clientCertFile: string | null
  readonly clientKeyFile: string | null
  /** Directory with docker's config.json (credentials, credential helpers). Default $DOCKER_CONFIG, else ~/.docker. */
  readonly dockerConfigDirectory: string | null
  /** `host:port` that a registry may redirect blob downloads to. Default none. Danger: never list hosts of the internal control plane. */
  readonly allowRedirectHosts: readonly string[]
  /** `host:port` of token services other than the registry itself. Default none. Danger: registry credentials are sent there. */
  readonly allowRealms: readonly string[]
  /** Longest time for one request to a registry, milliseconds. Default 30000. */
  readonly timeoutMs: number
}

export const DEFAULT_LISTEN = '127.0.0.1:8470'
const MAX_BODY_BYTES = 32 * 1024 * 1024
const EVIDENCE_CACHE_BYTES = 512 * 1024 * 1024
const REGISTRY_TIMEOUT_MS = 30_000
/** Twenty years. */
const MAX_DAYS = 7300

/** What the command line sets over the file. */
export interface ConfigOverrides {
  readonly listen?: string
  readonly publicUrl?: string
  readonly passphraseFile?: string
  /** True for a replica, which has nothing to sign with: it needs neither tokens nor a certificate from a file. */
  readonly replica?: boolean
}

/**
 * Reads a configuration file, checks every field, and freezes the result.
 * @param path - YAML file; null: defaults only
 * @throws AirsealError CONFIG_INVALID naming file and field
 */
export async function loadConfig(
  path: string | null,
  overrides: ConfigOverrides = {},
): Promise<Config> {
  const reader = new FieldReader(
    path === null ? {} : await readYaml(path),
    path ?? 'defaults',
    path === null ? process.cwd() : dirname(resolve(path)),
  )
  const registries = reader.section('registries')
  const keys = reader.section('keys')
  const doors = reader.section('doors')
  const trust = reader.section('trust')
  const tuf = reader.section('tuf')
  const admission = reader.section('admission')
  const tls = reader.has('tls') ? reader.section('tls') : null
  // Read before the command line is looked at: a field that is overridden is known all the same.
  const file = {
    listen: reader.text('listen'),
    publicUrl: reader.text('publicUrl'),
    passphraseFile: reader.path('passphraseFile'),
  }
  const config: Config = {
    listen: parseListen(overrides.listen ?? file.listen ?? DEFAULT_LISTEN),
    publicUrl: overrides.publicUrl ?? file.publicUrl,
    tls: tls && { certFile: tls.requiredPath('certFile'), keyFile: tls.requiredPath('keyFile') },
    tokensFile: reader.path('tokensFile'),
    logWrites: reader.choice('logWrites', ['open', 'token']) ?? 'open',
    maxBodyBytes: reader.count('maxBodyBytes', 1024, 1024 * 1024 * 1024) ?? MAX_BODY_BYTES,
    passphraseFile: overrides.passphraseFile ?? file.passphraseFile,
    keys: { signing: keys.text('signing'), log: keys.text('log') },
    signatures: reader.choice('signatures', ['both', 'legacy', 'bundle']) ?? 'both',
    layoutRoots: reader.paths('layoutRoots'),
    evidenceCacheBytes:
      reader.count('evidenceCacheBytes', 1024 * 1024, 1024 ** 4) ?? EVIDENCE_CACHE_BYTES,
    registries: {
      allowHosts: registries.has('allowHosts') ? registries.texts('allowHosts') : null,
      plainHttp: registries.texts('plainHttp'),
      forceHttps: registries.texts('forceHttps'),
      caFile: registries.path('caFile'),
      clientCertFile: registries.path('clientCertFile'),
      clientKeyFile: registries.path('clientKeyFile'),
      dockerConfigDirectory: registries.path('dockerConfigDirectory'),
      allowRedirectHosts: registries.texts('allowRedirectHosts'),
      allowRealms: registries.texts('allowRealms'),
      timeoutMs: registries.count('timeoutMs', 100, 600_000) ?? REGISTRY_TIMEOUT_MS,
    },
    doors: readDoors(doors, parseListen),
    trust: readTrust(trust),
    tuf: {
      mode: tuf.choice('mode', ['own', 'mirror', 'off']) ?? 'own',
      rootKey: tuf.text('rootKey'),
      targetsKey: tuf.text('targetsKey'),
      onlineKey: tuf.text('onlineKey'),
      rootDays: tuf.count('rootDays', 30, 7300) ?? 1825,
      targetsDays: tuf.count('targetsDays', 30, 7300) ?? 730,
      snapshotDays: tuf.count('snapshotDays', 2, 3650) ?? 365,
      timestampDays: tuf.count('timestampDays', 2, 3650) ?? 14,
      exportDays: tuf.count('exportDays', 1, 3650) ?? 180,
    },
    admission: {
      uncoveredImages: admission.choice('uncoveredImages', ['allow', 'deny']) ?? 'deny',
      parity: admission.choice('parity', ['none', 'kyverno-1.19']) ?? 'none',
      keyAliases: admission.texts('keyAliases'),
    },
  }
  for (const part of [tls, keys, registries, doors, trust, tuf, admission, reader])
    part?.refuseUnknown()
  if (overrides.replica !== true) checkExposure(config)
  return Object.freeze(config)
}

function readTrust(reader: FieldReader): TrustConfig {
  const days = (name: string, standard: number): number =>
    reader.count(name, 1, MAX_DAYS) ?? standard
  const trust = {
    rootKey: reader.text('rootKey'),
    lifetimeDays: days('lifetimeDays', 365),
    updateDays: days('updateDays', 30),
    warnAfterDays: days('warnAfterDays', 90),
    warnAfterMissed: days('warnAfterMissed', 3),
    enforceAfterDays: days('enforceAfterDays', 540),
    enforceAfterMissed: days('enforceAfterMissed', 18),
    graceDays: days('graceDays', 90),
    alarmDays: days('alarmDays', 60),
  }
  for (const what of ['Days', 'Missed'] as const) {
    if (trust[`warnAfter${what}`] < trust[`enforceAfter${what}`]) continue
    throw new AirsealError(
      'CONFIG_INVALID',
      `trust: enforceAfter${what} must be more than warnAfter${what}, or nobody is warned`,
    )
  }
  return trust
}

/** A listener that others can reach must know its callers. */
function checkExposure(config: Config): void {
  if (config.publicUrl !== null) checkPublicUrl(config.publicUrl)
  const { aws } = config.doors
  if (aws !== null && !isLoopback(aws.listen.host) && (aws.tls ?? config.tls) === null) {
    throw new AirsealError(
      'CONFIG_INVALID',
      `doors: aws: listen: ${aws.listen.host} can be reached from other machines, so tls must be set, here or for the whole service: clients read public keys from it`,
    )
  }
  if (isLoopback(config.listen.host)) return
  const missing = [
    config.tls ? null : 'tls',
    config.tokensFile === null ? 'tokensFile' : null,
  ].filter((name) => name !== null)
  if (missing.length === 0) return
  throw new AirsealError(
    'CONFIG_INVALID',
    `listen: ${config.listen.host} can be reached from other machines, so ${missing.join(' and ')} must be set (or listen on 127.0.0.1)`,
  )
}

function checkPublicUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null
  const plain =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    url.pathname === '/' &&
    url.search + url.hash + url.username === ''
  if (!plain)
    throw new AirsealError('CONFIG_INVALID', `publicUrl: "${text}" is not http(s)://HOST[:PORT]`)
}

/** True for 127.0.0.0/8, ::1 and localhost. */
export function isLoopback(host: string): boolean {
  return /^127(?:\.\d{1,3}){3}$/.test(host) || host === '::1' || host === 'localhost'
}

/** Reads `HOST:PORT` or `[IPv6]:PORT`. @throws AirsealError CONFIG_INVALID */
export function parseListen(text: string): { host: string; port: number } {
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text)
  const port = Number(found?.[3])
  if (!found || port > 65535)
    throw new AirsealError('CONFIG_INVALID', `listen: "${text}" is not HOST:PORT`)
  return { host: found[1] ?? found[2] ?? '', port }
}

async function readYaml(path: string): Promise<unknown> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('CONFIG_INVALID', `${path} can't be read`, { cause })
  })
  // Loaded only here, so that commands without a configuration file start faster.
  const { parse } = await import('yaml')
  try {
    return (parse(text, { strict: true, uniqueKeys: true, maxAliasCount: 0 }) as unknown) ?? {}
  } catch (cause) {
    throw new AirsealError(
      'CONFIG_INVALID',
      `${path} is not YAML: ${(cause as Error).message.split('\n')[0]}`,
      { cause },
    )
  }
}
