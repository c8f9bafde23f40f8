import { createHash, createPublicKey } from 'node:crypto'
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { AIRSEAL, run, temporaryDirectory, type Finished } from '../support/site.ts'

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

/** A refusal is one line that says what, and one that says what to do. */
function refused(t: Tap, finished: Finished, code: string, exit = 3): void {
  t.equal(finished.code, exit, `${code}: ${finished.stdout}${finished.stderr}`)
  t.match(finished.stderr, new RegExp(`^airseal: .+ \\[${code}\\]\n {9}.+\n$`), code)
  t.equal(finished.stdout, '')
}
type Tap = Pick<typeof t, 'equal' | 'match'>

t.setTimeout(300_000)
const directory = await temporaryDirectory(t)
/** An initialised directory of which the tests take copies. */
const made = join(directory, 'made')
const initialised = await run(AIRSEAL, ['init', '--data', made])

async function copyOfMade(name: string): Promise<string> {
  const copy = join(directory, name)
  await cp(made, copy, { recursive: true, mode: 0, preserveTimestamps: true })
  return copy
}

await t.test(
  'init makes keys, log and trust files, closed to others, and says where they are',
  async (t) => {
    t.equal(initialised.code, 0, initialised.stderr)
    for (const [path, mode] of [
      ['', 0o700],
      ['keys', 0o700],
      ['keys/cosign.key', 0o600],
      ['keys/rekor.key', 0o600],
      ['keys/trust-root.key', 0o600],
      ['keys/passphrase', 0o600],
      ['airseal.db', 0o600],
    ] as const) {
      t.equal(await modeOf(join(made, path)), mode, path)
    }
    t.match(
      await readFile(join(made, 'keys', 'cosign.key'), 'utf8'),
      /^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n/,
    )
    const names = await readdir(join(made, 'public'))
    for (const name of [
      'cosign.pub',
      'rekor.pub',
      'signing_config.json',
      'trusted_root.json',
      'trust-bundle.json',
    ])
      t.ok(names.includes(name), name)
    t.match(initialised.stdout, `${made}/keys/passphrase (made now, mode 0600`)
    t.match(initialised.stdout, /Next: airseal serve --data/)
    const passphrase = (await readFile(join(made, 'keys', 'passphrase'), 'utf8')).trim()
    t.match(passphrase, /^[A-Za-z0-9_-]{32}$/, '24 random bytes')
    t.notMatch(initialised.stdout + initialised.stderr, passphrase)
    t.notOk(existsSync(join(made, 'initialising')))
  },
)

await t.test('init prints JSON when asked, without a secret in it', async (t) => {
  const data = join(directory, 'json')
  const { code, stdout } = await run(AIRSEAL, ['init', '--data', data, '--output', 'json'])
  t.equal(code, 0)
  const answer = JSON.parse(stdout) as Record<string, unknown>
  t.match(answer, {
    data,
    signingKeyId: /^[0-9a-f]{64}$/,
    logId: /^[0-9a-f]{64}$/,
    passphraseFile: join(data, 'keys', 'passphrase'),
  })
  t.notMatch(stdout, (await readFile(join(data, 'keys', 'passphrase'), 'utf8')).trim())
})

await t.test('a second init changes nothing', async (t) => {
  const before = await readFile(join(made, 'keys', 'cosign.key'))
  refused(t, await run(AIRSEAL, ['init', '--data', made]), 'DATA_DIRECTORY')
  t.same(await readFile(join(made, 'keys', 'cosign.key')), before)
})

await t.test('a directory that holds something else is refused and left alone', async (t) => {
  const other = join(directory, 'other')
  await mkdir(other)
  await writeFile(join(other, 'letter.txt'), 'dear …')
  for (const command of [['init'], ['serve', '--init'], ['serve'], ['fsck']]) {
    refused(t, await run(AIRSEAL, [...command, '--data', other]), 'DATA_DIRECTORY')
  }
  t.same(await readdir(other), ['letter.txt'])
  refused(t, await run(AIRSEAL, ['init', '--data', join(other, 'letter.txt')]), 'DATA_DIRECTORY')
})

await t.test('serve, sign and fsck without a directory say which one is missing', async (t) => {
  const missing = join(directory, 'missing')
  for (const command of [['serve'], ['fsck'], ['sign', `oci:x@sha256:${'0'.repeat(64)}`]]) {
    const finished = await run(AIRSEAL, [...command, '--data', missing])
    if (command[0] === 'sign') {
      t.equal(finished.code, 3)
      t.match(finished.stderr, 'DATA_DIRECTORY')
    } else refused(t, finished, 'DATA_DIRECTORY')
    t.match(finished.stderr, missing)
  }
  t.notOk(existsSync(missing))
})

