import { readFile } from 'node:fs/promises'
import t from 'tap'
import { lintDocuments, readDocuments } from '../../src/admission/index.ts'
import { clusterPolicy, keyAttestor, yaml } from './support/cluster-policies.ts'
import { newKey } from './support/facts.ts'

const REFERENCE = new URL('../../docs/policies/reference.yaml', import.meta.url)
const lint = (text: string) => lintDocuments(readDocuments(text), null, false)

t.test('the reference policy has exactly three findings, one for each rule', async (t) => {
  const { findings } = lint(await readFile(REFERENCE, 'utf8'))
  t.strictSame(
    findings.map(({ rule, code }) => [rule, code]),
    [
      ['verify-keyless-signature', 'NEEDS_INTERNET'],
      ['verify-kms-signature', 'NEEDS_INTERNET'],
      ['require-sbom', 'INVALID'],
    ],
  )
  const [keyless, kms, sbom] = findings
  t.match(keyless?.message, /takes the authorities from its TUF mirror/)
  t.match(
    kms?.message,
    /without ctlog\.ignoreSCT Kyverno dials its TUF mirror even for a plain key/,
  )
  t.equal(
    sbom?.message,
    'rule require-sbom: keyless attestor with neither rekor nor roots: Kyverno 1.19 rejects the whole policy',
  )
})

t.test('a policy that needs no Internet has no finding', async (t) => {
  const { pem } = newKey()
  const policy = clusterPolicy({ attestors: [{ entries: [keyAttestor(pem, pem)] }] })
  t.strictSame(lint(yaml(policy)).findings, [])
})

t.test('holes in patterns are told', async (t) => {
  const { pem } = newKey()
  const policy = clusterPolicy({
    references: ['registry.example/team/app:*'],
    attestors: [{ entries: [keyAttestor(pem, pem)] }],
  })
  t.match(
    lint(yaml(policy))
      .notes.map(({ message }) => message)
      .join('\n'),
    /does not cover references by digest/,
  )
})

t.test('what airseal does not support is a finding that names it', async (t) => {
  const policy = clusterPolicy({ rule: { mutate: { patchStrategicMerge: {} } } })
  const [finding] = lint(yaml(policy)).findings
  t.equal(finding?.code, 'UNSUPPORTED')
  t.match(finding?.message, /rule rule\.mutate is not supported/)
})
