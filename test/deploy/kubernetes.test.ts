import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { CLUSTER_PROGRAMS, startCluster } from '../support/kubernetes.ts'
import { needs, requiredProgram } from '../support/programs.ts'
import { fullTrustFiles } from '../trust/support/full.ts'

const FOLDER = new URL('../../deploy/kubernetes/', import.meta.url).pathname
const manifest = (name: string): string => `${FOLDER}${name}`

interface PodTemplate {
  readonly metadata: object
  readonly spec: {
    readonly containers: readonly [Record<string, unknown>]
    readonly [field: string]: unknown
  }
}

t.test(
  'a real API server takes the Kubernetes manifests',
  needs(...CLUSTER_PROGRAMS),
  async (t) => {
    const { kubectl } = await startCluster(t)

    const dryRun = (...more: string[]) =>
      kubectl(['apply', '--dry-run=server', '--validate=strict', '--warnings-as-errors', ...more])

    // A dry run makes no namespace, and without it the others would be refused: this one is really made.
    const made = await kubectl(['create', '--save-config', '-f', manifest('namespace.yaml')])
    t.equal(made.status, 0, made.stderr)

    const { resources } = parse(await readFile(manifest('kustomization.yaml'), 'utf8')) as {
      resources: string[]
    }
    for (const name of resources) {
      await t.test(`${name} is accepted without a warning`, async (t) => {
        const { status, stderr } = await dryRun('-f', manifest(name))
        t.equal(status, 0, stderr)
        t.equal(stderr, '')
      })
    }

    await t.test('the Secrets have the shape that is shown', async (t) => {
      // Not with warnings as errors: the words that stand in for a certificate aren't one, and the server says so.
      const { status, stderr } = await kubectl([
        'apply',
        '--dry-run=server',
        '--validate=strict',
        '-f',
        manifest('secrets.example.yaml'),
      ])
      t.equal(status, 0, stderr)
    })

    await t.test('the kustomization as a whole is accepted', async (t) => {
      const { status, stdout, stderr } = await dryRun('-k', FOLDER)
      t.equal(status, 0, stderr)
      t.match(stdout, /deployment\.apps\/airseal created/)
    })

    const deployment = parse(await readFile(manifest('deployment.yaml'), 'utf8')) as {
      spec: { template: PodTemplate }
    }
    const { metadata, spec } = deployment.spec.template
    const pod = (changes: object, container: object = {}): string =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { ...metadata, name: 'airseal', namespace: 'airseal' },
        spec: { ...spec, ...changes, containers: [{ ...spec.containers[0], ...container }] },
      })

    await t.test(
      'its Pod passes the restricted standard that the namespace enforces',
      async (t) => {
        const { status, stderr } = await kubectl(['create', '--dry-run=server', '-f', '-'], pod({}))
        t.equal(status, 0, stderr)
      },
    )

    await t.test(
      'the trust files for consumers fit their definitions',
      needs('crds'),
      async (t) => {
        const folder = requiredProgram('crds')
        for (const name of await readdir(folder)) {
          const definition = parse(await readFile(join(folder, name), 'utf8')) as {
            spec: { conversion?: unknown }
          }
          // Their webhooks for older versions don't run here.
          delete definition.spec.conversion
          const { status, stderr } = await kubectl(
            ['create', '-f', '-'],
            JSON.stringify(definition),
          )
          t.equal(status, 0, `${name}: ${stderr}`)
        }
        const waited = await kubectl(['wait', '--for=condition=established', '--all', 'crd'])
        t.equal(waited.status, 0, waited.stderr)
        for (const namespace of ['kyverno', 'flux-system'])
          await kubectl(['create', 'namespace', namespace])
        for (const [name, { bytes, contentType }] of fullTrustFiles()) {
          const text = Buffer.from(bytes).toString()
          if (contentType !== 'application/yaml' || !/^kind: /m.test(text)) continue
          const { status, stdout, stderr } = await kubectl(
            ['create', '--dry-run=server', '--validate=strict', '-f', '-'],
            text,
          )
          t.equal(status, 0, `${name}: ${stderr}`)
          t.match(stdout, /created \(server dry run\)/, name)
          const bad = text.replace(/^(spec|data):/gm, '$1x:')
          const wrong = await kubectl(
            ['create', '--dry-run=server', '--validate=strict', '-f', '-'],
            bad,
          )
          t.not(wrong.status, 0, `${name} with a misspelt member`)
        }
      },
    )

    const LOOSE: readonly (readonly [string, string])[] = [
      ['a privileged container', pod({}, { securityContext: { privileged: true } })],
      ['the network of the host', pod({ hostNetwork: true })],
      [
        'a Pod as root',
        pod({ securityContext: { runAsUser: 0, seccompProfile: { type: 'RuntimeDefault' } } }),
      ],
    ]
    for (const [title, text] of LOOSE) {
      await t.test(`${title} is refused there`, async (t) => {
        const { status, stderr } = await kubectl(['create', '--dry-run=server', '-f', '-'], text)
        t.equal(status, 1)
        t.match(stderr, /violates PodSecurity "restricted/)
      })
    }
  },
)
