import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needs } from '../support/programs.ts'
import { startRegistry, type RegistryKind } from '../support/registries.ts'
import { said, startPlace, type Place, type PushedImage } from './support/place.ts'
import { BUNDLE_FLIPS, copyBundles, copyLegacy, LEGACY_FLIPS } from './support/tampering.ts'

/** What airseal signs, judged by unmodified cosign 2 and 3 with nothing but public/cosign.pub and public/trusted_root.json. */

const COSIGNS = ['cosign2', 'cosign3'] as const
const KINDS: readonly RegistryKind[] = ['crane', 'referrers-registry', 'docker-registry']
const ALL_PARTS = [...Object.keys(LEGACY_FLIPS), ...Object.keys(BUNDLE_FLIPS)]
const CLIENTS = needs('crane', ...COSIGNS)

const PREDICATES: Readonly<Record<string, object>> = {
  cyclonedx: { bomFormat: 'CycloneDX', specVersion: '1.6', components: [] },
  slsaprovenance1: {
    buildDefinition: { buildType: 'https://example.test/build', externalParameters: {} },
    runDetails: { builder: { id: 'https://example.test/builder' } },
  },
  custom: { any: 'thing <&> 1.0' },
  'https://example.test/predicate/v1': { scanned: true },
}

/** The named types that PREDICATES leaves out, each with the least that its form asks for. */
const NAMED_TYPES = {
  spdx: 'SPDXVersion: SPDX-2.3',
  spdxjson: '{"spdxVersion":"SPDX-2.3"}',
  slsaprovenance: '{"builder":{"id":"b"},"buildType":"t"}',
  link: '{"name":"step"}',
  vuln: '{"invocation":{},"scanner":{},"metadata":{}}',
  openvex: '{"@context":"https://openvex.dev/ns/v0.2.0","statements":[]}',
}

await t.test('cosign verifies what airseal signs', CLIENTS, async (t) => {
  const place = await startPlace(t)
  for (const kind of KINDS) {
    await t.test(`in ${kind}`, needs(kind), async (t) => {
      const { host } = await startRegistry(t, kind)
      await acceptsFormats(t, place, host)
      // What is flipped has nothing to do with the registry: all parts in one, the signed one in each.
      await refusesFlippedBytes(t, place, host, kind === 'crane' ? ALL_PARTS : ['payload'])
      await signsRecursively(t, place, host)
      await acceptsAttestations(t, place, host)
    })
  }
  await t.test('attestations of each type that has a name', needs('crane'), async (t) => {
    const { host } = await startRegistry(t, 'crane')
    const image = await place.push(host)
    for (const [type, predicate] of Object.entries(NAMED_TYPES)) {
      const file = join(place.directory, `${type}.predicate`)
      await writeFile(file, predicate)
      const options = ['--type', type, '--predicate', file]
      const done = await place.site.airseal(['attest', ...options, image.reference])
      t.equal(done.code, 0, `${type}: ${said(done)}`)
    }
    for (const type of Object.keys(NAMED_TYPES)) {
      for (const cosign of COSIGNS) {
        const verified = await verifyAttestation(place, cosign, type, image.reference)
        t.equal(verified.code, 0, `${cosign} ${type}: ${said(verified)}`)
      }
      const command = ['verify-attestation', '--type', type, image.reference]
      const ours = await place.site.airseal(command)
      t.equal(ours.code, 0, `${type}: ${said(ours)}`)
    }
  })
  await t.test('with the service stopped', needs('crane'), async (t) => {
    const { host } = await startRegistry(t, 'crane')
    const image = await signed(t, place, host, [])
    await place.site.stop()
    for (const cosign of COSIGNS) {
      const verified = await verify(place, cosign, image.reference)
      t.equal(verified.code, 0, said(verified))
    }
  })
})

async function signed(
  t: Test,
  place: Place,
  host: string,
  options: readonly string[],
): Promise<PushedImage> {
  const image = await place.push(host)
  const done = await place.site.airseal(['sign', ...options, image.reference])
  t.equal(done.code, 0, said(done))
  return image
}

function verify(place: Place, cosign: string, reference: string, options: readonly string[] = []) {
  const key = ['--key', place.site.file('cosign.pub')]
  return place.client(cosign, ['verify', ...key, ...place.trust, ...options, reference])
}

