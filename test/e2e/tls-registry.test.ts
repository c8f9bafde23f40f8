import { lookup } from 'node:dns/promises'
import { mkdir, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { freePort, startProcess, waitUntil } from '../support/processes.ts'
import { needs, requiredProgram } from '../support/programs.ts'
import { AIRSEAL, run, temporaryDirectory } from '../support/site.ts'
import { pushTiny } from '../support/tiny-layout.ts'

t.setTimeout(120_000)

// A name of this machine that isn't spelt as loopback: loopback is spoken to without TLS.
const NAME = hostname().toLowerCase()

await t.test(
  'a registry with an authority of its own that asks for a client certificate',
  needs('docker-registry', 'openssl'),
  async (t) => {
    const directory = await temporaryDirectory(t)
    const server = await certificate(directory, 'server', `DNS:${NAME}`)
    const client = await certificate(directory, 'client', 'DNS:client.example')
    const storage = join(directory, 'storage')
    await mkdir(storage)
    const { address } = await lookup(NAME, { family: 4 })

    const plain = await registry(t, directory, 'plain', `127.0.0.1:${await freePort()}`, [])
    const [image = ''] = await pushTiny(`${plain}/app`, ['a'])
    const port = await freePort()
    await registry(t, directory, 'tls', `${address}:${port}`, [
      `tls: { certificate: ${server.cert}, key: ${server.key}, clientcas: [${client.cert}] }`,
    ])
    const reference = image.replace(plain, `${NAME}:${port}`)

    const data = join(directory, 'data')
    t.equal((await run(AIRSEAL, ['init', '--data', data])).code, 0)
    const airseal = async (command: string, registries: string) => {
      const config = join(directory, 'airseal.yaml')
      await writeFile(config, `registries: { ${registries} }\n`)
      return run(AIRSEAL, [command, '--data', data, '--config', config, reference])
    }
    const authority = `caFile: ${server.cert}`
    const identity = `clientCertFile: ${client.cert}, clientKeyFile: ${client.key}`
    for (const [what, registries] of [
      ['without the authority', identity],
      ['without the client certificate', authority],
      ['with the certificate of another', `${authority}, ${identityOf(server)}`],
      ['without TLS', `${authority}, ${identity}, plainHttp: ["${NAME}:${port}"]`],
    ] as const) {
      const { code, stderr } = await airseal('sign', registries)
      t.ok(code === 1 || code === 3, `${what}: ${code} ${stderr}`)
      t.match(stderr, /\[REGISTRY_[A-Z]+\]/, what)
    }
    for (const command of ['sign', 'verify']) {
      const { code, stderr } = await airseal(command, `${authority}, ${identity}`)
      t.equal(code, 0, stderr)
    }
  },
)

interface Certificate {
  readonly cert: string
  readonly key: string
}

function identityOf({ cert, key }: Certificate): string {
  return `clientCertFile: ${cert}, clientKeyFile: ${key}`
}

/** A self-signed certificate, its own authority. */
async function certificate(directory: string, name: string, altName: string): Promise<Certificate> {
  const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)]
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-days', '2', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${altName}`],
    ...['-keyout', key, '-out', cert],
  ])
  if (made.code !== 0) throw new Error(made.stderr)
  return { cert, key }
}

/** Debian's registry over the storage that all of this test share. @returns where it listens */
async function registry(
  t: Test,
  directory: string,
  name: string,
  address: string,
  tls: readonly string[],
): Promise<string> {
  const config = join(directory, `${name}.yml`)
  const http = [`addr: "${address}"`, ...tls].map((line) => `  ${line}\n`).join('')
  await writeFile(
    config,
    `version: 0.1\nstorage: { filesystem: { rootdirectory: ${join(directory, 'storage')} } }\nhttp:\n${http}`,
  )
  const started = startProcess(t, requiredProgram('docker-registry'), ['serve', config])
  // Whoever speaks no TLS is told so by the one that does.
  await waitUntil(started, async () => (await fetch(`http://${address}/`)).status > 0)
  return address
}
