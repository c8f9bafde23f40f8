import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { digestOf, isObject, utf8 } from '../../src/core/index.ts'
import { main } from '../../src/main.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const FOLDER = join(vectorsDirectory() ?? '', 'sigstore-bundles')
const IDENTITY =
  'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main'
const ISSUER = 'https://token.actions.githubusercontent.com'

/** Runs one command line. */
async function run(...args: readonly string[]) {
  let stdout = ''
  let stderr = ''
  const exit = await main(['verify-blob', ...args], {
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      stderr += text
    },
    interactive: false,
    environment: {},
  })
  return { exit, stdout, stderr }
}

const of = (name: string): readonly string[] => [
  ...['--bundle', join(FOLDER, 'cases', name, 'bundle.sigstore.json')],
  ...['--trusted-root', join(FOLDER, 'cases', name, 'trusted_root.json')],
]
const IS = ['--certificate-identity', IDENTITY, '--certificate-oidc-issuer', ISSUER]
const FILE = join(FOLDER, 'a.txt')

void t.test(
  'verify-blob accepts a file or its digest and says so as cosign does',
  NEEDS_VECTORS,
  async (t) => {
    const digest = 'sha256:a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf'
    for (const subject of [FILE, digest]) {
      const result = await run(...of('rekor2-happy-path'), ...IS, subject)
      t.strictSame(result, { exit: 0, stdout: '', stderr: 'Verified OK\n' })
    }
    const json = await run(...of('rekor2-happy-path'), ...IS, '-o', 'json', FILE)
    const said: unknown = JSON.parse(json.stdout)
    t.ok(isObject(said))
    t.match(said, {
      outcome: 'verified',
      certificateIdentity: IDENTITY,
      certificateOidcIssuer: ISSUER,
      unchecked: [],
    })
  },
)

void t.test(
  'verify-blob refuses another file, identity, issuer or workflow with exit code 1',
  NEEDS_VECTORS,
  async (t) => {
    const bundle = of('rekor2-happy-path')
    const other = join(t.testdir(), 'other')
    writeFileSync(other, utf8('other'))
    const refused = async (code: string, ...args: readonly string[]) => {
      const { exit, stderr, stdout } = await run(...bundle, ...args)
      t.match(
        { exit, stderr, stdout },
        { exit: 1, stderr: new RegExp(`\\[${code}\\]`), stdout: '' },
        code,
      )
    }
    await refused('DIGEST_MISMATCH', ...IS, other)
    await refused('DIGEST_MISMATCH', ...IS, digestOf(utf8('other')))
    await refused(
      'SUBJECT_MISMATCH',
      '--certificate-identity',
      `${IDENTITY}x`,
      ...IS.slice(2),
      FILE,
    )
    await refused('ISSUER_MISMATCH', ...IS.slice(0, 3), 'https://token.actions', FILE)
    await refused(
      'SUBJECT_MISMATCH',
      '--certificate-identity-regexp',
      'https://github.com/sigstore-conformance/',
      ...IS.slice(2),
      FILE,
    )
    await refused(
      'WORKFLOW_MISMATCH',
      ...IS,
      '--certificate-github-workflow-ref',
      'refs/heads/x',
      FILE,
    )
    const failing = await run(...IS, '-o', 'json', ...of('rekor2-no-timestamp_fail'), FILE)
    t.match(JSON.parse(failing.stderr), {
      error: { code: 'SIGNING_TIME_MISSING', outcome: 'rejected' },
    })
  },
)

void t.test('verify-blob wants a whole question', NEEDS_VECTORS, async (t) => {
  const bundle = of('rekor2-happy-path')
  const usage = async (...args: readonly string[]) => {
    t.match(
      await run(...args),
      { exit: 2, stderr: /\[(USAGE|REQUEST_INVALID)\]/ },
      args.slice(4).join(' '),
    )
  }
  await usage(...bundle, FILE)
  await usage(...IS, FILE)
  await usage(...bundle, ...IS)
  await usage(...bundle, ...IS.slice(0, 2), FILE)
  await usage(...bundle, ...IS.slice(2), FILE)
  await usage(...bundle, ...IS, '--key', 'cosign.pub', FILE)
  await usage(...bundle, ...IS, '--certificate-identity-regexp', '.*', FILE)
  await usage(...bundle, '--certificate-identity-regexp', '(a', ...IS.slice(2), FILE)
  await usage(...bundle, ...IS, 'sha256:00')
  await usage(...bundle, ...IS, '--ca-intermediates', FILE, FILE)
})
