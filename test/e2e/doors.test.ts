import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { freePort } from '../support/processes.ts'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { AIRSEAL, run, type Finished } from '../support/site.ts'
import { said, startPlace, type Place } from './support/place.ts'

/** Unmodified cosign 2 and 3 sign and verify with a key of airseal, through the plugin and through what they take for AWS KMS. */

t.setTimeout(300_000)

const ACCESS_KEY = 'AKIDOFTHETEST'
const SECRET = 'wJalrXUtnFEMIK7MDENGbPxRfiCYofthetest'

interface Way {
  readonly name: string
  readonly cosign: 'cosign2' | 'cosign3'
  options(place: Place): string[]
}

const WAYS: readonly Way[] = [
  {
    name: 'cosign 2, legacy format',
    cosign: 'cosign2',
    options: ({ site }) => ['--rekor-url', site.url],
  },
  {
    name: 'cosign 3, bundle',
    cosign: 'cosign3',
    options: ({ site, trust }) => ['--signing-config', site.file('signing_config.json'), ...trust],
  },
  {
    name: 'cosign 3, legacy format',
    cosign: 'cosign3',
    options: ({ site }) => [
      '--new-bundle-format=false',
      '--use-signing-config=false',
      '--rekor-url',
      site.url,
    ],
  },
]

