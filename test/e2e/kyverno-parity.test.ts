import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { clusterPolicy, keyAttestor, pod, yaml } from '../admission/support/cluster-policies.ts'
import { newKey } from '../admission/support/facts.ts'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { said, startPlace } from './support/place.ts'

/** The same policies, pods and registry for both: equal verdicts, and differences only where they are meant. */
t.test('verdicts equal those of the Kyverno CLI', needs('crane', 'kyverno'), async (t) => {
  const place = await startPlace(t)
  const { host } = await startRegistry(t, 'crane')
  const [key = '', rekor = ''] = await Promise.all(
    ['cosign.pub', 'rekor.pub'].map((name) => readFile(place.site.file(name), 'utf8')),
  )
  const other = newKey().pem
  const bom = join(place.directory, 'bom.json')
  await writeFile(bom, JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6' }))
  const push = async (format: string | null, sbom = false) => {
    const pushed = await place.push(host)
    const done = async (args: string[]) => {
      const result = await place.site.airseal([...args, pushed.reference])
      t.equal(result.code, 0, said(result))
    }
    if (format !== null) await done(['sign', '--signatures', format])
    if (sbom) await done(['attest', '--type', 'cyclonedx', '--predicate', bom])
    return pushed
  }
  const signed = await push('both', true)
  const bundle = await push('bundle')
  const unsigned = await push(null)

  const policyFile = join(place.directory, 'policy.yaml')
  const podFile = join(place.directory, 'pod.yaml')
  const both = async (
    policy: unknown,
    object: unknown,
  ): Promise<readonly [boolean, boolean, string]> => {
    await writeFile(policyFile, yaml(policy))
    await writeFile(podFile, yaml(object))
    const [theirs, ours] = await Promise.all([
      place.client('kyverno', ['apply', policyFile, '--resource', podFile, '--registry']),
      place.site.airseal(['policy', 'test', policyFile, '--resource', podFile]),
    ])
    return [theirs.code === 0, ours.code === 0, `Kyverno: ${said(theirs)}\nairseal: ${said(ours)}`]
  }

  const references = [`${host}/*`]
  const byKey = (...keys: string[]) => keys.map((one) => keyAttestor(one, rekor, place.site.url))
  const set = (entries: unknown[], count?: number) => [
    { ...(count !== undefined && { count }), entries },
  ]
  const simple = (
    attestors: unknown,
    entry: Record<string, unknown> = {},
    rule: Record<string, unknown> = {},
  ) => clusterPolicy({ references, attestors, entry, rule })
  const attested = (value: string) =>
    clusterPolicy({
      references,
      entry: {
        attestations: [
          {
            type: 'https://cyclonedx.org/bom',
            attestors: set(byKey(key)),
            conditions: [{ all: [{ key: '{{ bomFormat }}', operator: 'Equals', value }] }],
          },
        ],
      },
    })
  const plain = { mutateDigest: false, verifyDigest: false, required: false }
  const onlyIn = (namespace: string) => ({
    match: { any: [{ resources: { kinds: ['Pod'], namespaces: [namespace] } }] },
  })
  const precondition = (value: string) => ({
    preconditions: {
      all: [{ key: '{{ request.object.metadata.name }}', operator: 'Equals', value }],
    },
  })
  const good = signed.reference
  const bad = unsigned.reference
  const rows: readonly (readonly [string, unknown, string, boolean])[] = [
    ['key and log', simple(set(byKey(key))), good, true],
    ['key and log, by tag', simple(set(byKey(key))), `${signed.repository}:v1`, true],
    ['unsigned', simple(set(byKey(key))), bad, false],
    ['unsigned, by tag', simple(set(byKey(key))), `${unsigned.repository}:v1`, false],
    ['another key', simple(set(byKey(other))), good, false],
    ['without log', simple(set([keyAttestor(key, null)])), good, true],
    ['one of two', simple(set(byKey(other, key), 1)), good, true],
    ['two of two', simple(set(byKey(other, key))), good, false],
    ['two keys in one text', simple(set(byKey(`${key}${other}`))), good, false],
    ['one of two keys in one text', simple(set(byKey(`${key}${other}`), 1)), good, true],
    ['nested', simple(set([{ attestor: { count: 1, entries: byKey(other, key) } }])), good, true],
    [
      'skipped',
      simple(set(byKey(key)), { ...plain, skipImageReferences: [`${unsigned.repository}*`] }),
      bad,
      true,
    ],
    ['attestation', attested('CycloneDX'), good, true],
    ['attestation whose condition does not hold', attested('SPDX'), good, false],
    ['no attestation', attested('CycloneDX'), bad, false],
    ['digest wanted and there', simple(undefined, { ...plain, verifyDigest: true }), bad, true],
    [
      'digest wanted and not there',
      simple(undefined, { ...plain, verifyDigest: true }),
      `${unsigned.repository}:v1`,
      false,
    ],
    [
      'verified image wanted without attestors',
      simple(undefined, { ...plain, required: true }),
      bad,
      false,
    ],
    ['other namespace', simple(set(byKey(key)), {}, onlyIn('other')), bad, true],
    ['precondition not met', simple(set(byKey(key)), {}, precondition('nobody')), bad, true],
    ['precondition met', simple(set(byKey(key)), {}, precondition('app')), bad, false],
    [
      'reference does not match',
      clusterPolicy({ references: ['other.example/*'], attestors: set(byKey(key)) }),
      bad,
      true,
    ],
  ]
  // An image that no rule speaks of is the setting's, not the policy's.
  await writeFile(join(place.site.data, 'airseal.yaml'), 'admission: { uncoveredImages: allow }\n')
  await place.site.stop()
  for (const [title, policy, image, allowed] of rows) {
    await t.test(title, async (t) => {
      const [theirs, ours, text] = await both(policy, pod([image]))
      t.equal(theirs, allowed, text)
      t.equal(ours, allowed, text)
    })
  }
  await t.test('meant differences are what docs/compatibility.md says', async (t) => {
    const differences: readonly (readonly [string, unknown, string, boolean, boolean])[] = [
      ['bundle only', simple(set(byKey(key))), bundle.reference, false, true],
      ['the same key twice', simple(set(byKey(key, key), 2)), good, true, false],
    ]
    for (const [title, policy, image, theirs, ours] of differences) {
      const [kyverno, airseal, text] = await both(policy, pod([image]))
      t.strictSame([kyverno, airseal], [theirs, ours], `${title}: ${text}`)
    }
  })
  await t.test('with parity there are none', async (t) => {
    await writeFile(
      join(place.site.data, 'airseal.yaml'),
      'admission: { uncoveredImages: allow, parity: kyverno-1.19 }\n',
    )
    for (const [policy, image] of [
      [simple(set(byKey(key))), bundle.reference],
      [simple(set(byKey(key, key), 2)), good],
    ] as const) {
      const [kyverno, airseal, text] = await both(policy, pod([image]))
      t.equal(airseal, kyverno, text)
    }
  })
  await t.test('ImageValidatingPolicy', async (t) => {
    const policy = {
      apiVersion: 'policies.kyverno.io/v1',
      kind: 'ImageValidatingPolicy',
      metadata: { name: 'signed' },
      spec: {
        failurePolicy: 'Fail',
        validationActions: ['Deny'],
        matchConstraints: {
          resourceRules: [
            {
              apiGroups: [''],
              apiVersions: ['v1'],
              operations: ['CREATE', 'UPDATE'],
              resources: ['pods'],
            },
          ],
        },
        matchImageReferences: [{ glob: `${host}/*` }],
        attestors: [
          {
            name: 'appliance',
            cosign: {
              key: { data: key },
              ctlog: { url: place.site.url, insecureIgnoreTlog: true, insecureIgnoreSCT: true },
            },
          },
        ],
        validations: [
          {
            expression:
              'images.containers.all(i, verifyImageSignatures(i, [attestors.appliance]) > 0)',
            message: 'not signed by the appliance',
          },
        ],
      },
    }
    for (const [image, allowed] of [
      [good, true],
      [bad, false],
    ] as const) {
      const [kyverno, airseal, text] = await both(policy, pod([image]))
      t.equal(kyverno, allowed, text)
      t.equal(airseal, allowed, text)
    }
  })
})