await t.test(
  'an interrupted init starts over; until then nothing else works on the directory',
  async (t) => {
    const half = join(directory, 'half')
    await mkdir(join(half, 'keys'), { recursive: true, mode: 0o700 })
    await writeFile(join(half, 'initialising'), '')
    await copyFile(join(made, 'keys', 'cosign.key'), join(half, 'keys', 'cosign.key'))
    refused(t, await run(AIRSEAL, ['serve', '--data', half]), 'DATA_DIRECTORY')
    const again = await run(AIRSEAL, ['init', '--data', half])
    t.equal(again.code, 0, again.stderr)
    t.not(
      await readFile(join(half, 'keys', 'cosign.key'), 'utf8'),
      await readFile(join(made, 'keys', 'cosign.key'), 'utf8'),
    )
    t.equal((await run(AIRSEAL, ['fsck', '--data', half])).code, 0)
  },
)

await t.test(
  'what an init leaves that is killed in its first moment is not in the way',
  async (t) => {
    for (const names of [
      ['airseal.lock'],
      ['airseal.lock', '.initialising.tmp'],
      ['.initialising.tmp'],
    ]) {
      const data = join(directory, 'begun')
      await mkdir(data, { mode: 0o700 })
      for (const name of names) await writeFile(join(data, name), '', { mode: 0o600 })
      const { code, stderr } = await run(AIRSEAL, ['init', '--data', data])
      t.equal(code, 0, `${names.join()} ${stderr}`)
      t.notOk(existsSync(join(data, '.initialising.tmp')))
      await rm(data, { recursive: true })
    }
  },
)

await t.test(
  'of several inits at once one makes the directory, and nobody unmakes it',
  async (t) => {
    const data = join(directory, 'contested')
    const all = await Promise.all([1, 2, 3].map(() => run(AIRSEAL, ['init', '--data', data])))
    t.same(all.map(({ code }) => code).sort(), [0, 3, 3])
    for (const { code, stderr } of all) {
      if (code !== 0) t.match(stderr, /DATA_LOCKED|DATA_DIRECTORY/)
    }
    const first = all.find(({ code }) => code === 0)
    const key = createPublicKey(await readFile(join(data, 'public', 'cosign.pub')))
    const id = createHash('sha256')
      .update(key.export({ format: 'der', type: 'spki' }))
      .digest('hex')
    t.match(first?.stdout, id, 'the keys are those that were announced')
    t.equal((await run(AIRSEAL, ['fsck', '--data', data])).code, 0)
  },
)

await t.test('loose permissions are refused, with the command that mends them', async (t) => {
  for (const [path, mode, mended] of [
    ['', 0o755, '700'],
    ['keys', 0o750, '700'],
    ['keys/cosign.key', 0o644, '600'],
    ['keys/rekor.key', 0o640, '600'],
    ['keys/passphrase', 0o604, '600'],
    ['airseal.db', 0o644, '600'],
  ] as const) {
    const data = await copyOfMade('loose')
    await chmod(join(data, path), mode)
    const finished = await run(AIRSEAL, ['serve', '--data', data, '--listen', '127.0.0.1:0'])
    refused(t, finished, 'DATA_PERMISSIONS')
    t.match(finished.stderr, `run chmod ${mended} ${join(data, path)}`.replace(/\/$/, ''))
    await rm(data, { recursive: true })
  }
})

await t.test('a key file that is a link is refused', async (t) => {
  const data = await copyOfMade('linked')
  await rm(join(data, 'keys', 'cosign.key'))
  await symlink(join(made, 'keys', 'cosign.key'), join(data, 'keys', 'cosign.key'))
  refused(t, await run(AIRSEAL, ['serve', '--data', data]), 'DATA_PERMISSIONS')
})

