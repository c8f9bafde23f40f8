import { readFileSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { main } from '../../src/main.ts'
import { run, temporaryDirectory } from '../support/site.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const CLIENT = fileURLToPath(new URL('client', import.meta.url))
const FOLDER = join(vectorsDirectory() ?? '', 'sigstore-bundles')

interface Case {
  readonly name: string
  readonly expect: 'pass' | 'fail'
  readonly bundle: string
  readonly trustedRoot: string
  readonly artifact: string
  readonly artifactDigest: string
  readonly key?: string
  readonly identity?: string
  readonly issuer?: string
}

const cases = (): readonly Case[] =>
  (JSON.parse(readFileSync(join(FOLDER, 'index.json'), 'utf8')) as { cases: Case[] }).cases

/** Options in the order in which the suite gives them. */
function optionsOf(one: Case): string[] {
  const who =
    one.key === undefined
      ? [
          '--certificate-identity',
          one.identity ?? '',
          '--certificate-oidc-issuer',
          one.issuer ?? '',
        ]
      : ['--key', join(FOLDER, one.key)]
  return [
    ...['--bundle', join(FOLDER, one.bundle)],
    ...who,
    ...['--trusted-root', join(FOLDER, one.trustedRoot)],
  ]
}

async function command(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  let stderr = ''
  const code = await main(args, {
    stdout: () => undefined,
    stderr: (text) => (stderr += text),
    interactive: false,
    environment: {},
  })
  return { code, stderr }
}

t.setTimeout(300_000)

void t.test(
  'every case of the suite gets its verdict from the command, by path and by digest',
  NEEDS_VECTORS,
  async (t) => {
    t.ok(cases().length >= 41)
    for (const one of cases()) {
      for (const subject of [join(FOLDER, one.artifact), one.artifactDigest]) {
        const { code, stderr } = await command(['verify-blob', ...optionsOf(one), subject])
        const what = `${one.name} ${stderr}`
        if (one.expect === 'pass') t.equal(code, 0, what)
        else t.equal(code, 1, what)
        t.match(
          stderr,
          one.expect === 'pass' ? /^(?:not checked: .*\n)*Verified OK\n$/ : /\[[A-Z_]+\]/,
        )
      }
    }
  },
)

void t.test('the client speaks the protocol of the suite', NEEDS_VECTORS, async (t) => {
  const named = (name: string): Case => {
    const found = cases().find((one) => one.name === name)
    if (found === undefined) throw new Error(name)
    return found
  }
  const verify = async (one: Case, subject: string) =>
    run(CLIENT, ['verify-bundle', ...optionsOf(one), subject])
  const good = named('rekor2-happy-path')
  t.equal((await verify(good, join(FOLDER, good.artifact))).code, 0)
  t.equal((await verify(good, good.artifactDigest)).code, 0)
  t.equal((await verify(named('managed-key-happy-path'), good.artifactDigest)).code, 0)
  t.not((await verify(named('bundle-malformed-json_fail'), good.artifactDigest)).code, 0)
  t.not((await verify(good, 'sha256:00')).code, 0, 'not a digest, so a path that is not there')

  const folder = await temporaryDirectory(t)
  const looksLikeDigest = join(folder, good.artifactDigest)
  await symlink(join(FOLDER, good.artifact), looksLikeDigest)
  const asPath = await run(CLIENT, ['verify-bundle', ...optionsOf(good), good.artifactDigest], {
    cwd: folder,
  })
  t.equal(asPath.code, 0, 'a path of that name comes first')
  await mkdir(join(folder, 'other'))
  await writeFile(join(folder, 'other', good.artifactDigest), 'another file')
  const wrong = await run(CLIENT, ['verify-bundle', ...optionsOf(good), good.artifactDigest], {
    cwd: join(folder, 'other'),
  })
  t.not(wrong.code, 0, 'and is what is judged')

  const [, , ...rest] = optionsOf(good)
  const rootless = rest.slice(0, -2)
  const bundle = ['--bundle', join(FOLDER, good.bundle)]
  const args = ['verify-bundle', '--staging', ...bundle, ...rootless, good.artifactDigest]
  t.not((await run(CLIENT, args)).code, 0, 'no root')
  const env = { AIRSEAL_STAGING_ROOT: join(FOLDER, good.trustedRoot) }
  t.equal((await run(CLIENT, args, { env })).code, 0, 'the root of --staging')

  for (const args of [
    [],
    ['sign-bundle', '--identity-token', 'x', '--bundle', 'b', 'f'],
    ['sign'],
    ['verify-bundle'],
    ['verify-bundle', '--bogus', 'x', 'y'],
  ])
    t.not((await run(CLIENT, args)).code, 0, args.join(' '))
})
