import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import type { Finished } from '../support/site.ts'
import { said, startPlace, type Place, type PushedImage } from './support/place.ts'

/** Each command beside cosign's of the same name, on the same images: scripts move over by changing the name. */

const COSIGNS = ['cosign2', 'cosign3'] as const

t.setTimeout(400_000)

await t.test(
  'commands of cosign print the same, and end the same',
  { ...needs('crane', 'referrers-registry', ...COSIGNS), timeout: 400_000 },
  async (t) => {
    const place = await startPlace(t)
    const { host } = await startRegistry(t, 'referrers-registry')
    const files = await predicates(place)
    const image = await place.push(host)
    const good = async (done: Promise<Finished>): Promise<void> => {
      const finished = await done
      if (finished.code !== 0) throw new Error(said(finished))
    }
    await good(place.site.airseal(['sign', '-a', 'build=1', image.reference]))
    const attest = ['attest', '--type', 'cyclonedx', '--predicate', files.bom, image.reference]
    await good(place.site.airseal(attest))
    const sbom = ['--type', 'cyclonedx', '--input-format', 'json', '--sbom', files.bom]
    await good(place.client('cosign2', ['attach', 'sbom', ...sbom, image.reference]))
    await t.test('what is stored', (t) => stored(t, place, image))
    await t.test('verify and verify-attestation', (t) => verified(t, place, image))
    await t.test('save and load', (t) => saved(t, place, host))
    await t.test('saved images are verified in place', (t) => localImages(t, place, host))
    await t.test('signatures in the experimental OCI 1.1 layout', (t) =>
      experimental(t, place, host),
    )
  },
)

async function predicates(place: Place): Promise<{ bom: string }> {
  const bom = join(place.directory, 'bom.json')
  await writeFile(bom, '{"bomFormat":"CycloneDX","specVersion":"1.6"}')
  return { bom }
}

/** Documents or lines, in an order of their own, JSON with its members sorted. */
function normal(stdout: string): readonly string[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      try {
        return JSON.stringify(sorted(JSON.parse(line)))
      } catch {
        return line
      }
    })
    .sort()
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      // An empty key id is the same as none.
      .filter(([name, item]) => name !== 'keyid' || item !== '')
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, item]) => [name, sorted(item)]),
  )
}

/** The lines of a tree as groups: what is attached where, with its layers. */
function groups(stdout: string): readonly string[] {
  return stdout
    .split(/^└── /m)
    .map((group) => group.trimEnd())
    .sort()
}

async function stored(t: Test, place: Place, image: PushedImage): Promise<void> {
  const ref = image.reference
  const child = `${image.repository}@${image.manifests[0]}`
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [['triangulate', ref], COSIGNS],
    [['triangulate', '--type', 'attestation', `${image.repository}:v1`], COSIGNS],
    [['triangulate', '--type=sbom', ref], COSIGNS],
    [['triangulate', '--type', 'digest', `${image.repository}:v1`], COSIGNS],
    [['triangulate', `${image.repository}:none`], COSIGNS],
    [['download', 'signature', ref], ['cosign3']],
    [['download', 'attestation', ref], COSIGNS],
    [['download', 'attestation', '--predicate-type', 'cyclonedx', ref], COSIGNS],
    [['download', 'attestation', '--predicate-type', 'vuln', ref], COSIGNS],
    [['download', 'sbom', ref], COSIGNS],
    [['download', 'sbom', child], COSIGNS],
    [['download', 'signature', child], COSIGNS],
    [['download', 'signature', `${image.repository}:none`], COSIGNS],
  ]
  for (const [args, clients] of cases) {
    const ours = await place.site.airseal(args)
    for (const client of clients) {
      const theirs = await place.client(client, args)
      t.equal(ours.code, theirs.code, `${client} ${args.join(' ')}: ${said(ours)}`)
      t.strictSame(normal(ours.stdout), normal(theirs.stdout), `${client} ${args.join(' ')}`)
    }
  }
  const legacy = await place.site.airseal(['download', 'signature', '--signatures', 'legacy', ref])
  const theirs = await place.client('cosign2', ['download', 'signature', ref])
  t.strictSame(normal(legacy.stdout), normal(theirs.stdout), 'cosign 2 knows no bundles there')

  const both = await place.site.airseal(['tree', ref])
  t.strictSame(groups(both.stdout), groups((await place.client('cosign3', ['tree', ref])).stdout))
  const tags = await place.site.airseal(['tree', '--registry-referrers-mode', 'legacy', ref])
  t.strictSame(groups(tags.stdout), groups((await place.client('cosign2', ['tree', ref])).stdout))

  const file = join(place.directory, 'printed')
  await place.site.airseal(['download', 'sbom', '--output-file', file, ref])
  t.equal(
    await readFile(file, 'utf8'),
    (await place.client('cosign3', ['download', 'sbom', ref])).stdout,
  )
}