await t.test(
  'the passphrase may come from a file, the environment or keys/passphrase',
  async (t) => {
    const file = join(directory, 'given')
    await writeFile(file, 'correct horse\r\n', { mode: 0o600 })
    const fromFile = join(directory, 'from-file')
    const first = await run(AIRSEAL, ['init', '--data', fromFile, '--passphrase-file', file])
    t.equal(first.code, 0, first.stderr)
    t.match(first.stdout, /given by you/)
    t.notOk(existsSync(join(fromFile, 'keys', 'passphrase')), 'no copy is kept')
    const sign = (env: Record<string, string>, args: readonly string[] = []): Promise<Finished> =>
      run(
        AIRSEAL,
        ['sign', '--data', fromFile, ...args, `oci:${directory}@sha256:${'0'.repeat(64)}`],
        { env },
      )
    // Past the keys, it is the layout that fails.
    t.match((await sign({ AIRSEAL_PASSPHRASE: 'correct horse' })).stderr, 'LAYOUT_INVALID')
    t.match((await sign({}, ['--passphrase-file', file])).stderr, 'LAYOUT_INVALID')

    refused(t, await sign({}), 'PASSPHRASE')
    refused(t, await sign({ AIRSEAL_PASSPHRASE: 'wrong horse' }), 'PASSPHRASE')
    refused(t, await sign({ AIRSEAL_PASSPHRASE: '' }), 'PASSPHRASE')
    await writeFile(file, '\n')
    refused(t, await sign({}, ['--passphrase-file', file]), 'PASSPHRASE')
    await writeFile(file, 'correct horse')
    await chmod(file, 0o644)
    refused(t, await sign({}, ['--passphrase-file', file]), 'DATA_PERMISSIONS')
  },
)

/** Runs a command on a terminal of its own and types `lines`, each after a question. Prints what the terminal showed; ends with its code. */
const TYPIST = `
import os, pty, sys
lines = sys.argv[1].split("|")
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown = b""
asked = 0
while True:
    try:
        chunk = os.read(terminal, 4096)
    except OSError:
        break
    if not chunk:
        break
    shown += chunk
    if asked < len(lines) and shown.count(b": \\x1b") > asked:
        os.write(terminal, lines[asked].encode() + b"\\r")
        asked += 1
sys.stdout.write(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

await t.test('a person is asked for the passphrase, and what is typed is not shown', async (t) => {
  const data = join(directory, 'prompted')
  const typed = (lines: string, args: readonly string[]): Promise<Finished> =>
    run('python3', ['-c', TYPIST, lines, AIRSEAL, ...args])
  const differ = await typed('rosebud|rosebush', ['init', '--data', data, '--ask-passphrase'])
  t.equal(differ.code, 3, differ.stdout)
  t.match(differ.stdout, /differ.*\[PASSPHRASE\]/)
  t.notOk(existsSync(data), 'nothing was made')
  const made = await typed('rosebud|rosebud', ['init', '--data', data, '--ask-passphrase'])
  t.equal(made.code, 0, made.stdout)
  t.match(made.stdout, /New passphrase for the keys: /)
  const signed = await typed('rosebud', [
    'sign',
    '--data',
    data,
    `oci:${directory}@sha256:${'0'.repeat(64)}`,
  ])
  t.match(signed.stdout, 'LAYOUT_INVALID')
  const wrong = await typed('rosebush', [
    'sign',
    '--data',
    data,
    `oci:${directory}@sha256:${'0'.repeat(64)}`,
  ])
  t.equal(wrong.code, 3)
  t.match(wrong.stdout, 'PASSPHRASE')
  // Ctrl-C at the question.
  const left = await typed('\u0003', [
    'sign',
    '--data',
    data,
    `oci:${directory}@sha256:${'0'.repeat(64)}`,
  ])
  t.equal(left.code, 3, left.stdout)
  t.match(left.stdout, 'PASSPHRASE')
  for (const { stdout } of [differ, made, signed, wrong]) t.notMatch(stdout, /rosebu/)
})

await t.test('a Node that is too old is refused in one line', async (t) => {
  const clone = join(directory, 'clone')
  const root = dirname(dirname(AIRSEAL))
  await mkdir(clone)
  for (const part of ['bin', 'src', 'keys', 'package.json'])
    await cp(join(root, part), join(clone, part), { recursive: true })
  const path = join(directory, 'path')
  await mkdir(path)
  const launch = (): Promise<Finished> =>
    run(join(clone, 'bin', 'airseal'), ['serve', '--data', join(clone, 'data')], {
      env: { PATH: `${path}:/usr/bin:/bin` },
    })
  for (const version of ['v20.20.2', 'v18.19.0', 'v22.17.1', 'v23.11.0']) {
    await writeFile(join(path, 'node'), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 })
    const { code, stderr, stdout } = await launch()
    t.equal(code, 3, version)
    t.match(stderr, new RegExp(`^airseal: Node ${version} .*npm ci.*\n$`))
    t.equal(stdout, '')
  }
  // The one of this machine, when it is an old one.
  await rm(join(path, 'node'))
  const system = await run('/bin/sh', ['-c', 'node --version'], {
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  })
  if (system.stdout.startsWith('v20.')) {
    const { code, stderr } = await run(join(clone, 'bin', 'airseal'), ['serve'], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    })
    t.equal(code, 3)
    t.match(stderr, /^airseal: Node v20\..*\n$/)
  }
  t.notOk(existsSync(join(clone, 'data')))
})
