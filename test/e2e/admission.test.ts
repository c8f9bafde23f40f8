import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import type { Finished } from '../support/site.ts'
import { said, startPlace, type Place, type PushedImage } from './support/place.ts'
import { copyLegacy, LEGACY_FLIPS } from './support/tampering.ts'

/** Admission controllers, by their own command-line programs: what airseal signs passes, offline, and nothing else does. */

interface Controller {
  readonly name: string
  readonly program: string
  /** Writes the policy; the answer judges one image by it. */
  prepare(place: Place): Promise<(image: string) => Promise<Finished>>
}

const CONTROLLERS: readonly Controller[] = [
  { name: 'Kyverno', program: 'kyverno', prepare: prepareKyverno },
  { name: 'policy-controller', program: 'policy-tester', prepare: preparePolicyController },
]

for (const { name, program, prepare } of CONTROLLERS) {
  await t.test(name, needs('crane', program), async (t) => {
    const place = await startPlace(t)
    const { host } = await startRegistry(t, 'crane')
    const judge = await prepare(place)
    const sign = async (format: string, image?: PushedImage): Promise<PushedImage> => {
      const pushed = image ?? (await place.push(host))
      const done = await place.site.airseal(['sign', '--signatures', format, pushed.reference])
      t.equal(done.code, 0, said(done))
      return pushed
    }
    const both = await sign('both')
    const legacy = await sign('legacy')
    const bundle = await sign('bundle')

    await t.test('accepts what is signed in both formats, or in the legacy one', async (t) => {
      for (const image of [both, legacy]) {
        const verdict = await judge(image.reference)
        t.equal(verdict.code, 0, said(verdict))
      }
    })
    await t.test('does not see bundles, so these alone are not enough', async (t) => {
      t.not((await judge(bundle.reference)).code, 0)
    })
    await t.test('refuses an unsigned image', async (t) => {
      const verdict = await judge((await place.push(host)).reference)
      t.not(verdict.code, 0, said(verdict))
    })
    await t.test('refuses a signature of which one byte was changed', async (t) => {
      for (const [what, flip] of Object.entries({ control: () => undefined, ...LEGACY_FLIPS })) {
        const copy = await place.push(host, both)
        await copyLegacy(both, copy, flip)
        const verdict = await judge(copy.reference)
        t.equal(verdict.code === 0, what === 'control', `${what}: ${said(verdict)}`)
      }
    })
    await t.test('refuses what another airseal signed', async (t) => {
      const other = await startPlace(t)
      const image = await other.push(host)
      t.equal((await other.site.airseal(['sign', image.reference])).code, 0)
      t.not((await judge(image.reference)).code, 0)
    })
    await t.test('accepts with the service stopped', async (t) => {
      await place.site.stop()
      const verdict = await judge(both.reference)
      t.equal(verdict.code, 0, said(verdict))
    })
  })
}

async function prepareKyverno(place: Place): ReturnType<Controller['prepare']> {
  const { key, rekor } = await keysOf(place)
  const policy = {
    apiVersion: 'kyverno.io/v1',
    kind: 'ClusterPolicy',
    metadata: { name: 'signed-by-airseal' },
    spec: {
      background: false,
      webhookConfiguration: { failurePolicy: 'Fail' },
      rules: [
        {
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
              attestors: [
                {
                  count: 1,
                  entries: [
                    {
                      keys: {
                        publicKeys: key,
                        rekor: { url: place.site.url, pubkey: rekor },
                        ctlog: { ignoreSCT: true },
                      },
                    },
                  ],
                },
              ],
            },
          ],
        },
      ],
    },
  }
  const policyFile = join(place.directory, 'policy.yaml')
  const podFile = join(place.directory, 'pod.yaml')
  await writeFile(policyFile, stringify(policy))
  return async (image) => {
    const spec = { containers: [{ name: 'app', image }] }
    await writeFile(
      podFile,
      stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'app' }, spec }),
    )
    return place.client('kyverno', ['apply', policyFile, '--resource', podFile, '--registry'])
  }
}

async function preparePolicyController(place: Place): ReturnType<Controller['prepare']> {
  const { key, rekor } = await keysOf(place)
  const policyFile = join(place.directory, 'policy.yaml')
  const trustFile = join(place.directory, 'trustroot.yaml')
  await writeFile(
    policyFile,
    stringify({
      apiVersion: 'policy.sigstore.dev/v1beta1',
      kind: 'ClusterImagePolicy',
      metadata: { name: 'signed-by-airseal' },
      spec: {
        mode: 'enforce',
        images: [{ glob: '**' }],
        authorities: [
          {
            name: 'airseal',
            key: { data: key, hashAlgorithm: 'sha256' },
            ctlog: { url: place.site.url, trustRootRef: 'airseal' },
          },
        ],
      },
    }),
  )
  const publicKey = Buffer.from(rekor).toString('base64')
  await writeFile(
    trustFile,
    stringify({
      apiVersion: 'policy.sigstore.dev/v1alpha1',
      kind: 'TrustRoot',
      metadata: { name: 'airseal' },
      spec: {
        sigstoreKeys: {
          tLogs: [{ baseURL: place.site.url, hashAlgorithm: 'sha-256', publicKey }],
        },
      },
    }),
  )
  const files = ['-policy', policyFile, '-trustroot', trustFile]
  return (image) => place.client('policy-tester', [...files, '-image', image])
}

async function keysOf({ site }: Place): Promise<{ key: string; rekor: string }> {
  const [key, rekor] = await Promise.all(
    ['cosign.pub', 'rekor.pub'].map((name) => readFile(site.file(name), 'utf8')),
  )
  return { key: key ?? '', rekor: rekor ?? '' }
}
