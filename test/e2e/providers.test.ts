import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openSigner } from '../../keys/index.ts'
import { toBase64 } from '../../src/core/index.ts'
import { startFakeGoogle } from '../keys/support/fake-google.ts'
import { nssToken } from '../keys/support/nss.ts'
import { REGION, startLocalKms, useTestCredentials } from '../keys/support/aws-servers.ts'
import { softhsmPlace } from '../keys/support/softhsm.ts'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { said, startPlace } from './support/place.ts'

/** Unmodified cosign 2 and 3 verify what keys behind every back-end sign. */

t.setTimeout(300_000)

const PROGRAMS = [
  'crane',
  'cosign2',
  'cosign3',
  'softhsm2-util',
  'certutil',
  'local-kms',
  'unshare',
  'ip',
]

await t.test('cosign verifies images that are signed', needs(...PROGRAMS), async (t) => {
  useTestCredentials()
  process.env['AWS_REGION'] = REGION
  process.env['AWS_ENDPOINT_URL_KMS'] = await startLocalKms(t)
  const softhsm = softhsmPlace(t)
  softhsm.initialise('site')
  const nss = nssToken(t)
  const keys: readonly (readonly [string, string, string])[] = [
    ['softhsm-p256', softhsm.uri('site', 'p256'), 'ecdsa-p256'],
    ['softhsm-rsa', softhsm.uri('site', 'rsa'), 'rsa-2048'],
    ['nss', nss('p256'), 'ecdsa-p256'],
    ['aws-p256', 'awskms:///alias/p256', 'ecdsa-p256'],
    ['aws-rsa', 'awskms:///alias/rsa', 'rsa-2048'],
  ]
  const place = await startPlace(t)
  const { host } = await startRegistry(t, 'crane')
  for (const [name, uri, algorithm] of [['signing', '', ''] as const, ...keys]) {
    await t.test(`with ${name}`, async (t) => {
      const { site } = place
      if (uri !== '') {
        const made = await site.airseal(['key', 'create', name, uri, '--algorithm', algorithm])
        t.equal(made.code, 0, said(made))
      }
      const image = await place.push(host)
      const signed = await site.airseal(['sign', '--key', name, image.reference])
      t.equal(signed.code, 0, said(signed))
      const shown = await site.airseal(['key', 'export-public', name])
      const key = join(place.directory, `${name}.pub`)
      await writeFile(key, shown.stdout)
      for (const cosign of ['cosign2', 'cosign3']) {
        const verify = ['verify', '--key', key, ...place.trust, image.reference]
        const verified = await place.client(cosign, verify)
        t.equal(verified.code, 0, `${cosign}: ${said(verified)}`)
      }
    })
  }
})

await t.test(
  'cosign verifies files that Google KMS signs (the fake)',
  needs('cosign2', 'cosign3'),
  async (t) => {
    const fake = await startFakeGoogle(t)
    const place = await startPlace(t)
    const file = join(place.directory, 'file')
    const message = Buffer.from('a file')
    await writeFile(file, message)
    for (const algorithm of ['ecdsa-p256', 'rsa-3072']) {
      const version = fake.addVersion(
        `projects/p/locations/l/keyRings/r/cryptoKeys/${algorithm}`,
        algorithm,
      )
      const signer = await openSigner(algorithm, `gcpkms://${version}`, {
        google: { endpoint: fake.endpoint },
      })
      const [key, signature] = [`${file}.pub`, `${file}.sig`]
      await writeFile(key, signer.publicKey.pem)
      await writeFile(signature, toBase64(await signer.sign(message)))
      await signer.close()
      for (const cosign of ['cosign2', 'cosign3']) {
        const given = ['--key', key, '--signature', signature, '--insecure-ignore-tlog', file]
        const verified = await place.client(cosign, ['verify-blob', ...given])
        t.equal(verified.code, 0, `${cosign}, ${algorithm}: ${said(verified)}`)
      }
    }
  },
)
