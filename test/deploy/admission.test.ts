import { readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments, stringify } from 'yaml'
import { clusterPolicy, keyAttestor, pod, yaml } from '../admission/support/cluster-policies.ts'
import { said, startPlace, type PushedImage } from '../e2e/support/place.ts'
import { copyLegacy, LEGACY_FLIPS } from '../e2e/support/tampering.ts'
import { CLUSTER_PROGRAMS, startCluster } from '../support/kubernetes.ts'
import { freePort, startProcess, waitUntil } from '../support/processes.ts'
import { needs, requiredProgram } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { AIRSEAL, run } from '../support/site.ts'

const CHART = new URL('../../deploy/helm/airseal', import.meta.url).pathname
const SBOM = 'https://cyclonedx.org/bom'

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
}

async function render(values: Record<string, unknown>): Promise<readonly Manifest[]> {
  const done = await run(
    requiredProgram('helm'),
    ['template', 'airseal', CHART, '--namespace', 'airseal', '--kube-version', '1.34.0', '-f', '-'],
    { input: stringify(values) },
  )
  if (done.code !== 0) throw new Error(done.stderr)
  const documents = parseAllDocuments(done.stdout)
  return Array.isArray(documents)
    ? documents.map((one) => one.toJS() as Manifest | null).filter((one) => one !== null)
    : []
}

