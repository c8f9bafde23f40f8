import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import t from 'tap'

const ROOT = new URL('../..', import.meta.url).pathname
const CONFIG = join(ROOT, '.dependency-cruiser.cjs')

interface RuleSet {
  readonly forbidden: readonly { readonly name: string }[]
}

const RULES = (createRequire(import.meta.url)(CONFIG) as RuleSet).forbidden.map(({ name }) => name)

/** One file that breaks each rule: rule, file, its text. */
const PLANTED: readonly (readonly [rule: string, file: string, text: string])[] = [
  ['no-cycles', 'src/core/a.ts', "import { b } from './b.ts'\nexport const a = b\n"],
  ['core-imports', 'src/core/up.ts', "import { x } from '../log/index.ts'\nexport const y = x\n"],
  ['x509-imports', 'src/x509/up.ts', "import { x } from '../tlog/index.ts'\nexport const y = x\n"],
  [
    'tlog-imports',
    'src/tlog/up.ts',
    "import { x } from '../sigstore/index.ts'\nexport const y = x\n",
  ],
  [
    'expressions-imports',
    'src/expressions/up.ts',
    "import { x } from '../verify/index.ts'\nexport const y = x\n",
  ],
  [
    'oci-imports',
    'src/oci/up.ts',
    "import { x } from '../sigstore/index.ts'\nexport const y = x\n",
  ],
  [
    'sigstore-imports',
    'src/sigstore/up.ts',
    "import { x } from '../verify/index.ts'\nexport const y = x\n",
  ],
  ['tuf-imports', 'src/tuf/up.ts', "import { x } from '../tlog/index.ts'\nexport const y = x\n"],
  [
    'verify-imports',
    'src/verify/up.ts',
    "import { x } from '../oci/index.ts'\nexport const y = x\n",
  ],
  ['trust-imports', 'src/trust/up.ts', "import { x } from '../log/index.ts'\nexport const y = x\n"],
  [
    'admission-imports',
    'src/admission/up.ts',
    "import { x } from '../evidence/index.ts'\nexport const y = x\n",
  ],
  [
    'log-imports',
    'src/log/up.ts',
    "import { x } from '../sigstore/index.ts'\nexport const y = x\n",
  ],
  ['rekor-imports', 'src/rekor/up.ts', "import { x } from '../oci/index.ts'\nexport const y = x\n"],
  ['sign-imports', 'src/sign/up.ts', "import { x } from '../rekor/index.ts'\nexport const y = x\n"],
  [
    'evidence-imports',
    'src/evidence/up.ts',
    "import { x } from '../log/index.ts'\nexport const y = x\n",
  ],
  [
    'doors-imports',
    'src/doors/up.ts',
    "import { x } from '../http/index.ts'\nexport const y = x\n",
  ],
  ['http-imports', 'src/http/up.ts', "import { x } from '../oci/index.ts'\nexport const y = x\n"],
  [
    'keys-import-core-only',
    'keys/up.ts',
    "import { x } from '../src/log/index.ts'\nexport const y = x\n",
  ],
  [
    'one-door-per-folder',
    'src/rekor/door.ts',
    "import { z } from '../log/inner.ts'\nexport const y = z\n",
  ],
  [
    'one-door-from-outside',
    'src/outside.ts',
    "import { z } from './log/inner.ts'\nexport const y = z\n",
  ],
  [
    'keyring-imports',
    'src/keyring/up.ts',
    "import { x } from '../sign/index.ts'\nexport const y = x\n",
  ],
  [
    'offline-bundles-imports',
    'offline-bundles/up.ts',
    "import { x } from '../src/log/index.ts'\nexport const y = x\n",
  ],
  [
    'offline-bundles-have-one-door',
    'src/cli/carry.ts',
    "import { x } from '../../offline-bundles/inner.ts'\nexport const y = x\n",
  ],
  [
    'offline-bundles-serve-the-root',
    'src/log/carry.ts',
    "import { x } from '../../offline-bundles/index.ts'\nexport const y = x\n",
  ],
  [
    'keys-have-one-door',
    'src/door.ts',
    "import { x } from '../keys/inner.ts'\nexport const y = x\n",
  ],
  [
    'keys-are-opened-by-the-root-only',
    'src/sign/open.ts',
    "import { x } from '../../keys/index.ts'\nexport const y = x\n",
  ],
  [
    'signer-type-only',
    'src/sign/value.ts',
    "import { x } from '../../keys/signer.ts'\nexport const y = x\n",
  ],
  [
    'http-sees-log-types-only',
    'src/http/log.ts',
    "import { x } from '../log/index.ts'\nexport const y = x\n",
  ],
  [
    'cli-has-no-server',
    'src/cli/server.ts',
    "import { x } from '../http/index.ts'\nexport const y = x\n",
  ],
  [
    'app-knows-no-commands',
    'src/app.ts',
    "import { x } from './cli/index.ts'\nexport const y = x\n",
  ],
  [
    'pure-folders',
    'src/verify/file.ts',
    "import { readFile } from 'node:fs/promises'\nexport const y = readFile\n",
  ],
  [
    'sqlite-in-log-only',
    'src/rekor/sql.ts',
    "import D from 'better-sqlite3'\nexport const y = D\n",
  ],
  [
    'expressions-in-one-folder',
    'src/rekor/cel.ts',
    "import { run } from '@bufbuild/cel'\nexport const y = run\n",
  ],
  ['express-in-http-only', 'src/rekor/web.ts', "import e from 'express'\nexport const y = e\n"],
  [
    'key-services-in-providers-only',
    'keys/sdk.ts',
    "import * as k from 'pkcs11js'\nexport const y = k\n",
  ],
  [
    'providers-are-loaded-when-used',
    'keys/eager.ts',
    "import { x } from './providers/pkcs11.ts'\nexport const y = x\n",
  ],
  [
    'certificates-in-x509-only',
    'src/verify/pki.ts',
    "import * as p from 'pkijs'\nexport const y = p\n",
  ],
  [
    'tuf-libraries-in-tuf-only',
    'src/verify/tuf.ts',
    "import { Metadata } from '@tufjs/models'\nexport const y = Metadata\n",
  ],
  [
    'product-imports-product',
    'src/core/test.ts',
    "import { x } from '../../test/support.ts'\nexport const y = x\n",
  ],
  [
    'no-development-dependencies',
    'src/core/dev.ts',
    "import f from 'fast-check'\nexport const y = f\n",
  ],
  ['resolvable', 'src/core/lost.ts', "import { x } from './nowhere.ts'\nexport const y = x\n"],
]

