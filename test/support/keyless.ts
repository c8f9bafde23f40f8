import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
} from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { concat, toBase64 } from '../../src/core/index.ts'
import { parseCertificates } from '../../src/sigstore/index.ts'
import { EXTENSION, parseCertificate } from '../../src/x509/index.ts'
import { tbsWithout } from '../../src/x509/profile.ts'
import { testKey, type TestKey } from './evidence.ts'
import { freePort, startProcess, waitUntil, type Lifetime, type Started } from './processes.ts'
import { requiredProgram } from './programs.ts'

/** Who asks for a certificate in these tests. */
export const EMAIL = 'builder@corp.test'

export interface Keyless {
  /** URL of the OpenID Connect issuer, as certificates name it. */
  readonly issuer: string
  /** DER, the root last. */
  readonly fulcioChain: readonly Uint8Array[]
  readonly tsaChain: readonly Uint8Array[]
  /** Null when Fulcio runs without certificate transparency. */
  readonly ctKey: TestKey | null
  /** A key and its certificate, DER, for {@link EMAIL}. */
  certify(): Promise<{ key: TestKey; certificate: Uint8Array }>
  /** TimeStampResp over `bytes`. */
  stamp(bytes: Uint8Array, withCertificate: boolean): Promise<Uint8Array>
}

/** A real Fulcio and a real time-stamping authority; issuer and certificate-transparency log are small ones of this file. All on loopback. */
export async function startKeyless(t: Lifetime, transparency: boolean): Promise<Keyless> {
  const folder = mkdtempSync(join(tmpdir(), 'airseal-keyless-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const issuer = await startIssuer(t)
  const ctKey = transparency ? testKey() : null
  const ctUrl = ctKey === null ? '' : await startCtLog(t, ctKey)
  const fulcio = await startFulcio(t, folder, issuer.url, ctUrl, ctKey)
  const tsa = await startTsa(t)
  const trust = (await (await fetch(`${fulcio}/api/v2/trustBundle`)).json()) as {
    chains: { certificates: string[] }[]
  }
  return {
    issuer: issuer.url,
    ctKey,
    fulcioChain: (trust.chains[0]?.certificates ?? []).flatMap((pem) => parseCertificates(pem)),
    tsaChain: parseCertificates(await (await fetch(`${tsa}/api/v1/timestamp/certchain`)).text()),
    certify: () => certify(fulcio, issuer.token()),
    stamp: (bytes, withCertificate) => stamp(tsa, bytes, withCertificate),
  }
}

async function certify(fulcio: string, token: string) {
  const key = testKey()
  const answer = await fetch(`${fulcio}/api/v2/signingCert`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      credentials: { oidcIdentityToken: token },
      publicKeyRequest: {
        publicKey: { algorithm: 'ECDSA', content: key.publicKey.pem },
        proofOfPossession: toBase64(key.sign(Buffer.from(EMAIL))),
      },
    }),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`Fulcio answered ${answer.status}: ${text}`)
  const found = JSON.parse(text) as Record<string, { chain: { certificates: string[] } }>
  const issued = found['signedCertificateEmbeddedSct'] ?? found['signedCertificateDetachedSct']
  const [certificate] = parseCertificates(issued?.chain.certificates[0] ?? '')
  if (certificate === undefined) throw new Error('Fulcio gave no certificate')
  return { key, certificate }
}

