import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import type { Finished } from '../support/site.ts'
import { said, startPlace, type Place } from './support/place.ts'

/** Image layouts on disk: everything works without a registry, with and without a running service. */

await t.test('airseal works on image layouts', async (t) => {
  const place = await startPlace(t)
  const predicate = join(place.directory, 'predicate.json')
  await writeFile(predicate, '{"bomFormat":"CycloneDX","specVersion":"1.6"}')

  const wholeJob = async (t: Test): Promise<void> => {
    const airseal = (args: readonly string[]): Promise<Finished> => place.site.airseal(args)
    const { layout, index, manifests } = await place.build()
    const image = `oci:${layout}@${index}`
    t.equal((await airseal(['verify', image])).code, 10, 'unsigned')
    const sign = ['sign', '--recursive', '-a', 'build=1', '-o', 'json', image]
    const first = await airseal(sign)
    t.equal(first.code, 0, said(first))
    const again = await airseal(sign)
    t.same(
      statuses(again),
      statuses(first).map(() => 'present'),
      'signing again adds nothing',
    )
    for (const digest of [index, ...manifests]) {
      const verified = await airseal(['verify', '-a', 'build=1', `oci:${layout}@${digest}`])
      t.equal(verified.code, 0, said(verified))
    }
    t.equal((await airseal(['verify', `oci:${layout}:v1`])).code, 0, 'by name')
    t.equal((await airseal(['verify', '-a', 'build=2', image])).code, 12, 'annotation')
    const attest = ['attest', '--type', 'cyclonedx', '--predicate', predicate, image]
    t.equal((await airseal(attest)).code, 0)
    t.equal((await airseal(['verify-attestation', '--type', 'cyclonedx', image])).code, 0)
    t.equal((await airseal(['verify-attestation', '--type', 'vuln', image])).code, 1)

    const tampered = `${layout}-tampered`
    await cp(layout, tampered, { recursive: true })
    const blob = join(tampered, 'blobs', 'sha256', index.slice('sha256:'.length))
    await writeFile(blob, (await readFile(blob, 'utf8')).replace('arm64', 'arm65'))
    const refused = await airseal(['verify', `oci:${tampered}@${index}`])
    t.equal(refused.code, 12, said(refused))
    t.match(refused.stderr, 'CONTENT_MISMATCH')
  }

  await t.test('with a running service', wholeJob)
  await t.test(
    'and what it signs there passes cosign in a registry',
    needs('crane', 'cosign3'),
    (t) => copiedToRegistry(t, place),
  )
  await t.test('for cosign --local-image', needs('crane', 'cosign3'), (t) => localImage(t, place))
  await t.test('with no service', async (t) => {
    await place.site.stop()
    await wholeJob(t)
  })
})

function statuses({ stdout }: Finished): string[] {
  const { results } = JSON.parse(stdout) as { results: { signatures: { status: string }[] }[] }
  return results.flatMap(({ signatures }) => signatures.map(({ status }) => status))
}

/** What lies in the layout, moved by crane alone: the image, and the `.sig` image under its tag. */
async function copiedToRegistry(t: Test, place: Place): Promise<void> {
  const { host } = await startRegistry(t, 'crane')
  const image = await place.build()
  const reference = `oci:${image.layout}@${image.index}`
  const signed = await place.site.airseal(['sign', reference])
  t.equal(signed.code, 0, said(signed))
  const repository = `${host}/team/copied`
  // The whole index, signature images included; then only their tag is missing.
  const pushed = await place.client('crane', ['push', '--index', image.layout, `${repository}:all`])
  t.equal(pushed.code, 0, said(pushed))
  const index = JSON.parse(await readFile(join(image.layout, 'index.json'), 'utf8')) as {
    manifests: { digest: string; annotations?: Record<string, string> }[]
  }
  const tag = `${image.index.replace(':', '-')}.sig`
  const signature = index.manifests.find(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === tag,
  )
  t.ok(signature, `the layout names ${tag}`)
  const tagged = await place.client('crane', ['tag', `${repository}@${signature?.digest}`, tag])
  t.equal(tagged.code, 0, said(tagged))
  const key = ['--key', place.site.file('cosign.pub'), ...place.trust]
  const verified = await place.client('cosign3', ['verify', ...key, `${repository}@${image.index}`])
  t.equal(verified.code, 0, said(verified))
}

/** cosign reads only layouts of its own making (`cosign save`), of a single image. Those airseal reads too. */
async function localImage(t: Test, place: Place): Promise<void> {
  const { host } = await startRegistry(t, 'crane')
  const image = await place.push(host)
  const single = `${image.repository}@${image.manifests[0]}`
  const signed = await place.site.airseal(['sign', '--signatures', 'legacy', single])
  t.equal(signed.code, 0, said(signed))
  const saved = join(place.directory, 'saved')
  const save = await place.client('cosign3', ['save', '--dir', saved, single])
  t.equal(save.code, 0, said(save))
  const key = ['--key', place.site.file('cosign.pub'), ...place.trust]
  const theirs = await place.client('cosign3', ['verify', ...key, '--local-image', saved])
  t.equal(theirs.code, 0, said(theirs))
}
