import { readFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { readProvidedBytes } from '../keys/index.ts'
import { isLoopback, type Config } from './config.ts'
import { AirsealError, loadDigestVerifier, type Clock } from './core/index.ts'
import type { DataDirectory } from './data-directory.ts'
import { createListener, listen, type HttpServices, type RunningServer } from './http/index.ts'
import { startSelfTests, type Keyring } from './keyring/index.ts'
import type { TransparencyLog } from './log/index.ts'
import { currentAlarms, type SiteTuf, type TrustKeeper } from './operations/index.ts'
import { publicUrlOf } from './public-url.ts'
import type { Signing } from './sign/index.ts'
import { socketAddress } from './socket-address.ts'

/** Pending pushes are tried again this often, milliseconds. */
const RETRY_MS = 30_000
/** The age of the trust bundle is looked at this often, milliseconds. */
const TRUST_CARE_MS = 3_600_000
/** Characters of warnings that are remembered, so that none is repeated within a day. */
const MAX_TOLD = 16_384

/** What a running service is made of. */
export interface ServingParts {
  readonly services: HttpServices
  readonly directory: DataDirectory
  readonly config: Config
  readonly clock: Clock
  /** Takes lines for the operator. Never holds a secret. */
  readonly notify: (line: string) => void
  readonly signing: Signing
  readonly trust: TrustKeeper
  readonly log: TransparencyLog
  readonly tuf: SiteTuf
  readonly keyring: Keyring
  /** Null: that door stays closed. */
  readonly awsDoor: RequestListener | null
}

/** Serves on the configured address and on the socket in the data directory, and looks after what a service must from time to time. */
export async function startServing(
  parts: ServingParts,
): Promise<{ url: string; close(): Promise<void> }> {
  const { services, directory, config, clock, notify, signing, trust, tuf, keyring, awsDoor } =
    parts
  const verifier = loadDigestVerifier()
  if (verifier.name === 'portable') {
    notify(
      `airseal: digests are verified by the portable code, slower (${verifier.reason ?? 'no compiled addon'})`,
    )
  }
  const tls = config.tls && (await readTls(config.tls))
  const loopback = isLoopback(config.listen.host)
  await tuf.start()
  await trust.refresh()
  const socket = await socketAddress(directory)
  const servers: RunningServer[] = []
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.close()))
    await socket.release()
  }
  try {
    servers.push(await listen(createListener(services, { kind: 'unix' }), { path: socket.path }))
    const { host, port } = config.listen
    servers.push(
      await listen(createListener(services, { kind: 'tcp', loopback }), {
        host,
        port,
        ...(tls && { tls }),
      }),
    )
    const { aws } = config.doors
    if (awsDoor !== null && aws !== null) {
      const doorTls = aws.tls === null ? tls : await readTls(aws.tls)
      servers.push(await listen(awsDoor, { ...aws.listen, ...(doorTls && { tls: doorTls }) }))
    }
  } catch (error) {
    await close()
    throw error
  }
  const retry = setInterval(() => {
    finishPending(signing, notify).catch(() => undefined)
  }, RETRY_MS)
  retry.unref()
  const endSelfTests = startSelfTests(keyring, { clock, notify })
  const care = attendTrust(parts)
  return {
    url: publicUrlOf(config),
    close: async () => {
      clearInterval(retry)
      clearInterval(care)
      await endSelfTests()
      await close()
    },
  }
}

/** Logs and pushes what was signed and not finished, and says what is left. */
export async function finishPending(signing: Signing, log: (line: string) => void): Promise<void> {
  const { finished, waiting } = await signing.finishPending()
  if (finished > 0) log(`airseal: finished ${finished} signatures of an earlier run`)
  for (const { digest, reason } of waiting)
    log(`airseal: ${digest} still waits to be stored beside its image: ${reason}`)
}

/** Renews the trust bundle in time, and says every day what an operator must know of it. */
function attendTrust({ trust, log, config, clock, notify }: ServingParts): NodeJS.Timeout {
  let told = ''
  const attend = async (): Promise<void> => {
    await trust.refresh()
    const now = clock()
    for (const { stage, message } of await currentAlarms(trust, config.trust, log, now)) {
      const line = `airseal: trust: ${stage}: ${message}`
      const today = `${new Date(now).toISOString().slice(0, 10)} ${line}`
      if (!told.includes(today)) notify(line)
      told = `${told}${today}\n`.slice(-MAX_TOLD)
    }
  }
  void attend().catch(() => undefined)
  return setInterval(() => void attend().catch(() => undefined), TRUST_CARE_MS).unref()
}

async function readTls({
  certFile,
  keyFile,
}: NonNullable<Config['tls']>): Promise<{ cert: Buffer; key: Buffer }> {
  const cert = await readFile(certFile).catch((cause: unknown) => {
    throw new AirsealError('CONFIG_INVALID', `tls: certFile: ${certFile} can't be read`, { cause })
  })
  // As bytes: the server keeps it, and a string would show in a heap dump.
  const key = await readProvidedBytes(keyFile, 'CONFIG_INVALID')
  const { createSecureContext } = await import('node:tls')
  try {
    createSecureContext({ cert, key })
  } catch {
    // Without the cause: what it says of the key is for nobody's log.
    throw new AirsealError(
      'CONFIG_INVALID',
      `tls: ${certFile} and ${keyFile} are not a certificate and its key in PEM`,
    )
  }
  return { cert, key }
}
