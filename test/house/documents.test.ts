import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { errorsPage } from '../../scripts/errors-doc.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

interface Package {
  readonly version: string
  readonly files: readonly string[]
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
}

const PACKAGE = JSON.parse(read('package.json')) as Package

/** Files of the project: what is committed or would be. */
function projectFiles(): readonly string[] {
  const list = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    {
      cwd: ROOT,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    },
  )
  return list.split('\0').filter((name) => name !== '' && existsSync(join(ROOT, name)))
}

t.test('docs/errors.md lists exactly the codes of the error table', async (t) => {
  t.equal(read('docs/errors.md'), errorsPage(), 'run: node scripts/errors-doc.ts')
})

t.test('every production dependency is accounted for in docs/dependencies.md', async (t) => {
  const text = read('docs/dependencies.md')
  for (const name of Object.keys({ ...PACKAGE.dependencies, ...PACKAGE.optionalDependencies })) {
    t.ok(
      text.split('\n').some((line) => line.includes(`\`${name}\``)),
      name,
    )
  }
})

t.test('no key material stands outside the tests', async (t) => {
  // A whole key, not the label that parsers and writers of PEM name.
  const key = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40,}/
  for (const name of projectFiles()) {
    if (!name.startsWith('test/') && key.test(read(name))) t.fail(name)
  }
  t.match(`-----BEGIN PRIVATE KEY-----\n${'A'.repeat(64)}\n`, key, 'the pattern finds one')
})

t.test('the README names commands that exist', async (t) => {
  const text = read('README.md')
  const scripts = [...text.matchAll(/npm run ([a-z:-]+)/g)].map((found) => found[1] ?? '')
  for (const name of scripts) t.ok(PACKAGE.scripts[name], `npm run ${name}`)
  const main = read('src/main.ts')
  const commands = [...text.matchAll(/(?:`|^\$ )(?:bin\/)?airseal ([a-z-]+)/gm)].map(
    (found) => found[1] ?? '',
  )
  t.not(commands.length, 0, 'it shows airseal itself')
  for (const name of commands) t.ok(main.includes(`'${name}'`), `airseal ${name}`)
})

t.test('the changelog has a section for this version or for what is to come', async (t) => {
  const heading = new RegExp(
    `^## \\[?(?:${PACKAGE.version.replaceAll('.', '\\.')}|unreleased)`,
    'im',
  )
  t.match(read('CHANGELOG.md'), heading)
})

t.test('scripts that run something begin with the set-up', async (t) => {
  for (const name of ['start', 'test', 'check', 'demo']) {
    t.match(PACKAGE.scripts[name], /^node scripts\/setup\.mjs && /, name)
  }
})

t.test('on a fresh clone only the set-up runs on the Node of the machine', async (t) => {
  // A shell remembers where it found a command: a second plain `node` would be the old one, though the set-up has just
  // put the pinned one in front of it.
  const folder = t.testdir({ machine: {}, pinned: {}, bin: {} })
  const program = (path: string, text: string): void => {
    writeFileSync(join(folder, path), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  }
  program('pinned/source', 'echo pinned "$1"')
  program('machine/node', `echo machine "$1"; cp ${folder}/pinned/source ${folder}/pinned/node`)
  program('bin/airseal', 'exit 0')
  for (const [name, script] of Object.entries(PACKAGE.scripts)) {
    if (!script.startsWith('node scripts/setup.mjs && ')) continue
    rmSync(join(folder, 'pinned', 'node'), { force: true })
    const { stdout } = spawnSync('/bin/sh', ['-c', script], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: `${folder}/pinned:${folder}/machine:/usr/bin:/bin` },
    })
    const [first, ...rest] = stdout.trim().split('\n')
    t.equal(first, 'machine scripts/setup.mjs', name)
    t.same(
      rest.filter((line) => !line.startsWith('pinned ')),
      [],
      name,
    )
  }
})

t.test(
  'the package holds what an installed airseal needs, and neither sources nor tests',
  async (t) => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const paths = (JSON.parse(output) as [{ files: { path: string }[] }])[0].files.map(
      ({ path }) => path,
    )
    for (const path of [
      'bin/airseal',
      'scripts/build-native.mjs',
      'README.md',
      'SECURITY.md',
      'CHANGELOG.md',
      'deploy/airseal.service',
    ]) {
      t.ok(paths.includes(path), path)
    }
    t.ok(
      paths.some((path) => /^native\/.*\.c$/.test(path)),
      'the source of the addon',
    )
    t.same(
      paths.filter((path) => /^(src|keys|test|bench)\/|\.(pem|key|db)$/.test(path)),
      [],
    )
  },
)
