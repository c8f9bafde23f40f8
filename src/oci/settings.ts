/**
 * How registries are reached. The object is also the identity of the connection pool and of the token cache: pass the same object for
 * as long as the settings hold. Hosts are written `host` or `host:port`, exactly as in a reference, and compared as whole text.
 */
export interface RegistrySettings {
  /**
   * Directory that holds Docker's `config.json` (`auths`, `credHelpers`, `credsStore`). Absent: anonymous.
   * Danger: helpers named there are run (`docker-credential-NAME`), so whoever writes the file runs programs as airseal.
   */
  readonly dockerConfigDirectory?: string
  /** Credentials for one registry, before those of `dockerConfigDirectory`. Secret. */
  readonly credentials?: {
    readonly registry: string
    readonly username: string
    readonly password: string
  }
  /**
   * Registries spoken to without TLS, beside those on loopback. Default none.
   * Danger: credentials and images of these travel readable and changeable (digests still protect images pulled by digest).
   */
  readonly plainHttp: readonly string[]
  /** Registries on loopback that do speak TLS. Default none. */
  readonly forceHttps: readonly string[]
  /** When given, the only registries that are contacted at all. Default: every registry that a caller names, link-local addresses apart. */
  readonly allowHosts?: readonly string[]
  /** Root certificates, PEM. They replace the system's. Default: the system's. */
  readonly ca?: string
  /** Client certificate, PEM, with its chain. Shown to registries only, not to token servers or blob stores. */
  readonly clientCert?: string
  /** Private key of `clientCert`, PEM. Secret. */
  readonly clientKey?: string
  /**
   * Other hosts that a registry may redirect a blob download to. Never sent credentials. Default none: such redirects are refused.
   * Danger: a hostile registry can make airseal send GET requests to these.
   */
  readonly allowRedirectHosts: readonly string[]
  /**
   * Other hosts that may hand out tokens for a registry (`realm` of its challenge). Default none: only the registry's own host.
   * Danger: these get the credentials of whichever registry names them.
   */
  readonly allowRealms: readonly string[]
  /** Milliseconds until TCP and TLS stand. Default 5000. */
  readonly connectTimeoutMs: number
  /** Milliseconds without a byte from the registry. Default 10000. */
  readonly idleTimeoutMs: number
  /** Milliseconds for one request with its retries, redirects and token. Default 30000. */
  readonly timeoutMs: number
}

export const DEFAULT_REGISTRY_SETTINGS: RegistrySettings = {
  plainHttp: [],
  forceHttps: [],
  allowRedirectHosts: [],
  allowRealms: [],
  connectTimeoutMs: 5_000,
  idleTimeoutMs: 10_000,
  timeoutMs: 30_000,
}
