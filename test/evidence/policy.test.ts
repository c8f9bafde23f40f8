import t from 'tap'
import { utf8, type Json } from '../../src/core/index.ts'
import {
  createVerification,
  parsePolicyDocument,
  siteTrustOf,
  createEvidenceStore,
} from '../../src/evidence/index.ts'
import { IN_TOTO_TYPE, attestationStatement, trustedRootText } from '../../src/sigstore/index.ts'
import {
  attestationLayer,
  bundleOf,
  legacyLayer,
  NOW,
  signBundle,
  signEnvelope,
  signLegacy,
  testKey,
  TestLog,
  type TestKey,
} from '../support/evidence.ts'
import { SETTINGS } from '../support/registry-image.ts'

const [alice, bob, carol] = [testKey(), testKey(), testKey()]
const log = new TestLog()
const DIGEST = `sha256:${'c'.repeat(64)}` as const
const IMAGE = `registry.invalid/team/app@${DIGEST}`
const SBOM = 'https://cyclonedx.org/bom'
const PROVENANCE = 'https://slsa.dev/provenance/v1'
const VULN = 'https://cosign.sigstore.dev/attestation/vuln/v1'

const attested = (predicateType: string, predicate: Json, key: TestKey) =>
  signEnvelope(
    attestationStatement({
      subjectName: 'registry.test/app',
      digest: DIGEST,
      predicateType,
      predicate,
    }),
    key,
    log,
    IN_TOTO_TYPE,
  )

/** Judges the evidence by a policy, with nothing but what is known. */
async function judge(
  spec: Json,
  evidence: Parameters<ReturnType<typeof createEvidenceStore>['keep']>[1],
  now = NOW,
) {
  const store = createEvidenceStore(null, () => now)
  await store.keep(DIGEST, evidence, 'imported', '')
  const verification = createVerification({
    trust: () =>
      siteTrustOf({
        version: '1',
        keys: [
          { name: 'alice', key: alice.publicKey, validFor: null },
          { name: 'bob', key: bob.publicKey, validFor: null },
          { name: 'alice-again', key: alice.publicKey, validFor: null },
        ],
        trustedRoot: utf8(
          trustedRootText({
            baseUrl: 'http://log.test',
            logPublicKey: log.key.publicKey,
            start: '2026-01-01T00:00:00Z',
          }),
        ),
      }),
    registrySettings: { ...SETTINGS, allowHosts: ['registry.invalid'], timeoutMs: 200 },
    log: null,
    clock: () => now,
    store,
  })
  const policy = {
    apiVersion: 'airseal/v1',
    kind: 'VerificationPolicy',
    metadata: { name: 'p' },
    spec,
  }
  const answer = (await verification.verify({ images: [IMAGE], policy })) as {
    results: Record<string, unknown>[]
  }
  return answer.results[0]
}

const legacy = (key: TestKey) =>
  ({ format: 'legacy', kind: 'signature', ...legacyLayer(signLegacy(DIGEST, key, log)) }) as const
const bundle = (key: TestKey) =>
  ({ format: 'bundle', text: bundleOf(signBundle(DIGEST, key, log)) }) as const
const attestation = (predicateType: string, predicate: Json, key: TestKey) =>
  ({
    format: 'legacy',
    kind: 'attestation',
    ...attestationLayer(attested(predicateType, predicate, key)),
  }) as const

/** Without a registry, what known evidence does not meet is an error, not a refusal. */
const NOT_MET = { outcome: 'error', reason: 'REGISTRY_UNREACHABLE' }

void t.test('a threshold counts distinct keys, not signatures and not names', async (t) => {
  const two = { signatures: { keys: ['alice', 'bob', 'alice-again'], threshold: 2 } }
  t.match(await judge(two, [legacy(alice), bundle(bob)]), { outcome: 'verified' })
  t.match(await judge(two, [legacy(alice), bundle(alice), legacy(alice)]), NOT_MET)
  t.match(
    await judge({ signatures: { keys: ['alice', 'bob', carol.publicKey.pem], threshold: 3 } }, [
      legacy(alice),
      bundle(bob),
      bundle(carol),
    ]),
    { outcome: 'verified' },
  )
  t.match(await judge({ signatures: { keys: ['bob'] } }, [legacy(alice)]), NOT_MET)
})