async function verified(t: Test, place: Place, image: PushedImage): Promise<void> {
  const key = ['--key', place.site.file('cosign.pub'), ...place.trust]
  const ref = image.reference
  const child = `${image.repository}@${image.manifests[1]}`
  const type = ['--type', 'cyclonedx']
  const cases: readonly (readonly string[])[] = [
    ['verify', ...key, ref],
    ['verify', ...key, '-a', 'build=1', '--output=text', ref],
    ['verify', ...key, child],
    ['verify', ...key, `${image.repository}:none`],
    ['verify-attestation', ...key, ...type, ref],
    ['verify-attestation', ...key, '--type', 'vuln', ref],
    ['verify-attestation', ...key, ...type, '--check-claims=true', '--max-workers', '3', ref],
  ]
  for (const args of cases) {
    const ours = await place.site.airseal(args)
    const what = [args[0], ...args.slice(5)].join(' ')
    for (const client of COSIGNS) {
      const theirs = await place.client(client, args)
      t.equal(ours.code, theirs.code, `${client} ${what}: ${said(ours)}${said(theirs)}`)
      // What a bundle says airseal prints beside the legacy signature; cosign prints bundles alone, attestations among them.
      const printed = normal(theirs.stdout).flatMap(items)
      const wanted = printed.filter((line) => args[0] !== 'verify' || !line.includes('cyclonedx'))
      const lines = new Set(normal(ours.stdout).flatMap(items))
      t.strictSame(
        wanted.filter((line) => !lines.has(withAnnotations(line, lines))),
        [],
        `${client} ${what}`,
      )
    }
  }
  const legacy = [...key, '--new-bundle-format=false', ref]
  const [theirs] = JSON.parse(
    (await place.client('cosign3', ['verify', ...legacy])).stdout,
  ) as unknown[]
  const ours = JSON.parse((await place.site.airseal(['verify', ...legacy])).stdout) as unknown[]
  t.strictSame(sorted(ours[0]), sorted(theirs), 'a legacy signature with its log entry')
}

/** The items of a line that is a list, else the line. */
function items(line: string): readonly string[] {
  const value: unknown = JSON.parse(line)
  return Array.isArray(value) ? value.map((item) => JSON.stringify(item)) : [line]
}

/** cosign 2 leaves the annotations of bundles out: the same line with them, where there is one. */
function withAnnotations(line: string, lines: ReadonlySet<string>): string {
  const bare = line.replace(/"optional":(?:null|\{[^}]*\})/, '"optional":')
  return lines.has(line)
    ? line
    : ([...lines].find(
        (one) => one.replace(/"optional":(?:null|\{[^}]*\})/, '"optional":') === bare,
      ) ?? line)
}

