import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { buildImage, type BuiltImage } from '../support/image.ts'
import { startProcess, waitUntil } from '../support/processes.ts'
import { needs, program, requiredProgram } from '../support/programs.ts'
import { AIRSEAL, run, temporaryDirectory, type Finished } from '../support/site.ts'
import { said } from './support/place.ts'

/** Two enclaves with no route between them; a directory is the medium. Every command is the program that people run. */

const REGISTRY = '127.0.0.1:5000'
const TOOLS = [
  'unshare',
  'nsenter',
  'ip',
  'docker-registry',
  'crane',
  'cosign2',
  'cosign3',
  'kyverno',
] as const

/** Whether this machine lets us make network namespaces. */
async function canSeparate(): Promise<boolean> {
  const unshare = program('unshare')
  return unshare !== null && (await run(unshare, ['--net', 'true'])).code === 0
}

interface Side {
  /** Runs a program on this side: with loopback and nothing else. */
  run(name: string, args: readonly string[]): Promise<Finished>
  /** Runs `airseal VERB … --data DATA`, which must succeed. */
  airseal(...args: readonly string[]): Promise<string>
  /** The same where it must fail. @returns what it said */
  refused(...args: readonly string[]): Promise<string>
  readonly data: string
}

async function startSide(t: Test, folder: string, name: string): Promise<Side> {
  const home = join(folder, `${name}-home`)
  await mkdir(home)
  const holder = startProcess(t, requiredProgram('unshare'), [
    '--net',
    'sh',
    '-c',
    `${requiredProgram('ip')} link set lo up && echo up && exec sleep 600`,
  ])
  await waitUntil(holder, () => Promise.resolve(holder.output().includes('up')))
  const enter = ['--target', String(holder.child.pid ?? 0), '--net']
  const data = join(folder, name)
  const runHere = (command: string, args: readonly string[]): Promise<Finished> =>
    run(requiredProgram('nsenter'), [...enter, command, ...args], {
      env: {
        HOME: home,
        TUF_ROOT: join(home, 'tuf'),
        DOCKER_CONFIG: join(home, 'docker'),
        COSIGN_YES: 'true',
        AIRSEAL_DATA: data,
      },
    })
  const config = join(folder, `${name}-registry.yml`)
  await writeFile(
    config,
    stringify({
      version: 0.1,
      log: { level: 'warn' },
      storage: {
        filesystem: { rootdirectory: join(folder, `${name}-registry`) },
        delete: { enabled: true },
      },
      http: { addr: REGISTRY },
    }),
  )
  const registry = startProcess(t, requiredProgram('nsenter'), [
    ...enter,
    requiredProgram('docker-registry'),
    'serve',
    config,
  ])
  const crane = requiredProgram('crane')
  await waitUntil(registry, async () => (await runHere(crane, ['catalog', REGISTRY])).code === 0)
  return {
    data,
    run: (command, args) =>
      runHere(command === 'airseal' ? AIRSEAL : requiredProgram(command), args),
    airseal: async (...args) => {
      const done = await runHere(AIRSEAL, args)
      t.equal(done.code, 0, `${args.slice(0, 3).join(' ')}: ${said(done)}`)
      return done.stdout
    },
    refused: async (...args) => {
      const done = await runHere(AIRSEAL, args)
      t.not(done.code, 0, said(done))
      return done.stderr
    },
  }
}

const separate = await canSeparate()

