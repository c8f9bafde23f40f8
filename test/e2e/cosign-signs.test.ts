import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openFileSigner } from '../../keys/index.ts'
import { needs } from '../support/programs.ts'
import { startRegistry, type RegistryKind } from '../support/registries.ts'
import type { Finished } from '../support/site.ts'
import { said, startPlace, type Place } from './support/place.ts'

/** What unmodified cosign 2 and 3 sign into airseal's log, judged by airseal; and how both speak of the same image. */

const KINDS: readonly RegistryKind[] = ['crane', 'referrers-registry', 'docker-registry']
const PASSWORD = 'a passphrase of the tests'

/** One way of cosign to sign into our log. */
interface Way {
  readonly name: string
  readonly cosign: 'cosign2' | 'cosign3'
  readonly format: 'legacy' | 'bundle'
  options(place: Place): string[]
  /** cosign 2 leaves annotations out of bundles. */
  readonly keepsAnnotations?: false
  /** Options of `attest` beyond those. */
  readonly attest?: readonly string[]
}

const config = ({ site, trust }: Place): string[] => [
  '--signing-config',
  site.file('signing_config.json'),
  ...trust,
]
const rekorUrl = ({ site }: Place): string[] => ['--rekor-url', site.url]

const WAYS: readonly Way[] = [
  { name: 'cosign 2 with --rekor-url', cosign: 'cosign2', format: 'legacy', options: rekorUrl },
  {
    name: 'cosign 2 with --rekor-url, attestations logged as intoto',
    cosign: 'cosign2',
    format: 'legacy',
    options: rekorUrl,
    attest: ['--rekor-entry-type', 'intoto'],
  },
  {
    name: 'cosign 2 with a signing configuration and bundles',
    cosign: 'cosign2',
    format: 'bundle',
    keepsAnnotations: false,
    options: (place) => ['--new-bundle-format', ...config(place)],
  },
  {
    name: 'cosign 3 with the signing configuration',
    cosign: 'cosign3',
    format: 'bundle',
    options: config,
  },
  {
    name: 'cosign 3 with --rekor-url and the legacy format',
    cosign: 'cosign3',
    format: 'legacy',
    options: (place) => [
      '--new-bundle-format=false',
      '--use-signing-config=false',
      ...rekorUrl(place),
    ],
  },
]