t.test('a real API server asks airseal', needs('crane', 'helm', ...CLUSTER_PROGRAMS), async (t) => {
  const place = await startPlace(t)
  const { host, process: registry } = await startRegistry(t, 'crane')
  const { kubectl } = await startCluster(t)
  const [key = '', rekor = ''] = await Promise.all(
    ['cosign.pub', 'rekor.pub'].map((name) => readFile(place.site.file(name), 'utf8')),
  )

  // A replica: no data directory, no keys; its certificate is its own.
  const authority = join(place.directory, 'webhook-ca')
  const port = await freePort()
  const url = `https://127.0.0.1:${port}`
  const replicaArgs = [
    ...['serve', '--replica-of', place.site.url, '--listen', `127.0.0.1:${port}`],
    ...[
      '--webhook-ca',
      authority,
      '--webhook-name',
      '127.0.0.1',
      '--data',
      join(place.directory, 'none'),
    ],
  ]
  const replica = startProcess(t, AIRSEAL, replicaArgs)
  await waitUntil(replica, async () => replica.output().includes('as a replica of'))
  const ca = await readFile(join(authority, 'ca.crt'), 'utf8')

  // Policies: a signature, and an SBOM in CycloneDX, by the key of the appliance.
  const bom = join(place.directory, 'bom.json')
  await writeFile(bom, JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6' }))
  const attestors = [{ entries: [keyAttestor(key, rekor, place.site.url)] }]
  const policy = clusterPolicy({
    name: 'verify-images',
    references: [`${host}/*`],
    attestors,
    entry: {
      attestations: [
        {
          type: SBOM,
          attestors,
          conditions: [
            { all: [{ key: '{{ bomFormat }}', operator: 'Equals', value: 'CycloneDX' }] },
          ],
        },
      ],
    },
  })
  const file = join(place.directory, 'policy.yaml')
  await writeFile(file, yaml(policy))
  const added = await place.site.airseal(['policy', 'add', file])
  t.equal(added.code, 0, said(added))
  await waitUntil(replica, async () => replica.output().includes('1 policy documents'))

  const made = await kubectl(['create', 'namespace', 'airseal'])
  t.equal(made.status, 0, made.stderr)
  const caBundle = Buffer.from(ca).toString('base64')
  const manifests = await render({
    admission: { caSecretName: 'airseal-webhook', caBundle, webhook: { url } },
  })
  const hooks = manifests.filter(({ kind }) => kind.endsWith('WebhookConfiguration'))
  t.equal(hooks.length, 2)

  await t.test('takes the whole chart, with the Service in place of a URL', async (t) => {
    await kubectl([
      'label',
      'namespace',
      'airseal',
      'pod-security.kubernetes.io/enforce=restricted',
      'pod-security.kubernetes.io/warn=restricted',
    ])
    const usual = await render({})
    const { status, stderr } = await kubectl(
      ['apply', '--dry-run=server', '--validate=strict', '--warnings-as-errors', '-f', '-'],
      yaml(...usual),
    )
    t.equal(status, 0, stderr)
    t.equal(stderr, '')
  })
  await t.test('the chart never judges kube-system and its own namespace', async (t) => {
    const text = JSON.stringify(
      await render({ admission: { webhook: { excludedNamespaces: ['other'] } } }),
    )
    const excluded = '["kube-system","kube-public","kube-node-lease","airseal","other"]'
    t.equal(text.split(excluded).length, 3, 'in both configurations')
  })

  const applied = await kubectl(['apply', '-f', '-'], yaml(...hooks))
  t.equal(applied.status, 0, applied.stderr)

  const sign = async (sbom: boolean, image?: PushedImage): Promise<PushedImage> => {
    const pushed = image ?? (await place.push(host))
    t.equal((await place.site.airseal(['sign', pushed.reference])).code, 0)
    if (sbom) {
      const done = await place.site.airseal([
        'attest',
        '--type',
        'cyclonedx',
        '--predicate',
        bom,
        pushed.reference,
      ])
      t.equal(done.code, 0, said(done))
    }
    return pushed
  }
  const good = await sign(true)
  const noSbom = await sign(false)
  const unsigned = await place.push(host)
  const create = (object: unknown) => kubectl(['create', '-f', '-'], stringify(object))
  const named = (name: string, image: string) => pod([image], name)
  const imageOf = async (what: string, path: string): Promise<string> =>
    (await kubectl(['get', what, '-o', `jsonpath={${path}}`])).stdout
  const template = (image: string) => ({
    metadata: { labels: { app: 'x' } },
    spec: { restartPolicy: 'Always', containers: [{ name: 'c', image }] },
  })
  const deployment = (name: string, image: string) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default' },
    spec: { selector: { matchLabels: { app: 'x' } }, template: template(image) },
  })
  const cronJob = (name: string, image: string) => ({
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name, namespace: 'default' },
    spec: {
      schedule: '0 0 * * *',
      jobTemplate: {
        spec: {
          template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image }] } },
        },
      },
    },
  })
  const pinned = `${good.repository}:v1@${good.index}`

  await t.test('what is signed and has its SBOM is let in, and its tag pinned', async (t) => {
    for (const [object, what, path] of [
      [named('good', `${good.repository}:v1`), 'pod/good', '.spec.containers[0].image'],
      [
        deployment('good', `${good.repository}:v1`),
        'deployment/good',
        '.spec.template.spec.containers[0].image',
      ],
      [
        cronJob('good', `${good.repository}:v1`),
        'cronjob/good',
        '.spec.jobTemplate.spec.template.spec.containers[0].image',
      ],
    ] as const) {
      const done = await create(object)
      t.equal(done.status, 0, done.stderr)
      t.equal(await imageOf(what, path), pinned)
    }
  })
  await t.test('what is not is refused, and a person reads why', async (t) => {
    const tampered = await place.push(host, good)
    await copyLegacy(good, tampered, LEGACY_FLIPS[Object.keys(LEGACY_FLIPS)[0]!]!)
    const other = await startPlace(t)
    const stranger = await place.push(host)
    t.equal((await other.site.airseal(['sign', stranger.reference])).code, 0)
    const rows: readonly (readonly [string, unknown, RegExp])[] = [
      [
        'unsigned',
        named('bad', unsigned.reference),
        /there is no signature for this digest \[NO_SIGNATURES\] \(Sign the image/,
      ],
      ['unsigned by tag', named('bad', `${unsigned.repository}:v1`), /NO_SIGNATURES/],
      [
        'in a Deployment',
        deployment('bad', unsigned.reference),
        /airseal refuses Deployment default\/bad: .*NO_SIGNATURES/,
      ],
      [
        'in a CronJob',
        cronJob('bad', unsigned.reference),
        /airseal refuses CronJob default\/bad: .*NO_SIGNATURES/,
      ],
      ['tampered', named('bad', tampered.reference), /\[[A-Z_]+\]/],
      ['signed by another', named('bad', stranger.reference), /KEY_MISMATCH|LOG_UNKNOWN/],
      ['without SBOM', named('bad', noSbom.reference), /NO_ATTESTATIONS/],
      ['not there', named('bad', `${host}/team/nothing:v1`), /IMAGE_NOT_FOUND/],
      [
        'by no policy',
        named('bad', 'docker.io/library/nginx:1'),
        /no policy speaks of docker\.io\/library\/nginx:1.*IMAGE_NOT_COVERED/,
      ],
    ]
    for (const [title, object, why] of rows) {
      const done = await create(object)
      t.not(done.status, 0, title)
      t.match(
        done.stderr,
        /admission webhook "mutate\.airseal\.internal" denied the request: airseal refuses /,
        title,
      )
      t.match(done.stderr, why, title)
    }
  })
  await t.test('ephemeral containers and changed images can not slip through', async (t) => {
    const debug = (image: string) =>
      kubectl(['debug', 'good', `--image=${image}`, '--attach=false'])
    const bad = await debug(unsigned.reference)
    t.not(bad.status, 0, bad.stdout)
    t.match(bad.stderr, /NO_SIGNATURES/)
    const fine = await debug(`${good.repository}:v1`)
    t.equal(fine.status, 0, fine.stderr)
    t.equal(await imageOf('pod/good', '.spec.ephemeralContainers[0].image'), pinned)
    const set = (what: string) => kubectl(['set', 'image', what, `*=${unsigned.reference}`])
    for (const what of ['pod/good', 'deployment/good', 'cronjob/good']) {
      const done = await set(what)
      t.not(done.status, 0, what)
      t.match(done.stderr, /NO_SIGNATURES/, what)
    }
  })
  await t.test('labels, scaling, status and deletion go on', async (t) => {
    for (const args of [
      ['label', 'pod', 'good', 'a=b'],
      ['scale', 'deployment/good', '--replicas=3'],
      [
        'patch',
        'pod',
        'good',
        '--subresource=status',
        '--type=merge',
        '-p',
        '{"status":{"message":"x"}}',
      ],
      ['delete', 'pod', 'good', '--wait=false'],
    ]) {
      const done = await kubectl(args)
      t.equal(done.status, 0, `${args.join(' ')}: ${done.stderr}`)
    }
  })
  await t.test('a dry run is judged like the rest', async (t) => {
    const dry = (image: string) =>
      kubectl(['create', '--dry-run=server', '-f', '-'], stringify(named('dry', image)))
    t.equal((await dry(good.reference)).status, 0)
    t.not((await dry(unsigned.reference)).status, 0)
  })
  await t.test(
    'known digests are let in with registry and appliance away, unknown ones are not',
    async (t) => {
      await place.site.stop()
      await registry.stop()
      const known = await create(named('known', good.reference))
      t.equal(known.status, 0, known.stderr)
      const unknown = await create(named('unknown', `${host}/team/new@${unsigned.index}`))
      t.not(unknown.status, 0)
      t.match(unknown.stderr, /REGISTRY_UNREACHABLE|DEADLINE/)
    },
  )
  await t.test(
    'the certificate is the replica’s own, by the authority in the configuration',
    async (t) => {
      t.equal(await statusOf(`${url}/healthz`, ca), 200)
    },
  )
  await t.test('without a replica nothing starts but in kube-system', async (t) => {
    await replica.stop()
    const done = await create(named('late', good.reference))
    t.not(done.status, 0)
    t.match(done.stderr, /failed calling webhook/)
    const saved = await create(pod(['registry.example/dns:1'], 'dns', 'kube-system'))
    t.equal(saved.status, 0, saved.stderr)
  })
})

function statusOf(url: string, ca: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { ca, agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    asked.once('error', reject)
    asked.end()
  })
}
