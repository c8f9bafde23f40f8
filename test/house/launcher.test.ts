import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'

const ROOT = new URL('../..', import.meta.url).pathname
const RUNTIME = join(ROOT, 'node_modules', `node-linux-${process.arch}`)

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Ended {
  const options = {
    encoding: 'utf8',
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', ...env },
    timeout: 60_000,
  } as const
  return spawnSync(program, args, options)
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

function readmeOfDeploy(): string {
  return readFileSync(join(ROOT, 'deploy', 'README.md'), 'utf8')
}

/** A clone with the real launcher and a main that shows how it was started. */
function clone(folder: string): string {
  mkdirSync(join(folder, 'bin'), { recursive: true })
  cpSync(join(ROOT, 'bin', 'airseal'), join(folder, 'bin', 'airseal'))
  write(join(folder, 'package.json'), '{"type":"module"}')
  write(
    join(folder, 'src', 'main.ts'),
    `const facts: object = { version: process.version, flags: process.execArgv, args: process.argv.slice(2), threads: process.env.UV_THREADPOOL_SIZE, options: process.env.NODE_OPTIONS }
process.stdout.write(JSON.stringify(facts))
`,
  )
  return join(folder, 'bin', 'airseal')
}

/** A program named node that says it has this version, and leaves a trace when it is asked to run something. */
function fakeNode(folder: string, version: string): string {
  const path = join(folder, 'node')
  write(
    path,
    `#!/bin/sh\n[ "$1" = --version ] && echo ${version} && exit 0\necho started >${folder}/started\n`,
  )
  chmodSync(path, 0o755)
  return folder
}

function withRuntime(folder: string): void {
  mkdirSync(join(folder, 'node_modules'), { recursive: true })
  symlinkSync(RUNTIME, join(folder, 'node_modules', `node-linux-${process.arch}`))
}

interface Facts {
  readonly version: string
  readonly flags: readonly string[]
  readonly args: readonly string[]
  readonly threads?: string
  readonly options?: string
}

t.test(
  'it runs the sources of a clone on the pinned runtime, through links, arguments untouched',
  async (t) => {
    const folder = t.testdir({ a: {}, b: {} })
    const launcher = clone(join(folder, 'clone'))
    withRuntime(join(folder, 'clone'))
    symlinkSync(launcher, join(folder, 'a', 'first'))
    symlinkSync('../a/first', join(folder, 'b', 'second'))
    const { status, stdout, stderr } = run(join(folder, 'b', 'second'), ['sign', 'a b', '', '$x'])
    t.equal(stderr, '')
    t.equal(status, 0)
    const facts = JSON.parse(stdout) as Facts
    t.match(facts.version, /^v24\./)
    t.same(facts.args, ['sign', 'a b', '', '$x'])
    t.ok(facts.flags.includes('--disable-sigusr1'), 'no debugger on SIGUSR1')

    const cache = join(folder, 'clone', 'node_modules', '.cache', 'airseal')
    t.equal(
      statSync(cache).mode & 0o777,
      0o700,
      'compiled code is kept where nobody else can write',
    )
    t.not(readdirSync(cache).length, 0)
  },
)

t.test('what a shell has set for other Node programs does not reach it', async (t) => {
  const folder = t.testdir({})
  const launcher = clone(folder)
  withRuntime(folder)
  const { stdout } = run(launcher, ['serve'], {
    NODE_OPTIONS: '--require=/nonexistent.js',
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
  })
  const facts = JSON.parse(stdout) as Facts
  t.equal(facts.options, undefined)
  t.ok(Number(facts.threads) >= 4, 'the service has threads for signatures')
})

for (const version of ['v20.20.2', 'v18.0.0', 'v22.17.1']) {
  t.test(
    `it refuses Node ${version} with one line and exit code 3, starting nothing`,
    async (t) => {
      const folder = t.testdir({})
      const launcher = clone(join(folder, 'clone'))
      const bin = fakeNode(join(folder, 'fake'), version)
      const { status, stdout, stderr } = run(launcher, ['serve'], { PATH: `${bin}:/usr/bin:/bin` })
      t.equal(status, 3)
      t.equal(stdout, '')
      t.match(stderr, /^airseal: Node v[\d.]+ .* is too old, .*npm ci.*\n$/)
      t.notOk(existsSync(join(bin, 'started')))
    },
  )
}

for (const version of ['v22.18.0', 'v24.0.0', 'v26.1.0']) {
  t.test(`without the pinned runtime it takes Node ${version} of the machine`, async (t) => {
    const folder = t.testdir({})
    const launcher = clone(join(folder, 'clone'))
    const bin = fakeNode(join(folder, 'fake'), version)
    t.equal(run(launcher, [], { PATH: `${bin}:/usr/bin:/bin` }).status, 0)
    t.ok(existsSync(join(bin, 'started')))
  })
}

t.test(
  'packed as deploy/README.md says and installed below node_modules, it runs the built output on the runtime beside it',
  async (t) => {
    const folder = t.testdir({ clone: {}, node_modules: { airseal: {} } })
    const clone = join(folder, 'clone')
    const modules = join(folder, 'node_modules')
    const home = join(modules, 'airseal')
    // A clone without anything built: what is committed or would be.
    const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard']
    const { stdout: listed } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' })
    for (const name of listed.split('\0').filter((name) => name !== '')) {
      if (existsSync(join(ROOT, name))) cpSync(join(ROOT, name), join(clone, name))
    }
    symlinkSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'))
    const [, pack] = /^npm ci && (.*npm pack)$/m.exec(readmeOfDeploy()) ?? []
    const packed = spawnSync('/bin/sh', ['-ec', pack ?? 'exit 9'], {
      cwd: clone,
      encoding: 'utf8',
    })
    t.equal(packed.status, 0, packed.stderr)
    const [tarball = 'none'] = readdirSync(clone).filter((name) => name.endsWith('.tgz'))
    const unpacked = run('tar', ['-xzf', join(clone, tarball), '-C', home, '--strip-components=1'])
    t.equal(unpacked.status, 0, unpacked.stderr)
    for (const name of readdirSync(join(ROOT, 'node_modules')).filter(
      (name) => !name.startsWith('.'),
    )) {
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
    }
    mkdirSync(join(modules, '.bin'))
    symlinkSync('../airseal/bin/airseal', join(modules, '.bin', 'airseal'))
    const installed = join(modules, '.bin', 'airseal')
    const help = run(installed, ['verify', '--help'])
    t.match(help.stdout, 'airseal verify IMAGE', help.stderr)
    const { status, stdout, stderr } = run(installed, ['--version'])
    t.equal(stderr, '')
    t.equal(status, 0)
    t.match(stdout, /\d+\.\d+\.\d+/)
  },
)

t.test('an incomplete installation says so', async (t) => {
  const folder = t.testdir({ bin: {} })
  cpSync(join(ROOT, 'bin', 'airseal'), join(folder, 'bin', 'airseal'))
  const { status, stderr } = run(join(folder, 'bin', 'airseal'), [])
  t.equal(status, 3)
  t.match(stderr, /^airseal: .* is incomplete, .*\n$/)
})
