import t from 'tap'
import { readPolicyDocument } from '../../src/admission/index.ts'
import type { JsonObject } from '../../src/core/index.ts'
import { pod } from './support/cluster-policies.ts'
import { digestOfText, judge, newKey } from './support/facts.ts'

const A = newKey().pem
const B = newKey().pem
const APP = 'registry.example/app'
const SBOM = 'https://cyclonedx.org/bom'

function policy(spec: Record<string, unknown> = {}): JsonObject {
  const key = (data: string) => ({
    key: { data },
    ctlog: { insecureIgnoreTlog: true, insecureIgnoreSCT: true },
  })
  return {
    apiVersion: 'policies.kyverno.io/v1',
    kind: 'ImageValidatingPolicy',
    metadata: { name: 'signed' },
    spec: {
      matchConstraints: {
        resourceRules: [
          {
            apiGroups: [''],
            apiVersions: ['v1'],
            operations: ['CREATE', 'UPDATE'],
            resources: ['pods', 'pods/ephemeralcontainers'],
          },
        ],
      },
      matchImageReferences: [{ glob: 'registry.example/*' }],
      attestors: [
        { name: 'a', cosign: key(A) },
        { name: 'b', cosign: key(B) },
      ],
      attestations: [{ name: 'sbom', intoto: { type: SBOM } }],
      validations: [
        {
          expression:
            '(images.containers + images.initContainers).all(i, verifyImageSignatures(i, [attestors.a]) > 0)',
          message: 'not signed by a',
        },
      ],
      ...spec,
    },
  }
}

const pinned = pod([`${APP}@${digestOfText('x')}`])

t.test(
  'a signed image is allowed, an unsigned one refused with the message and the reason',
  async (t) => {
    const images = { [APP]: { signedBy: [A] } }
    t.equal((await judge({ documents: [policy()], object: pinned, images })).allowed, true)
    const refused = await judge({ documents: [policy()], object: pinned })
    t.equal(refused.allowed, false)
    t.match(
      refused.message,
      /not signed by a; image registry\.example\/app@sha256:.* \[NO_SIGNATURES\]/,
    )
  },
)

t.test('two attestors are counted', async (t) => {
  const both = policy({
    validations: [
      {
        expression:
          'images.containers.all(i, verifyImageSignatures(i, [attestors.a, attestors.b]) == 2)',
      },
    ],
  })
  const allowed = async (signedBy: string[]) =>
    (await judge({ documents: [both], object: pinned, images: { [APP]: { signedBy } } })).allowed
  t.equal(await allowed([A]), false)
  t.equal(await allowed([A, B]), true)
})

t.test('payloads are read after their attestation verified', async (t) => {
  const sbom = policy({
    validations: [
      {
        expression:
          "images.containers.all(i, verifyAttestationSignatures(i, attestations.sbom, [attestors.a]) > 0 && extractPayload(i, attestations.sbom).predicate.bomFormat == 'CycloneDX')",
      },
    ],
  })
  const allowed = async (by: string, bomFormat: string) =>
    (
      await judge({
        documents: [sbom],
        object: pinned,
        images: { [APP]: { attested: [{ by, type: SBOM, predicate: { bomFormat } }] } },
      })
    ).allowed
  t.equal(await allowed(A, 'CycloneDX'), true)
  t.equal(await allowed(A, 'SPDX'), false)
  t.equal(await allowed(B, 'CycloneDX'), false)
})

t.test('an image that no expression asked about is refused', async (t) => {
  const lax = policy({ validations: [{ expression: 'true' }] })
  const verdict = await judge({
    documents: [lax],
    object: pinned,
    images: { [APP]: { signedBy: [A] } },
  })
  t.equal(verdict.allowed, false)
  t.match(verdict.message, /no policy performed a signature or attestation check on it/)
})

t.test('tags are pinned by the mutating webhook and refused by the validating one', async (t) => {
  const asked = {
    documents: [policy()],
    object: pod([`${APP}:1`]),
    images: { [APP]: { signedBy: [A] } },
  }
  const mutated = await judge({ ...asked, phase: 'mutate' })
  t.equal(mutated.patch.at(-1)?.value, `${APP}:1@${digestOfText(`${APP}:1`)}`)
  const validated = await judge(asked)
  t.equal(validated.allowed, false)
  t.match(validated.message, /does not have a digest/)
})

t.test('match conditions, Audit, and the controllers of Pods', async (t) => {
  const never = policy({
    matchConditions: [{ name: 'never', expression: "object.metadata.name == 'nobody'" }],
  })
  t.equal((await judge({ documents: [never], object: pinned })).allowed, true)
  const audit = policy({ validationActions: ['Audit'] })
  const audited = await judge({ documents: [audit], object: pinned })
  t.equal(audited.allowed, true)
  t.match(audited.warnings, [/not signed by a/])
  const onPods = policy({
    matchConstraints: {
      resourceRules: [
        { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
      ],
    },
  })
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'x' },
    spec: {
      template: { spec: { containers: [{ name: 'c', image: `${APP}@${digestOfText('x')}` }] } },
    },
  }
  t.equal((await judge({ documents: [onPods], object: deployment })).allowed, false)
  t.equal(
    (await judge({ documents: [onPods], object: deployment, images: { [APP]: { signedBy: [A] } } }))
      .allowed,
    true,
  )
})

t.test('what is not acted on is refused when the policy is loaded', (t) => {
  const rows: readonly (readonly [string, JsonObject])[] = [
    ['POLICY_UNSUPPORTED', policy({ credentials: { secrets: ['x'] } })],
    ['POLICY_UNSUPPORTED', policy({ attestors: [{ name: 'n', notary: {} }] })],
    ['POLICY_UNSUPPORTED', policy({ attestations: [{ name: 'r', referrer: { type: 'x' } }] })],
    ['POLICY_INVALID', policy({ validation: [] })],
    ['POLICY_INVALID', policy({ validations: [] })],
    ['EXPRESSION_INVALID', policy({ validations: [{ expression: 'images.containers.all(' }] })],
  ]
  for (const [code, document] of rows) {
    t.throws(
      () => readPolicyDocument(document, { parity: false }),
      { code },
      JSON.stringify(document).slice(0, 300),
    )
  }
  t.end()
})
