import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseDigest } from '../../src/core/index.ts'
import { parseTrustedRoot } from '../../src/sigstore/index.ts'
import { trustFromRoot, verifyBlobBundle } from '../../src/verify/index.ts'
import { changed } from '../support/mutants.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const FOLDER = join(vectorsDirectory() ?? '', 'sigstore-bundles')
const IDENTITY =
  'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main'
const read = (...path: readonly string[]): string => readFileSync(join(FOLDER, ...path), 'utf8')

/** Judges a case of sigstore-conformance, changed. */
function ask(name: string, change: (text: string) => string) {
  const { cases } = JSON.parse(read('index.json')) as {
    cases: { name: string; trustedRoot: string; artifactDigest: string }[]
  }
  const one = cases.find((each) => each.name === name)
  if (one === undefined) throw new Error(name)
  return verifyBlobBundle({
    bundleText: change(read('cases', name, 'bundle.sigstore.json')),
    digest: parseDigest(one.artifactDigest),
    trust: { keys: [], ...trustFromRoot(parseTrustedRoot(read(one.trustedRoot))) },
    policy: {
      signer: {
        subject: { exact: IDENTITY },
        issuer: { exact: 'https://token.actions.githubusercontent.com' },
      },
    },
    now: Date.UTC(2026, 10, 24),
  })
}

const ENTRY = ['verificationMaterial', 'tlogEntries', 0] as const

void t.test(
  'a Rekor v2 entry stands at the index that its proof proves',
  NEEDS_VECTORS,
  async (t) => {
    t.match(await ask('rekor2-happy-path', (text) => text), { outcome: 'verified' })
    for (const [path, value] of [
      [[...ENTRY, 'logIndex'], '1'],
      [[...ENTRY, 'inclusionProof', 'logIndex'], '1'],
    ] as const) {
      const verdict = await ask('rekor2-happy-path', (text) => changed(text, path, () => value))
      t.match(verdict, { outcome: 'rejected', reason: 'INCLUSION_PROOF_INVALID' }, path.join('.'))
    }
  },
)

void t.test('version 0.1 needs the promise of the log, and no proof', NEEDS_VECTORS, async (t) => {
  const without = (member: string) => (text: string) =>
    changed(text, [...ENTRY, member], () => undefined)
  const verdict = await ask('happy-path-v0.1', without('inclusionProof'))
  t.match(verdict, { outcome: 'verified' })
  t.ok(verdict.unchecked.includes('inclusion proof (the bundle carries none)'))
  t.match(await ask('happy-path-v0.1', without('inclusionPromise')), { reason: 'BUNDLE_INVALID' })
  t.match(await ask('happy-path-v0.3', without('inclusionProof')), { reason: 'BUNDLE_INVALID' })
})

void t.test('a message signature says which digest it is for', NEEDS_VECTORS, async (t) => {
  const path = ['messageSignature', 'messageDigest']
  for (const value of [undefined, null, {}]) {
    const verdict = await ask('happy-path-v0.3', (text) => changed(text, path, () => value))
    t.match(verdict, { outcome: 'rejected', reason: 'BUNDLE_INVALID' })
  }
})