void t.test('signatures and attestations must all be there, each by its signers', async (t) => {
  const spec = {
    signatures: { keys: ['alice'] },
    attestations: [
      { type: 'cyclonedx', conditions: ["predicate.bomFormat == 'CycloneDX'"] },
      {
        name: 'built here',
        type: 'slsaprovenance1',
        keys: ['bob'],
        conditions: [
          "predicate.runDetails.builder.id == 'https://builder.corp'",
          "predicate.buildDefinition.externalParameters.source.startsWith('git+https://git.corp/team/app')",
        ],
      },
    ],
  }
  const sbom = attestation(SBOM, { bomFormat: 'CycloneDX' }, alice)
  const provenance = (source: string, key = bob) =>
    attestation(
      PROVENANCE,
      {
        runDetails: { builder: { id: 'https://builder.corp' } },
        buildDefinition: { externalParameters: { source } },
      },
      key,
    )
  const good = provenance('git+https://git.corp/team/app@refs/heads/main')
  t.match(await judge(spec, [legacy(alice), sbom, good]), {
    outcome: 'verified',
    demands: [
      { name: 'signatures', kind: 'signature', outcome: 'verified' },
      { name: 'cyclonedx', predicateType: SBOM, outcome: 'verified' },
      { name: 'built here', outcome: 'verified' },
    ],
    signatures: { length: 1 },
    attestations: { length: 2 },
  })
  for (const [why, evidence] of [
    ['no signature', [sbom, good]],
    ['no SBOM', [legacy(alice), good]],
    ['another source', [legacy(alice), sbom, provenance('git+https://git.evil/team/app')]],
    [
      'another builder’s key',
      [legacy(alice), sbom, provenance('git+https://git.corp/team/app', alice)],
    ],
    [
      'an SBOM of another kind',
      [legacy(alice), attestation(SBOM, { bomFormat: 'x' }, alice), good],
    ],
    ['a predicate without the member', [legacy(alice), attestation(SBOM, {}, alice), good]],
    ['an attestation as signature', [sbom, sbom, good]],
  ] as const) {
    t.match(await judge(spec, evidence), NOT_MET, why)
  }
})

void t.test('a condition may ask how old something is', async (t) => {
  const spec = {
    attestations: [
      {
        type: 'vuln',
        keys: ['alice'],
        conditions: [
          "predicate.scanner.result.all(v, v.severity != 'CRITICAL' || now - timestamp(v.published) < duration('720h'))",
        ],
      },
    ],
  }
  const scan = (severity: string, published: string) =>
    attestation(VULN, { scanner: { result: [{ severity, published }] } }, alice)
  t.match(await judge(spec, [scan('CRITICAL', '2026-11-01T00:00:00Z')]), { outcome: 'verified' })
  t.match(await judge(spec, [scan('CRITICAL', '2026-10-01T00:00:00Z')]), NOT_MET)
  t.match(await judge(spec, [scan('LOW', '2020-10-01T00:00:00Z')]), { outcome: 'verified' })
  t.match(await judge(spec, [scan('CRITICAL', 'no date')]), NOT_MET)
  t.match(
    await judge(spec, [scan('CRITICAL', '2026-11-01T00:00:00Z')], NOW + 30 * 86_400_000),
    NOT_MET,
  )
})

void t.test('policies that demand nothing or what is not known are refused', async (t) => {
  const base = { apiVersion: 'airseal/v1', kind: 'VerificationPolicy', metadata: { name: 'p' } }
  const signatures = { keys: ['alice'] }
  for (const [code, document] of [
    ['POLICY_INVALID', null],
    ['POLICY_INVALID', []],
    ['POLICY_INVALID', base],
    ['POLICY_INVALID', { ...base, spec: {} }],
    ['POLICY_INVALID', { ...base, spec: { attestations: [] } }],
    ['POLICY_INVALID', { ...base, apiVersion: 'airseal/v2', spec: { signatures } }],
    ['POLICY_INVALID', { ...base, kind: 'Policy', spec: { signatures } }],
    ['POLICY_INVALID', { ...base, metadata: { name: 'A/b' }, spec: { signatures } }],
    ['POLICY_INVALID', { ...base, metadata: {}, spec: { signatures } }],
    ['POLICY_INVALID', { ...base, spec: { signatures, attestation: [] } }],
    ['POLICY_INVALID', { ...base, spec: { signatures: { ...signatures, tresholds: 2 } } }],
    ['POLICY_INVALID', { ...base, spec: { signatures: { ...signatures, threshold: 0 } } }],
    ['POLICY_INVALID', { ...base, spec: { signatures: { ...signatures, threshold: '2' } } }],
    ['POLICY_INVALID', { ...base, spec: { signatures: { ...signatures, threshold: 2 } } }],
    ['POLICY_INVALID', { ...base, spec: { signatures: { keys: [] } } }],
    [
      'POLICY_INVALID',
      { ...base, spec: { signatures: { ...signatures, requireLog: false, logThreshold: 2 } } },
    ],
    ['POLICY_INVALID', { ...base, spec: { attestations: [{ keys: ['alice'] }] } }],
    ['REQUEST_INVALID', { ...base, spec: { signatures: { identities: [{ subject: 'a' }] } } }],
    ['POLICY_INVALID', { ...base, spec: { signatures: { identities: [{ subjectRegex: 'a' }] } } }],
    ['PREDICATE_INVALID', { ...base, spec: { attestations: [{ type: 'nonsense' }] } }],
    [
      'EXPRESSION_INVALID',
      { ...base, spec: { attestations: [{ type: 'vuln', conditions: ['1 +'] }] } },
    ],
  ] as const) {
    await t.rejects(
      () => parsePolicyDocument(document as unknown as Json),
      { code },
      JSON.stringify(document),
    )
  }
  t.match(await parsePolicyDocument({ ...base, spec: { signatures: {} } }), {
    demands: [{ keys: null, threshold: 1 }],
  })
})
