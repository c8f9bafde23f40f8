import { chmod, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { main } from '../../src/main.ts'
import { AIRSEAL, run, startSite, temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'

const COMMANDS = [
  'init',
  'serve',
  'sign',
  'attest',
  'verify',
  'verify-attestation',
  'trust',
  'tuf',
  'verify-blob',
  'policy',
  'key',
  'resign',
  'bundle',
  'kms-plugin',
  'verify-blob-attestation',
  'tree',
  'download',
  'triangulate',
  'save',
  'load',
  'copy',
  'public-key',
  'fsck',
] as const
const DIGEST = `sha256:${'0'.repeat(64)}`
t.setTimeout(300_000)
const directory = await temporaryDirectory(t)

interface Said {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line inside this process. */
async function airseal(...args: readonly string[]): Promise<Said> {
  const said = { stdout: '', stderr: '' }
  const code = await main(args, {
    stdout: (text) => (said.stdout += text),
    stderr: (text) => (said.stderr += text),
    interactive: false,
    environment: { AIRSEAL_DATA: join(directory, 'nowhere') },
  })
  return { code, ...said }
}

/** Code in a JSON error. */
const codeIn = (text: string): unknown =>
  (JSON.parse(text) as { error: { code: unknown } }).error.code

await t.test('the overview names every command, and no other exists', async (t) => {
  const { code, stdout } = await airseal('--help')
  t.equal(code, 0)
  const named = [...stdout.matchAll(/^ {2}([a-z-]+) {2,}\S/gm)].map(([, name]) => name)
  t.same(named, COMMANDS)
  t.match(await airseal(), { code: 2, stdout })
  t.match(await airseal('help'), { code: 0, stdout })
})

for (const name of COMMANDS) {
  await t.test(`${name} --help explains every option and ends with an example`, async (t) => {
    const { code, stdout, stderr } = await airseal(name, '--help')
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(stdout, `airseal ${name} `)
    t.match(stdout, /^ {2}-o, --output text\|json /m)
    t.match(stdout, /\nExit codes:\n(?: +\d+ {2}\S.*\n){3,}/)
    t.match(
      stdout,
      // The plugin is started by cosign.
      new RegExp(`\nExamples?:\n(?: {2}(?:airseal ${name}|AIRSEAL_DATA=\\S+ cosign).*\n)+$`),
      'the example is last',
    )
    t.match(await airseal('help', name), { code: 0, stdout })
    // A word after `bundle` names a command of its own.
    if (name === 'bundle') t.match(await airseal(name, 'something', '-h'), { code: 2 })
    else t.match(await airseal(name, 'something', '-h'), { code: 0, stdout })
  })

  await t.test(`${name} refuses unknown options and wrong values as wrong usage`, async (t) => {
    for (const args of [['--bogus'], ['--output', 'yaml'], ['--output'], ['-Z'], ['--help=yes']]) {
      const { code, stdout, stderr } = await airseal(name, 'x', ...args)
      t.equal(code, 2, args.join(' '))
      t.equal(stdout, '')
      t.match(stderr, /^airseal: .+ \[USAGE\]\n {9}.+\n$/)
    }
    const { code, stdout, stderr } = await airseal(name, '--output', 'json', '--bogus')
    t.equal(code, 2)
    t.equal(stdout, '')
    t.equal(codeIn(stderr), 'USAGE')
    t.equal(stderr.trim().split('\n').length, 1)
  })
}

await t.test('commands without a needed argument are wrong usage', async (t) => {
  for (const args of [
    ['sign'],
    ['verify'],
    ['verify-attestation', `oci:x@${DIGEST}`],
    ['attest', `oci:x@${DIGEST}`],
    ['attest', '--type', 'custom', `oci:x@${DIGEST}`],
    ['attest', '--type', 'custom', '--predicate', '/nowhere', `oci:x@${DIGEST}`],
    ['verify', '--server', 'http://127.0.0.1:1', '--trusted-root', 'x', `oci:x@${DIGEST}`],
    ['sign', '-a', 'noequals', `oci:x@${DIGEST}`],
    ['sign', '-a', 'a=1', '-a', 'a=2', `oci:x@${DIGEST}`],
  ]) {
    t.match(await airseal(...args), { code: 2, stderr: /\[USAGE\]/ }, args.join(' '))
  }
})

await t.test('a token or an authority that can not be read is wrong usage', async (t) => {
  const lines = join(directory, 'two-lines')
  await writeFile(lines, 'first\nsecond\n')
  for (const [url, option, file] of [
    ['http://127.0.0.1:1', '--token-file', '/nowhere'],
    ['http://127.0.0.1:1', '--token-file', lines],
    ['https://127.0.0.1:1', '--cacert', '/nowhere'],
  ] as const) {
    for (const name of ['sign', 'verify']) {
      const args = [name, '--server', url, option, file, `oci:x@${DIGEST}`]
      t.match(await airseal(...args), { code: 2, stderr: /\[USAGE\]/ }, args.join(' '))
    }
  }
})

await t.test('commands that take no arguments refuse them', async (t) => {
  for (const name of ['init', 'serve', 'fsck']) {
    t.match(await airseal(name, 'stray'), { code: 2, stderr: /\[USAGE\]/ }, name)
  }
})

await t.test('an unknown command is wrong usage', async (t) => {
  t.match(await airseal('sing'), { code: 2, stderr: /no command "sing"/ })
  t.match(await airseal('help', 'sing'), { code: 2 })
  t.match(await airseal('--version'), { code: 0, stdout: /^airseal \d+\.\d+\.\d+\n$/ })
})

await t.test('a missing site is exit code 3, also as JSON', async (t) => {
  for (const args of [
    ['serve'],
    ['fsck'],
    ['sign', `oci:x@${DIGEST}`],
    ['verify', `oci:x@${DIGEST}`],
  ]) {
    const { code, stderr } = await airseal(...args, '--output', 'json')
    t.equal(code, 3, args.join(' '))
    t.equal(codeIn(stderr), 'DATA_DIRECTORY')
  }
})

await t.test('without a service, a signing says what it did and nothing else', async (t) => {
  const data = join(directory, 'alone')
  t.equal((await run(AIRSEAL, ['init', '--data', data])).code, 0)
  const [image = ''] = await tinyLayout(join(directory, 'alone-layout'), ['a'])
  const { code, stderr } = await run(AIRSEAL, ['sign', '--data', data, image])
  t.equal(code, 0)
  t.notMatch(stderr, /evidence cache/)
})

await t.test('with a service', async (t) => {
  const site = await startSite(join(directory, 'data'))
  t.teardown(() => site.stop('SIGKILL'))
  const [image = '', other = ''] = await tinyLayout(join(directory, 'layout'), ['a', 'b'])
  const digest = image.slice(image.indexOf('@') + 1)

  await t.test('a key file that is not there is no name of a key', async (t) => {
    const { code, stderr } = await run(AIRSEAL, [
      ...['verify', '--data', site.data, '--key', 'nowhere.pub', image],
    ])
    t.equal(code, 2, stderr)
    t.match(stderr, /--key nowhere\.pub can't be read \[USAGE\]/)
  })

  await t.test(
    'layouts are meant from where the command runs, not from where the service does',
    async (t) => {
      const text = await run(AIRSEAL, ['sign', '--data', site.data, `oci:./layout@${digest}`], {
        cwd: directory,
      })
      t.equal(text.code, 0, text.stderr)
      t.match(text.stdout, /legacy {2}log index 0 {2}pushed .*\n.*bundle {2}log index 1 {2}pushed/)
      const data = ['--data', '../data']
      const cwd = join(directory, 'layout')
      t.equal((await run(AIRSEAL, ['verify', ...data, `oci:.@${digest}`], { cwd })).code, 0)
      t.equal((await run(AIRSEAL, ['verify', ...data, `oci:../layout:a`], { cwd })).code, 0)
    },
  )

  await t.test('a layout stays as readable as it was', async (t) => {
    const shared = join(directory, 'shared')
    const [one = ''] = await tinyLayout(shared, ['s'])
    await chmod(join(shared, 'index.json'), 0o664)
    t.equal((await site.airseal(['sign', one])).code, 0)
    t.equal((await stat(join(shared, 'index.json'))).mode & 0o777, 0o664)
    const blobs = join(shared, 'blobs', 'sha256')
    for (const name of await readdir(blobs)) {
      t.equal((await stat(join(blobs, name))).mode & 0o444, 0o444, name)
    }
  })

  await t.test('sign --output json gives one document, with errors beside results', async (t) => {
    const missing = `oci:${join(directory, 'layout')}@${DIGEST}`
    const { code, stdout } = await site.airseal(['sign', '--output', 'json', image, missing, other])
    t.equal(code, 11, 'that of the first image that failed')
    const { results } = JSON.parse(stdout) as { results: Record<string, unknown>[] }
    t.match(results, [
      { digest, signatures: [{ format: 'legacy', status: 'present' }, { format: 'bundle' }] },
      { image: missing, error: { code: 'IMAGE_NOT_FOUND', remedy: /./ } },
      {
        signatures: [
          { format: 'legacy', status: 'added' },
          { format: 'bundle', status: 'added' },
        ],
      },
    ])
  })

  await t.test("verify gives cosign's JSON and exit codes", async (t) => {
    const good = await site.airseal(['verify', '--output', 'json', image])
    t.equal(good.code, 0)
    t.match(JSON.parse(good.stdout), [
      { critical: { image: { 'docker-manifest-digest': digest } } },
      { critical: { image: { 'docker-manifest-digest': digest } } },
    ])
    const [unsigned = ''] = await tinyLayout(join(directory, 'unsigned'), ['u'])
    const none = await site.airseal(['verify', '--output', 'json', unsigned])
    t.equal(none.code, 10)
    t.equal(none.stdout, '')
    t.equal(codeIn(none.stderr), 'NO_SIGNATURES')
    t.equal((await site.airseal(['verify', `oci:${join(directory, 'layout')}@${DIGEST}`])).code, 11)
    t.equal((await site.airseal(['verify', '-a', 'build=1', image])).code, 12)
    t.equal(
      (await site.airseal(['verify', unsigned, image])).code,
      10,
      'that of the first image that failed',
    )
  })

  await t.test('attest and verify-attestation', async (t) => {
    await writeFile(join(directory, 'sbom.json'), '{"bomFormat":"CycloneDX","specVersion":"1.5"}')
    const attest = [
      'attest',
      '--type',
      'cyclonedx',
      '--predicate',
      'sbom.json',
      `oci:layout@${digest}`,
    ]
    const made = await site.airseal([...attest, '-o', 'json'], { cwd: directory })
    t.equal(made.code, 0, made.stderr)
    t.match(JSON.parse(made.stdout), {
      results: [{ digest, signatures: [{ format: 'legacy' }, { format: 'bundle' }] }],
    })
    const good = await site.airseal(['verify-attestation', '--type', 'cyclonedx', image])
    t.equal(good.code, 0, good.stderr)
    t.match(JSON.parse(good.stdout.trim()), { payloadType: 'application/vnd.in-toto+json' })
    t.equal((await site.airseal(['verify-attestation', '--type', 'spdx', image])).code, 1)
  })

  await t.test('fsck --output json', async (t) => {
    const { code, stdout } = await site.airseal(['fsck', '--output', 'json'])
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { entries: 7 })
  })
})