await t.test('the doors', needs('crane', 'cosign2', 'cosign3', 'openssl'), async (t) => {
  const aws = `127.0.0.1:${await freePort()}`
  const place = await startPlace(t, async (directory) => {
    await writeFile(join(directory, 'credentials'), `${ACCESS_KEY} ${SECRET}\n`, { mode: 0o600 })
    const config = join(directory, 'airseal.yaml')
    const { certFile, keyFile } = await certificate(directory)
    const door = {
      listen: aws,
      tls: { certFile, keyFile },
      aliases: { 'cosign-key': 'signing' },
      credentialsFile: 'credentials',
    }
    await writeFile(config, stringify({ doors: { plugin: { keys: ['signing'] }, aws: door } }))
    return config
  })
  const { site } = place
  const { host } = await startRegistry(t, 'crane')
  const ours = await readFile(site.file('cosign.pub'), 'utf8')
  const allow = join(place.directory, 'allow.yaml')
  await writeFile(allow, 'payloads: [sign, attest, digest]\n')
  t.equal((await site.airseal(['key', 'policy', 'signing', allow])).code, 0)
  const plugins = AIRSEAL.replace(/\/airseal$/, '')
  const env: Record<string, string> = {
    AIRSEAL_DATA: site.data,
    PATH: `${plugins}:${process.env['PATH'] ?? ''}`,
    AWS_ACCESS_KEY_ID: ACCESS_KEY,
    AWS_SECRET_ACCESS_KEY: SECRET,
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL_KMS: `https://${aws}`,
    AWS_CA_BUNDLE: join(place.directory, 'door.pem'),
  }
  const client = (name: string, args: readonly string[], more = {}): Promise<Finished> =>
    place.client(name, args, { env: { ...env, ...more }, cwd: place.directory })
  const doors = [
    ['the plugin', 'airseal://signing'],
    ['AWS KMS', 'awskms:///alias/cosign-key'],
    ['AWS KMS by its host', `awskms://${aws}/alias/cosign-key`],
  ] as const

  for (const [door, key] of doors) {
    // How the endpoint is named makes no difference to the formats.
    for (const way of door.endsWith('host') ? WAYS.slice(0, 1) : WAYS) {
      await t.test(`${way.name} through ${door}`, async (t) => {
        const image = await place.push(host)
        const options = ['--key', key, ...way.options(place)]
        const signed = await client(way.cosign, ['sign', ...options, '-a', 'a=b', image.reference])
        t.equal(signed.code, 0, said(signed))
        const judged = await site.airseal(['verify', '-a', 'a=b', image.reference])
        t.equal(judged.code, 0, said(judged))
        for (const cosign of ['cosign2', 'cosign3']) {
          const verify = ['verify', '--key', key, ...place.trust, image.reference]
          const verified = await client(cosign, verify)
          t.equal(verified.code, 0, `${cosign}: ${said(verified)}`)
        }
      })
    }
    await t.test(`cosign reads the public key and refuses other images, by ${door}`, async (t) => {
      const unsigned = await place.push(host)
      for (const cosign of ['cosign2', 'cosign3']) {
        const shown = await client(cosign, ['public-key', '--key', key])
        t.equal(shown.stdout.trim(), ours.trim(), said(shown))
        const verify = ['verify', '--key', key, ...place.trust, unsigned.reference]
        t.equal((await client(cosign, verify)).code, 10)
        const made = await client(cosign, ['generate-key-pair', '--kms', key])
        // AWS: the key is there, so cosign takes it; the plugin makes none.
        t.equal(made.code, door === 'the plugin' ? 1 : 0, said(made))
      }
    })
  }

  await t.test('cosign attests and signs files through both', async (t) => {
    const predicate = join(place.directory, 'predicate.json')
    await writeFile(predicate, '{"bomFormat":"CycloneDX","specVersion":"1.6"}')
    for (const [, key] of doors.slice(0, 2)) {
      const image = await place.push(host)
      const options = ['--key', key, '--signing-config', site.file('signing_config.json')]
      const about = ['--type', 'cyclonedx', '--predicate', predicate, image.reference]
      const made = await client('cosign3', ['attest', ...options, ...place.trust, ...about])
      t.equal(made.code, 0, said(made))
      const judge = ['verify-attestation', '--type', 'cyclonedx', image.reference]
      t.equal((await site.airseal(judge)).code, 0)
      const bundle = join(place.directory, 'blob.sigstore.json')
      const blob = ['--bundle', bundle, predicate]
      const signed = await client('cosign3', ['sign-blob', ...options, ...place.trust, ...blob])
      t.equal(signed.code, 0, said(signed))
      const verify = ['verify-blob', '--key', key, ...place.trust, ...blob]
      t.equal((await client('cosign3', verify)).code, 0)
      await writeFile(predicate, `${await readFile(predicate, 'utf8')} `)
      t.not((await client('cosign3', verify)).code, 0, 'another file')
    }
  })

  await t.test('what a door refuses, cosign tells', async (t) => {
    const image = await place.push(host)
    const sign = (key: string, more: Record<string, string>) =>
      client('cosign2', ['sign', '--key', key, '--rekor-url', site.url, image.reference], more)
    const cases: readonly (readonly [string, string, Record<string, string>, RegExp])[] = [
      ['no such key', 'airseal://nobody', {}, /KEY_UNKNOWN/],
      ['no service', 'airseal://signing', { AIRSEAL_DATA: '/nowhere' }, /SERVER_UNREACHABLE/],
      ['no such alias', 'awskms:///alias/nobody', {}, /NotFoundException/],
      [
        'another secret',
        'awskms:///alias/cosign-key',
        { AWS_SECRET_ACCESS_KEY: 'x'.repeat(40) },
        /InvalidSignatureException/,
      ],
      [
        'an unknown access key',
        'awskms:///alias/cosign-key',
        { AWS_ACCESS_KEY_ID: 'AKIDUNKNOWN' },
        /UnrecognizedClientException/,
      ],
    ]
    for (const [what, key, more, message] of cases) {
      const refused = await sign(key, { ...more, AWS_MAX_ATTEMPTS: '1' })
      t.not(refused.code, 0, what)
      t.match(refused.stderr, message, what)
    }
    t.equal((await site.airseal(['verify', image.reference])).code, 10, 'nothing was signed')
  })

  await t.test(
    'Kyverno verifies with kms: awskms:///alias/cosign-key',
    needs('kyverno'),
    async (t) => {
      const kms = 'awskms:///alias/cosign-key'
      const image = await place.push(host)
      const sign = ['sign', '--key', kms, '--rekor-url', site.url, image.reference]
      t.equal((await client('cosign2', sign)).code, 0)
      const judge = async (reference: string, key = kms): Promise<Finished> => {
        const policy = join(place.directory, 'policy.yaml')
        const pod = join(place.directory, 'pod.yaml')
        const rekor = { url: site.url, pubkey: await readFile(site.file('rekor.pub'), 'utf8') }
        const entry = { keys: { kms: key, rekor, ctlog: { ignoreSCT: true } } }
        await writeFile(policy, stringify(policyOf({ count: 1, entries: [entry] })))
        const spec = { containers: [{ name: 'app', image: reference }] }
        const metadata = { name: 'app' }
        await writeFile(pod, stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec }))
        return client('kyverno', ['apply', policy, '--resource', pod, '--registry'])
      }
      const accepted = await judge(image.reference)
      t.equal(accepted.code, 0, said(accepted))
      t.match(accepted.stdout, /pass: 2, fail: 0/)
      t.not((await judge((await place.push(host)).reference)).code, 0, 'an unsigned image')
      t.not((await judge(image.reference, 'awskms:///alias/nobody')).code, 0, 'no such alias')
    },
  )
})

function policyOf(attestor: unknown): unknown {
  const rule = {
    name: 'signed',
    match: { any: [{ resources: { kinds: ['Pod'] } }] },
    verifyImages: [
      {
        imageReferences: ['*'],
        type: 'Cosign',
        failureAction: 'Enforce',
        mutateDigest: true,
        verifyDigest: true,
        required: true,
        attestors: [attestor],
      },
    ],
  }
  return {
    apiVersion: 'kyverno.io/v1',
    kind: 'ClusterPolicy',
    metadata: { name: 'signed-by-airseal' },
    spec: { background: false, webhookConfiguration: { failurePolicy: 'Fail' }, rules: [rule] },
  }
}

/** A self-signed certificate for loopback, its own authority. */
async function certificate(directory: string): Promise<{ certFile: string; keyFile: string }> {
  const [certFile, keyFile] = [join(directory, 'door.pem'), join(directory, 'door.key')]
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-days', '2', '-subj', '/CN=door', '-addext', 'subjectAltName=IP:127.0.0.1'],
    ...['-keyout', keyFile, '-out', certFile],
  ])
  if (made.code !== 0) throw new Error(made.stderr)
  return { certFile, keyFile }
}
