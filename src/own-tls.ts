import {
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AirsealError, toPem } from './core/index.ts'
import { issueCertificate } from './x509/index.ts'

/** Certificate (leaf first) and key of a server, PEM. */
export interface ServerTls {
  readonly cert: string
  readonly key: string
}

/** Where the authority of the webhook is, and which names its servers go by. */
export interface OwnTlsOptions {
  /** Holds `ca.crt` or `tls.crt`, and `ca.key` or `tls.key`; made when the folder has neither. */
  readonly directory: string
  readonly names: readonly string[]
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

const DAY_MS = 86_400_000
const AUTHORITY_MS = 3_650 * DAY_MS
/** A certificate lives a week and is replaced after half of it. */
const LEAF_MS = 7 * DAY_MS
/** Clocks of API servers may be behind. */
const EARLIER_MS = 3_600_000
const AUTHORITY_NAME = 'airseal webhook authority'

interface Authority {
  readonly certificate: X509Certificate
  readonly pem: string
  readonly key: KeyObject
}

/**
 * A certificate of its own for a webhook's server. The authority's key is read anew each time, so that a new authority counts without a restart.
 * @throws AirsealError CONFIG_INVALID
 */
export async function issueServerTls({
  directory,
  names,
  clock,
}: OwnTlsOptions): Promise<ServerTls & { readonly renewAt: number }> {
  const authority = await readAuthority(directory, clock())
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const now = clock()
  const notAfter = Math.min(now + LEAF_MS, Date.parse(authority.certificate.validTo))
  if (notAfter <= now)
    throw new AirsealError(
      'CONFIG_INVALID',
      `the certificate of the authority in ${directory} has expired`,
    )
  const der = issueCertificate(
    {
      subject: names[0] ?? 'airseal',
      issuer: nameOf(authority.certificate),
      spki: publicKey.export({ type: 'spki', format: 'der' }),
      serial: serial(),
      notBefore: now - EARLIER_MS,
      notAfter,
      authority: false,
      names,
    },
    (bytes) => sign('sha256', bytes, authority.key),
  )
  return {
    cert: `${toPem('CERTIFICATE', der)}${authority.pem}`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    renewAt: now + (notAfter - now) / 2,
  }
}

function nameOf({ subject }: X509Certificate): string {
  return /^CN=(.*)$/m.exec(subject)?.[1] ?? subject
}

function serial(): Uint8Array {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes
}

async function readAuthority(directory: string, now: number): Promise<Authority> {
  const first = async (...names: readonly string[]): Promise<string | null> => {
    for (const name of names) {
      const text = await readFile(join(directory, name), 'utf8').catch(() => null)
      if (text !== null) return text
    }
    return null
  }
  const [certificate, key] = [await first('ca.crt', 'tls.crt'), await first('ca.key', 'tls.key')]
  if (certificate === null && key === null) return makeAuthority(directory, now)
  if (certificate === null || key === null)
    throw new AirsealError('CONFIG_INVALID', `${directory} must hold ca.crt and ca.key, or neither`)
  try {
    const read = new X509Certificate(certificate)
    const authority = { certificate: read, pem: certificate, key: createPrivateKey(key) }
    if (!read.ca || !read.checkPrivateKey(authority.key))
      throw new Error('not an authority and its key')
    return authority
  } catch (cause) {
    // Without the cause's text: what it says of the key is for nobody's log.
    throw new AirsealError(
      'CONFIG_INVALID',
      `${directory}: ca.crt and ca.key are not an authority and its key in PEM`,
      { cause: cause instanceof AirsealError ? cause : undefined },
    )
  }
}

async function makeAuthority(directory: string, now: number): Promise<Authority> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const der = issueCertificate(
    {
      subject: AUTHORITY_NAME,
      issuer: AUTHORITY_NAME,
      spki: publicKey.export({ type: 'spki', format: 'der' }),
      serial: serial(),
      notBefore: now - EARLIER_MS,
      notAfter: now + AUTHORITY_MS,
      authority: true,
      names: [],
    },
    (bytes) => sign('sha256', bytes, privateKey),
  )
  const pem = toPem('CERTIFICATE', der)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeNew(
    join(directory, 'ca.key'),
    privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    0o600,
  )
  await writeNew(join(directory, 'ca.crt'), pem, 0o644)
  return { certificate: new X509Certificate(pem), pem, key: privateKey }
}

/** Never replaces: two processes that start at once must not end with one's key and the other's certificate. */
async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode).catch((cause: unknown) => {
    throw new AirsealError('CONFIG_INVALID', `${path} can't be made`, { cause })
  })
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Renews a server's certificate when half of its life is over, and when `changed` says that its authority is another.
 * @param apply - gives it to the running server; connections that are open keep the old one
 */
export function renewTls(
  options: OwnTlsOptions,
  first: { readonly renewAt: number },
  apply: (tls: ServerTls) => void,
  notify: (line: string) => void,
): () => void {
  let renewAt = first.renewAt
  let authority: string | null = null
  const look = async (): Promise<void> => {
    const now = await readFile(join(options.directory, 'ca.crt'), 'utf8')
      .catch(() => readFile(join(options.directory, 'tls.crt'), 'utf8'))
      .catch(() => null)
    const changed = authority !== null && now !== null && now !== authority
    authority = now ?? authority
    if (!changed && options.clock() < renewAt) return
    const next = await issueServerTls(options)
    renewAt = next.renewAt
    apply(next)
    notify(`airseal: new certificate for ${options.names.join(', ')}`)
  }
  const timer = setInterval(() => {
    look().catch((error: unknown) => {
      notify(
        `airseal: the certificate was not renewed: ${error instanceof Error ? error.message : 'unknown'}`,
      )
    })
  }, LOOK_MS)
  timer.unref()
  return () => {
    clearInterval(timer)
  }
}

const LOOK_MS = 5_000