await t.test(
  'images cross a gap that no packet crosses',
  separate ? needs(...TOOLS) : { skip: 'network namespaces need root' },
  async (t) => {
    const folder = await temporaryDirectory(t)
    const [low, high] = [await startSide(t, folder, 'low'), await startSide(t, folder, 'high')]
    const medium = join(folder, 'medium')
    await mkdir(medium)
    const trustOf = (side: Side): string => join(side.data, 'public', 'trust-bundle.json')
    const push = async (name: string): Promise<BuiltImage> => {
      const image = await buildImage(join(folder, name), `${folder} ${name}\n`)
      const pushed = await low.run('crane', ['push', image.layout, `${REGISTRY}/team/${name}:v1`])
      t.equal(pushed.code, 0, said(pushed))
      return image
    }

    await low.airseal('init', '--public-url', 'http://low.example:8470')
    await cp(trustOf(low), join(medium, 'trust.json'))
    await high.airseal(
      'init',
      '--public-url',
      'http://high.example:8470',
      '--trust',
      join(medium, 'trust.json'),
    )
    await cp(trustOf(high), join(medium, 'high-trust.json'))
    await low.airseal('bundle', 'peer', join(medium, 'high-trust.json'))
    t.not((await high.run('crane', ['catalog', '192.0.2.1:5000'])).code, 0, 'there is no route')

    const first = await push('first')
    await push('unsigned')
    await low.airseal('sign', '--recursive', `${REGISTRY}/team/first@${first.index}`)
    const one = join(medium, 'one')
    await low.airseal(
      'bundle',
      'export',
      `${REGISTRY}/team/first:v1`,
      '--output',
      one,
      '--to',
      'high.example',
      '--label',
      'for official use',
    )
    t.match(await high.airseal('bundle', 'inspect', one), 'for official use')
    t.match(
      await high.airseal('bundle', 'verify', one, '--trust', join(medium, 'trust.json')),
      'is whole and signed',
    )
    const imported = await high.airseal('bundle', 'import', one, '--registry', `${REGISTRY}/in`)
    t.match(imported, 'Receipt for low.example')
    const digestThere = await high.run('crane', ['digest', `${REGISTRY}/in/team/first:v1`])
    t.equal(digestThere.stdout.trim(), first.index, 'the tag is there, bit for bit')

    const accepts = judges(high, join(low.data, 'public'), folder)
    await t.test('unmodified consumers accept it over there', async (t) => {
      for (const [name, judge] of Object.entries(await accepts)) {
        const verdict = await judge(`${REGISTRY}/in/team/first@${first.index}`)
        t.equal(verdict.code, 0, `${name}: ${said(verdict)}`)
      }
    })

    await t.test('what nobody signed stays outside', async (t) => {
      const bad = join(medium, 'bad')
      await low.airseal(
        'bundle',
        'export',
        `${REGISTRY}/team/unsigned:v1`,
        '--output',
        bad,
        '--to',
        'other.example',
      )
      t.match(
        await high.refused('bundle', 'import', bad, '--registry', `${REGISTRY}/in`),
        'TRANSFER_ELSEWHERE',
      )
      const unsigned = join(medium, 'unsigned')
      await low.airseal(
        'bundle',
        'export',
        `${REGISTRY}/team/unsigned:v1`,
        '--output',
        unsigned,
        '--to',
        'any',
      )
      t.match(
        await high.refused('bundle', 'import', unsigned, '--registry', `${REGISTRY}/in`),
        'TRANSFER',
      )
      t.not((await high.run('crane', ['digest', `${REGISTRY}/in/team/unsigned:v1`])).code, 0)
    })

    await t.test('a delta follows the receipt, with new roots on the way', async (t) => {
      const code = (await high.airseal('bundle', 'receipt')).trim()
      t.match(
        await low.airseal('bundle', 'receipt', ...code.split(/\s+/)),
        'high.example has imported bundle 1',
      )
      await low.airseal('trust', 'rotate-root')
      const second = await push('second')
      await low.airseal('sign', `${REGISTRY}/team/second@${second.index}`)
      const two = join(medium, 'two')
      await low.airseal(
        'bundle',
        'export',
        '--since-receipt',
        '--to',
        'high.example',
        '--output',
        two,
      )
      await high.airseal('bundle', 'import', two, '--registry', `${REGISTRY}/in`)
      for (const [name, judge] of Object.entries(await accepts)) {
        const verdict = await judge(`${REGISTRY}/in/team/second@${second.index}`)
        t.equal(verdict.code, 0, `${name}: ${said(verdict)}`)
      }
      const again = await high.airseal('bundle', 'import', two, '--registry', `${REGISTRY}/in`)
      t.match(again, 'nothing was done')
      t.match(
        await high.refused('bundle', 'import', one, '--registry', `${REGISTRY}/in`),
        'TRANSFER_OLD',
      )
    })

    await t.test('both sides print the chain of custody', async (t) => {
      t.match(
        await low.airseal('bundle', 'report'),
        /bundle 1 for high\.example.*\n.*\n.*received by high\.example/,
      )
      const page = await high.airseal('bundle', 'report', '--form', 'html')
      t.match(page, /<h1>Chain of custody of high\.example<\/h1>/)
      t.notMatch(page, /<script|http-equiv|src=/)
    })
  },
)

/** Programs that judge images on a side, by what the sender's public files say. */
async function judges(
  side: Side,
  files: string,
  folder: string,
): Promise<Readonly<Record<string, (image: string) => Promise<Finished>>>> {
  const policy = join(folder, 'policy.yaml')
  const publicKeys = await readFile(join(files, 'cosign.pub'), 'utf8')
  const rekor = {
    url: 'http://low.example:8470',
    pubkey: await readFile(join(files, 'rekor.pub'), 'utf8'),
  }
  const entries = [{ keys: { publicKeys, rekor, ctlog: { ignoreSCT: true } } }]
  const verifyImages = [
    {
      imageReferences: ['*'],
      type: 'Cosign',
      failureAction: 'Enforce',
      mutateDigest: true,
      verifyDigest: true,
      required: true,
      attestors: [{ count: 1, entries }],
    },
  ]
  await writeFile(
    policy,
    stringify({
      apiVersion: 'kyverno.io/v1',
      kind: 'ClusterPolicy',
      metadata: { name: 'signed' },
      spec: {
        background: false,
        rules: [
          { name: 'signed', match: { any: [{ resources: { kinds: ['Pod'] } }] }, verifyImages },
        ],
      },
    }),
  )
  const cosign = (name: string) => (image: string) =>
    side.run(name, [
      'verify',
      '--key',
      join(files, 'cosign.pub'),
      '--trusted-root',
      join(files, 'trusted_root.json'),
      image,
    ])
  return {
    cosign2: cosign('cosign2'),
    cosign3: cosign('cosign3'),
    airseal: (image) => side.run('airseal', ['verify', image]),
    kyverno: async (image) => {
      const pod = join(folder, 'pod.yaml')
      const spec = { containers: [{ name: 'app', image }] }
      await writeFile(
        pod,
        stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'app' }, spec }),
      )
      return side.run('kyverno', ['apply', policy, '--resource', pod, '--registry'])
    },
  }
}