async function stamp(tsa: string, bytes: Uint8Array, certificates: boolean): Promise<Uint8Array> {
  const answer = await fetch(`${tsa}/api/v1/timestamp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      artifactHash: createHash('sha256').update(bytes).digest('base64'),
      hashAlgorithm: 'sha256',
      certificates,
      nonce: 4711,
    }),
  })
  if (!answer.ok) throw new Error(`the authority answered ${answer.status}: ${await answer.text()}`)
  return new Uint8Array(await answer.arrayBuffer())
}

/** An OpenID Connect issuer with one key, as small as Fulcio needs it. */
async function startIssuer(t: Lifetime): Promise<{ url: string; token(): string }> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = pair.privateKey.export({ format: 'pem', type: 'pkcs8' })
  const privateKey = createPrivateKey(pem)
  const jwk = {
    ...createPublicKey(privateKey).export({ format: 'jwk' }),
    kid: 'k',
    alg: 'ES256',
    use: 'sig',
  }
  let url = ''
  url = await listen(t, (request) =>
    request.url === '/keys'
      ? { keys: [jwk] }
      : {
          issuer: url,
          jwks_uri: `${url}/keys`,
          authorization_endpoint: `${url}/auth`,
          response_types_supported: ['id_token'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: ['ES256'],
        },
  )
  return {
    url,
    token: () => {
      const now = Math.floor(Date.now() / 1000)
      const claims = {
        iss: url,
        aud: 'sigstore',
        sub: 'builder',
        email: EMAIL,
        email_verified: true,
        iat: now,
        exp: now + 600,
      }
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
      const text = `${part({ alg: 'ES256', kid: 'k', typ: 'JWT' })}.${part(claims)}`
      const signature = sign('sha256', Buffer.from(text), {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      })
      return `${text}.${signature.toString('base64url')}`
    },
  }
}

/** A certificate-transparency log that promises and keeps nothing: no reader asks it. Fulcio checks its promise with the public key. */
function startCtLog(t: Lifetime, key: TestKey): Promise<string> {
  return listen(t, async (request) => {
    const body = JSON.parse(await textOf(request)) as { chain: string[] }
    const [precertificate, authority] = body.chain.map((der) =>
      parseCertificate(Buffer.from(der, 'base64')),
    )
    if (precertificate === undefined || authority === undefined) throw new Error('no chain')
    const tbs = tbsWithout(precertificate, EXTENSION.precertificatePoison)
    const timestamp = Date.now()
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(timestamp))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(tbs.length)
    const signature = key.sign(
      concat(
        Buffer.from([0, 0]),
        time,
        Buffer.from([0, 1]),
        createHash('sha256').update(authority.publicKey.spki).digest(),
        length.subarray(1),
        tbs,
        Buffer.from([0, 0]),
      ),
    )
    const header = Buffer.from([4, 3, signature.length >> 8, signature.length & 0xff])
    return {
      sct_version: 0,
      id: Buffer.from(key.publicKey.id, 'hex').toString('base64'),
      timestamp,
      extensions: '',
      signature: toBase64(concat(header, signature)),
    }
  })
}

async function startFulcio(
  t: Lifetime,
  folder: string,
  issuer: string,
  ctUrl: string,
  ctKey: TestKey | null,
): Promise<string> {
  const config = join(folder, 'fulcio.yaml')
  const members = { 'issuer-url': issuer, 'client-id': 'sigstore', type: 'email' }
  const lines = Object.entries(members).map(([name, value]) => `    ${name}: ${value}\n`)
  writeFileSync(config, `oidc-issuers:\n  ${issuer}:\n${lines.join('')}`)
  const ctKeyFile = join(folder, 'ct.pub')
  if (ctKey !== null) writeFileSync(ctKeyFile, ctKey.publicKey.pem)
  const [port, grpcPort, metricsPort] = [await freePort(), await freePort(), await freePort()]
  const server = startProcess(t, requiredProgram('fulcio'), [
    'serve',
    ...['--ca', 'ephemeralca', '--config-path', config, '--ct-log-url', ctUrl],
    ...(ctKey === null ? [] : ['--ct-log-public-key-path', ctKeyFile]),
    ...['--host', '127.0.0.1', '--port', String(port)],
    ...['--grpc-host', '127.0.0.1', '--grpc-port', String(grpcPort)],
    ...['--metrics-port', String(metricsPort)],
    ...['--legacy-unix-domain-socket', join(folder, 'grpc.sock')],
  ])
  const url = `http://127.0.0.1:${port}`
  await answering(`${url}/api/v2/trustBundle`, server)
  return url
}

async function startTsa(t: Lifetime): Promise<string> {
  const port = await freePort()
  const server = startProcess(t, requiredProgram('timestamp-server'), [
    'serve',
    ...['--host', '127.0.0.1', '--port', String(port), '--timestamp-signer', 'memory'],
    '--disable-ntp-monitoring',
  ])
  const url = `http://127.0.0.1:${port}`
  await answering(`${url}/ping`, server)
  return url
}

function answering(url: string, server: Started): Promise<void> {
  return waitUntil(server, async () => (await fetch(url)).ok)
}

/** Answers every request with JSON. @returns the URL */
async function listen(t: Lifetime, answer: (request: IncomingMessage) => unknown): Promise<string> {
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = JSON.stringify(await answer(request))
    response.setHeader('content-type', 'application/json').end(text)
  }
  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