await t.test('airseal verifies', needs('crane', 'cosign2', 'cosign3'), async (t) => {
  const place = await startPlace(t)
  const env = { COSIGN_PASSWORD: PASSWORD, SIGSTORE_REKOR_PUBLIC_KEY: place.site.file('rekor.pub') }
  const key = await generateKey(place, 'cosign3', 'theirs')
  const stranger = await generateKey(place, 'cosign2', 'stranger')
  const predicate = join(place.directory, 'predicate.json')
  await writeFile(predicate, '{"bomFormat":"CycloneDX","specVersion":"1.6"}')

  for (const kind of KINDS) {
    await t.test(`in ${kind}`, needs(kind), async (t) => {
      const { host } = await startRegistry(t, kind)
      for (const way of WAYS) {
        await t.test(way.name, async (t) => {
          const image = await place.push(host)
          const options = ['--key', `${key}.key`, ...way.options(place)]
          const sign = ['sign', ...options, '-a', 'by=cosign', image.reference]
          const done = await place.client(way.cosign, sign, { env })
          t.equal(done.code, 0, said(done))
          const { site } = place
          const ours = (extra: readonly string[]): Promise<Finished> =>
            site.airseal(['verify', ...extra, image.reference])
          const wanted = way.keepsAnnotations === false ? [] : ['-a', 'by=cosign']
          const verified = await ours(['--key', `${key}.pub`, ...wanted])
          t.equal(verified.code, 0, said(verified))
          t.equal((await ours(['--key', `${stranger}.pub`])).code, 12, 'wrong key')
          t.equal((await ours([])).code, 12, 'no trusted key')
          t.equal((await ours(['--key', `${key}.pub`, '-a', 'by=else'])).code, 12, 'annotation')

          const theirs = ['verify', '--key', `${key}.pub`, ...place.trust, image.reference]
          const same = await place.client(way.cosign, theirs)
          t.equal(same.code, 0, said(same))
          t.same(JSON.parse(verified.stdout), JSON.parse(same.stdout), 'the same JSON')
          const tag = `${image.repository}:tagged`
          await place.client('crane', ['tag', image.reference, 'tagged'])
          const [ours2, theirs2] = [
            await site.airseal(['verify', '--key', `${key}.pub`, tag]),
            await place.client(way.cosign, [...theirs.slice(0, -1), tag]),
          ]
          t.same(JSON.parse(ours2.stdout), JSON.parse(theirs2.stdout), 'the same JSON by tag')

          const about = ['--type', 'cyclonedx', '--predicate', predicate, image.reference]
          const extra = way.attest ?? []
          const made = await place.client(way.cosign, ['attest', ...options, ...extra, ...about], {
            env,
          })
          t.equal(made.code, 0, said(made))
          const attested = (of: string, type: string): Promise<Finished> =>
            site.airseal(['verify-attestation', '--key', of, '--type', type, image.reference])
          const accepted = await attested(`${key}.pub`, 'cyclonedx')
          t.equal(accepted.code, 0, said(accepted))
          t.equal((await attested(`${key}.pub`, 'vuln')).code, 1, 'wrong type')
          t.equal((await attested(`${stranger}.pub`, 'cyclonedx')).code, 1, 'wrong key')
        })
      }
      await t.test('with the exit codes of cosign', async (t) => {
        const unsigned = await place.push(host)
        const signed = await place.push(host)
        const sign = ['sign', '--key', `${key}.key`, ...rekorUrl(place), signed.reference]
        t.equal((await place.client('cosign2', sign, { env })).code, 0)
        const absent = `${signed.repository}:absent`
        const cases: [number, string][] = [
          [10, unsigned.reference],
          [11, absent],
          [12, signed.reference],
        ]
        for (const [code, reference] of cases) {
          const options = ['verify', '--key', `${stranger}.pub`, ...place.trust, reference]
          for (const cosign of ['cosign2', 'cosign3']) {
            const theirs = await place.client(cosign, options)
            t.equal(theirs.code, code, `${cosign}: ${said(theirs)}`)
          }
          const ours = await place.site.airseal(options)
          t.equal(ours.code, code, `airseal: ${said(ours)}`)
          t.equal(ours.stdout, '')
        }
        // By digest cosign does not look for the image itself: it finds no signature.
        const unknown = `${signed.repository}@sha256:${'0'.repeat(64)}`
        const options = ['verify', '--key', `${key}.pub`, ...place.trust, unknown]
        t.equal((await place.client('cosign3', options)).code, 10)
        t.equal((await place.site.airseal(options)).code, 11)
      })
    })
  }

  await t.test('what cosign signs with the key file of airseal', async (t) => {
    const { host } = await startRegistry(t, 'crane')
    const passphrase = await readFile(join(place.site.data, 'keys', 'passphrase'), 'utf8')
    const COSIGN_PASSWORD = passphrase.trim()
    for (const way of WAYS) {
      const image = await place.push(host)
      const keyFile = join(place.site.data, 'keys', 'cosign.key')
      const sign = ['sign', '--key', keyFile, ...way.options(place), image.reference]
      const done = await place.client(way.cosign, sign, { env: { ...env, COSIGN_PASSWORD } })
      t.equal(done.code, 0, `${way.name}: ${said(done)}`)
      const verified = await place.site.airseal(['verify', image.reference])
      t.equal(verified.code, 0, `${way.name}: ${said(verified)}`)
    }
  })

  await t.test('keys: airseal opens the key files that cosign makes', async (t) => {
    for (const [name, path] of [
      ['cosign3', key],
      ['cosign2', stranger],
    ] as const) {
      const options = { name, path: `${path}.key`, passphrase: PASSWORD }
      const signer = await openFileSigner(options)
      t.equal(signer.publicKey.pem.trim(), (await readFile(`${path}.pub`, 'utf8')).trim())
      await signer.close()
      await t.rejects(openFileSigner({ ...options, passphrase: 'wrong' }), { code: 'PASSPHRASE' })
    }
  })
})

/** @returns path without `.key` and `.pub` */
async function generateKey(place: Place, cosign: string, name: string): Promise<string> {
  const prefix = join(place.directory, name)
  const made = await place.client(cosign, ['generate-key-pair', '--output-key-prefix', prefix], {
    env: { COSIGN_PASSWORD: PASSWORD },
  })
  if (made.code !== 0) throw new Error(said(made))
  return prefix
}