async function acceptsFormats(t: Test, place: Place, host: string): Promise<void> {
  for (const format of ['both', 'legacy', 'bundle']) {
    await t.test(`accepts ${format}, and demands annotations`, async (t) => {
      const image = await signed(t, place, host, ['--signatures', format, '-a', 'build=7'])
      for (const cosign of COSIGNS) {
        const verified = await verify(place, cosign, image.reference)
        t.equal(verified.code, 0, said(verified))
        const [first] = JSON.parse(verified.stdout) as { critical: { image: object } }[]
        t.same(first?.critical.image, { 'docker-manifest-digest': image.index })
        const wanted = await verify(place, cosign, image.reference, ['-a', 'build=7'])
        t.equal(wanted.code, 0, said(wanted))
        const other = await verify(place, cosign, image.reference, ['-a', 'build=8'])
        // cosign 2 does not look at the annotations of bundles, so it can't demand any once there is one.
        if (cosign === 'cosign2' && format !== 'legacy') t.equal(other.code, 0, said(other))
        else t.not(other.code, 0, said(other))
      }
      for (const [build, code] of [
        ['7', 0],
        ['8', 12],
      ] as const) {
        const ours = await place.site.airseal(['verify', '-a', `build=${build}`, image.reference])
        t.equal(ours.code, code, said(ours))
      }
    })
  }
  await t.test('accepts legacy without trusted root, by the key of the log', async (t) => {
    const image = await signed(t, place, host, ['--signatures', 'legacy'])
    const env = { SIGSTORE_REKOR_PUBLIC_KEY: place.site.file('rekor.pub') }
    const args = ['verify', '--key', place.site.file('cosign.pub'), image.reference]
    for (const cosign of COSIGNS) {
      const verified = await place.client(cosign, args, { env })
      t.equal(verified.code, 0, said(verified))
    }
  })
  await t.test('wants a trusted root as soon as there is a bundle', async (t) => {
    const env = { SIGSTORE_REKOR_PUBLIC_KEY: place.site.file('rekor.pub') }
    for (const format of ['both', 'bundle']) {
      const image = await signed(t, place, host, ['--signatures', format])
      const args = ['verify', '--key', place.site.file('cosign.pub'), image.reference]
      for (const cosign of COSIGNS) {
        const refused = await place.client(cosign, args, { env })
        t.not(refused.code, 0, said(refused))
        t.match(refused.stderr, /trusted root/)
      }
      const legacyOnly = ['verify', '--new-bundle-format=false', ...args.slice(1)]
      const third = await place.client('cosign3', legacyOnly, { env })
      t.equal(third.code === 0, format === 'both', said(third))
    }
  })
  await t.test(
    'takes an attestation for a signature where it is a bundle; airseal does not',
    async (t) => {
      const image = await place.push(host)
      const predicate = join(place.directory, 'any.json')
      await writeFile(predicate, '{}')
      const options = ['--signatures', 'bundle', '--type', 'custom', '--predicate', predicate]
      t.equal((await place.site.airseal(['attest', ...options, image.reference])).code, 0)
      for (const cosign of COSIGNS) {
        const taken = await verify(place, cosign, image.reference)
        t.equal(taken.code, 0, said(taken))
      }
      const ours = await place.site.airseal(['verify', image.reference])
      t.equal(ours.code, 12, said(ours))
    },
  )
  await t.test('refuses an unsigned image', async (t) => {
    const image = await place.push(host)
    for (const cosign of COSIGNS) {
      t.equal((await verify(place, cosign, image.reference)).code, 10)
    }
    t.equal((await place.site.airseal(['verify', image.reference])).code, 10)
  })
}

/** The control copies without change, so that a refusal is because of the byte. */
async function refusesFlippedBytes(
  t: Test,
  place: Place,
  host: string,
  parts: readonly string[],
): Promise<void> {
  await t.test('refuses after one flipped byte', async (t) => {
    const image = await signed(t, place, host, [])
    const attempts = [
      ...Object.entries({ control: () => undefined, ...LEGACY_FLIPS }).map(([what, flip]) => ({
        what: `legacy: ${what}`,
        part: what,
        copy: (to: PushedImage) => copyLegacy(image, to, flip),
      })),
      ...Object.entries({ control: () => undefined, ...BUNDLE_FLIPS }).map(([what, flip]) => ({
        what: `bundle: ${what}`,
        part: what,
        copy: (to: PushedImage) => copyBundles(image, to, flip),
      })),
    ]
    for (const { what, part, copy } of attempts) {
      if (part !== 'control' && !parts.includes(part)) continue
      const other = await place.push(host, image)
      t.equal(await copy(other), 1, `${what}: one signature copied`)
      const accepted = part === 'control'
      for (const cosign of COSIGNS) {
        const { code, ...rest } = await verify(place, cosign, other.reference)
        t.equal(code === 0, accepted, `${cosign}, ${what}: ${said({ code, ...rest })}`)
      }
      const ours = await place.site.airseal(['verify', other.reference])
      t.equal(ours.code, accepted ? 0 : 12, `airseal, ${what}: ${said(ours)}`)
    }
  })
}

async function signsRecursively(t: Test, place: Place, host: string): Promise<void> {
  await t.test(
    'accepts an index and its children after --recursive, only it without',
    async (t) => {
      const plain = await signed(t, place, host, [])
      const whole = await signed(t, place, host, ['--recursive'])
      for (const cosign of COSIGNS) {
        t.equal((await verify(place, cosign, `${plain.repository}@${plain.manifests[0]}`)).code, 10)
        for (const digest of [whole.index, ...whole.manifests]) {
          const verified = await verify(place, cosign, `${whole.repository}@${digest}`)
          t.equal(verified.code, 0, said(verified))
        }
      }
    },
  )
}

async function acceptsAttestations(t: Test, place: Place, host: string): Promise<void> {
  for (const format of ['both', 'legacy', 'bundle']) {
    await t.test(`verify-attestation accepts ${format}, of the right type only`, async (t) => {
      const image = await place.push(host)
      for (const [at, [type, predicate]] of Object.entries(PREDICATES).entries()) {
        const file = join(place.directory, `predicate${at}.json`)
        await writeFile(file, JSON.stringify(predicate))
        const options = ['--signatures', format, '--type', type, '--predicate', file]
        const done = await place.site.airseal(['attest', ...options, image.reference])
        t.equal(done.code, 0, said(done))
      }
      for (const cosign of COSIGNS) {
        for (const type of Object.keys(PREDICATES)) {
          const verified = await verifyAttestation(place, cosign, type, image.reference)
          t.equal(verified.code, 0, `${cosign} ${type}: ${said(verified)}`)
        }
        const other = await verifyAttestation(place, cosign, 'vuln', image.reference)
        t.not(other.code, 0, `${cosign}: ${said(other)}`)
      }
    })
  }
}

function verifyAttestation(place: Place, cosign: string, type: string, reference: string) {
  const key = ['--key', place.site.file('cosign.pub'), '--type', type]
  return place.client(cosign, ['verify-attestation', ...key, ...place.trust, reference])
}