/** What obeys every rule, and gives the planted files something to import. */
const GOOD: readonly (readonly [file: string, text: string])[] = [
  ...[
    'core',
    'x509',
    'tlog',
    'oci',
    'sigstore',
    'verify',
    'log',
    'rekor',
    'sign',
    'evidence',
    'admission',
    'http',
    'cli',
  ].map((folder) => [`src/${folder}/index.ts`, 'export const x = 1\n'] as const),
  ['src/log/inner.ts', 'export const z = 1\n'],
  ['offline-bundles/index.ts', 'export const x = 1\n'],
  ['offline-bundles/inner.ts', 'export const x = 1\n'],
  ['src/log/db.ts', "import D from 'better-sqlite3'\nexport const y = D\n"],
  ['src/http/web.ts', "import e from 'express'\nexport const y = e\n"],
  ['src/http/typed.ts', "import type { x } from '../log/index.ts'\nexport type Y = typeof x\n"],
  [
    'src/sign/typed.ts',
    "import type { Signer } from '../../keys/signer.ts'\nexport type Y = Signer\n",
  ],
  ['src/verify/fine.ts', "import { x } from '../sigstore/index.ts'\nexport const y = x\n"],
  ['src/main.ts', "export const run = () => import('./cli/inner.ts')\n"],
  ['src/cli/inner.ts', 'export const i = 1\n'],
  ['keys/index.ts', 'export const x = 1\n'],
  ['keys/inner.ts', "import { x } from '../src/core/index.ts'\nexport { x }\n"],
  ['keys/signer.ts', 'export interface Signer { readonly a: 1 }\nexport const x = 1\n'],
  ['keys/providers/pkcs11.ts', "import * as k from 'pkcs11js'\nexport const x = k\n"],
  ['keys/lazy.ts', "export const open = () => import('./providers/pkcs11.ts')\n"],
  ['src/init.ts', "import { x } from '../keys/index.ts'\nexport const y = x\n"],
  ['test/support.ts', "import { z } from '../src/log/inner.ts'\nexport const x = z\n"],
  ['src/core/b.ts', 'export const b = 1\n'],
  ...['better-sqlite3', 'express', 'pkijs', 'pkcs11js', 'fast-check'].flatMap((name) => [
    [
      `node_modules/${name}/package.json`,
      JSON.stringify({ name, version: '1.0.0', main: 'index.js' }),
    ] as const,
    [`node_modules/${name}/index.js`, 'module.exports = 1\n'] as const,
  ]),
  [
    'package.json',
    JSON.stringify({
      type: 'module',
      dependencies: { 'better-sqlite3': '1', express: '1', pkijs: '1', pkcs11js: '1' },
      devDependencies: { 'fast-check': '1' },
    }),
  ],
]

interface Violation {
  readonly from: string
  readonly rule: { readonly name: string }
}

/** Runs the project's own rules over a tree. */
function cruise(
  folder: string,
  files: readonly (readonly [string, string])[],
): readonly Violation[] {
  for (const [name, text] of files) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  cpSync(join(ROOT, 'tsconfig.json'), join(folder, 'tsconfig.json'))
  const program = join(ROOT, 'node_modules', '.bin', 'depcruise')
  const args = [
    program,
    '--config',
    CONFIG,
    '--output-type',
    'json',
    'src',
    'keys',
    'offline-bundles',
    'test',
  ]
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: 60_000,
  })
  if (stdout === '') throw new Error(stderr)
  return (JSON.parse(stdout) as { summary: { violations: Violation[] } }).summary.violations
}

t.test('a tree that keeps to the rules is let through', async (t) => {
  t.same(cruise(t.testdir({}), GOOD), [])
})

t.test('each import rule fires on a file that breaks it', async (t) => {
  t.same(
    PLANTED.map(([rule]) => rule).sort(),
    [...RULES].sort(),
    'every rule has a file that breaks it',
  )
  const cyclic: readonly [string, string] = [
    'src/core/b.ts',
    "import { a } from './a.ts'\nexport const b = () => a\n",
  ]
  const files = [...GOOD, ...PLANTED.map(([, file, text]) => [file, text] as const), cyclic]
  const violations = cruise(t.testdir({}), files)
  for (const [rule, file] of PLANTED) {
    t.ok(
      violations.some((violation) => violation.rule.name === rule && violation.from === file),
      `${rule} names ${file}`,
    )
  }
})