async function saved(t: Test, place: Place, host: string): Promise<void> {
  const { airseal } = place.site
  const key = ['--key', place.site.file('cosign.pub'), ...place.trust]
  const accepts = async (reference: string, what: string, signatures: string): Promise<void> => {
    for (const format of signatures === 'both'
      ? ['true', 'false']
      : [String(signatures === 'bundle')]) {
      const args = ['verify', ...key, `--new-bundle-format=${format}`, reference]
      const theirs = await place.client('cosign3', args)
      t.equal(theirs.code, 0, `${what}, cosign3, bundles ${format}: ${said(theirs)}`)
    }
    const ours = await airseal(['verify', ...key, reference])
    t.equal(ours.code, 0, `${what}, airseal: ${said(ours)}`)
  }
  let count = 0
  const next = (): readonly [string, string] => {
    count++
    return [join(place.directory, `layout${count}`), `${host}/moved/app${count}`]
  }
  for (const signatures of ['both', 'legacy', 'bundle']) {
    const image = await place.push(host)
    const signed = await airseal([
      'sign',
      '--recursive',
      '--signatures',
      signatures,
      image.reference,
    ])
    t.equal(signed.code, 0, said(signed))
    const [layout, target] = next()
    const save = await airseal(['save', '--dir', layout, `${image.repository}:v1`])
    t.equal(save.code, 0, said(save))
    const load = await airseal(['load', '--dir', layout, `${target}:v2`])
    t.equal(load.code, 0, said(load))
    for (const digest of [image.index, ...image.manifests])
      await accepts(`${target}@${digest}`, `saved and loaded by airseal, ${signatures}`, signatures)
    const again = await airseal(['load', '--dir', layout, `${target}:v2`])
    t.equal(again.code, 0, 'again')

    for (const client of signatures === 'bundle' ? ['cosign3'] : COSIGNS) {
      const [, theirs] = next()
      const loaded = await place.client(client, ['load', '--dir', layout, `${theirs}:v1`])
      t.equal(loaded.code, 0, said(loaded))
      // cosign 2 loads no bundles.
      const kept = client === 'cosign2' ? 'legacy' : signatures
      await accepts(`${theirs}@${image.index}`, `saved by airseal, loaded by ${client}`, kept)

      const [theirLayout, ours] = next()
      const theirSave = await place.client(client, [
        'save',
        '--dir',
        theirLayout,
        `${image.repository}:v1`,
      ])
      t.equal(theirSave.code, 0, said(theirSave))
      const ourLoad = await airseal(['load', '--dir', theirLayout, `${ours}:v1`])
      t.equal(ourLoad.code, 0, said(ourLoad))
      await accepts(`${ours}@${image.index}`, `saved by ${client}, loaded by airseal`, kept)
    }
  }
}

async function localImages(t: Test, place: Place, host: string): Promise<void> {
  const { airseal } = place.site
  const key = ['--key', place.site.file('cosign.pub'), ...place.trust]
  for (const signatures of ['legacy', 'bundle']) {
    const image = await place.push(host)
    const single = `${image.repository}@${image.manifests[0]}`
    const signed = await airseal(['sign', '--signatures', signatures, single])
    t.equal(signed.code, 0, said(signed))
    const layouts = {
      airseal: join(place.directory, `a-${signatures}`),
      cosign3: join(place.directory, `c-${signatures}`),
    }
    await airseal(['save', '--dir', layouts.airseal, single])
    await place.client('cosign3', ['save', '--dir', layouts.cosign3, single])
    for (const [by, layout] of Object.entries(layouts)) {
      const args = ['verify', ...key, '--local-image', layout]
      const ours = await airseal(args)
      t.equal(ours.code, 0, `${signatures}, saved by ${by}: ${said(ours)}`)
      const theirs = await place.client('cosign3', args)
      t.equal(theirs.code, 0, `${signatures}, saved by ${by}, cosign3: ${said(theirs)}`)
      const named = await airseal(['verify', ...key, `oci:${layout}`])
      t.equal(named.code, 0, said(named))
    }
    const other = join(place.directory, `other-${signatures}`)
    await mkdir(other)
    const wrong = await airseal(['verify', ...key, '--local-image', other])
    t.not(wrong.code, 0, 'no layout')
  }
}

async function experimental(t: Test, place: Place, host: string): Promise<void> {
  const image = await place.push(host)
  const key = ['--key', place.site.file('cosign.pub'), ...place.trust]
  const sign = [
    'sign',
    '--key',
    join(place.site.data, 'keys', 'cosign.key'),
    '--rekor-url',
    place.site.url,
  ]
  const password = (await readFile(join(place.site.data, 'keys', 'passphrase'), 'utf8')).trim()
  const signed = await place.client(
    'cosign2',
    [...sign, '--registry-referrers-mode', 'oci-1-1', image.reference],
    {
      env: {
        COSIGN_EXPERIMENTAL: '1',
        COSIGN_PASSWORD: password,
        SIGSTORE_REKOR_PUBLIC_KEY: place.site.file('rekor.pub'),
      },
    },
  )
  t.equal(signed.code, 0, said(signed))
  const ours = await place.site.airseal(['verify', ...key, '--experimental-oci11', image.reference])
  t.equal(ours.code, 0, said(ours))
  const other = `${image.repository}@${image.manifests[0]}`
  t.equal((await place.site.airseal(['verify', ...key, other])).code, 10, 'not for another image')
}
