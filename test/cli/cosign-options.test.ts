import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { main } from '../../src/main.ts'
import { run, temporaryDirectory } from '../support/site.ts'
import { needs, requiredProgram } from '../support/programs.ts'
import { tinyLayout } from '../support/tiny-layout.ts'

const directory = await temporaryDirectory(t)
const DIGEST = `sha256:${'0'.repeat(64)}`

async function airseal(...args: readonly string[]) {
  const said = { stdout: '', stderr: '' }
  const code = await main(args, {
    stdout: (text) => (said.stdout += text),
    stderr: (text) => (said.stderr += text),
    interactive: false,
    environment: { AIRSEAL_DATA: join(directory, 'nowhere') },
  })
  return { code, ...said }
}

const image = `127.0.0.1:1/app@${DIGEST}`

await t.test('an option of cosign that means nothing here names what does', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['verify', '--rekor-url', 'https://rekor.example', image], /give --trusted-root FILE/],
    [['verify', '--sk', image], /give it with --key FILE/],
    [
      ['verify', '--certificate=c.pem', image],
      /--certificate-identity and --certificate-oidc-issuer/,
    ],
    [['verify', '--check-claims=false', image], /airseal download signature/],
    [['verify', '--private-infrastructure', image], /--insecure-ignore-tlog/],
    [['verify', '--allow-insecure-registry', image], /--registry-cacert FILE/],
    [['verify', '--attachment', 'sbom', image], /airseal triangulate --type sbom/],
    [['verify-attestation', '--type', 'vuln', '--policy', 'p.cue', image], /airseal policy add/],
    [['verify-blob', '--rekor-url=x', 'f'], /--trusted-root/],
    [['verify-blob-attestation', '--check-claims=false', 'f'], /always checked/],
    [['verify-blob-attestation', '--digestAlg', 'sha512', 'f'], /--digestAlg|--key/],
    [['tree', '--k8s-keychain', image], /DOCKER_CONFIG/],
    [['download', 'signature', '--attachment-tag-prefix', 'x', image], /airseal triangulate/],
    [['copy', '--platform', 'linux/amd64', image, image], /whole index/],
  ]
  for (const [args, wanted] of cases) {
    const { code, stdout, stderr } = await airseal(...args)
    t.equal(code, 2, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr, /\[USAGE\]/)
    t.match(stderr, wanted, args.join(' '))
  }
})

await t.test(
  'options of cosign that ask for what airseal does anyway change nothing',
  async (t) => {
    const [layoutImage] = await tinyLayout(join(directory, 'layout'), ['one'])
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const key = join(directory, 'key.pub')
    writeFileSync(key, publicKey.export({ format: 'pem', type: 'spki' }))
    const root = join(directory, 'root.json')
    writeFileSync(
      root,
      '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[],"ctlogs":[],"timestampAuthorities":[]}',
    )
    const base = ['verify', '--key', key, '--trusted-root', root, layoutImage ?? '']
    const plain = await airseal(...base)
    t.equal(plain.code, 10, plain.stderr)
    for (const more of [
      ['--offline'],
      ['--offline=true'],
      ['--offline=false'],
      ['-offline'],
      ['--new-bundle-format=false'],
      ['--check-claims=true'],
      ['--max-workers=3'],
      ['--signature-digest-algorithm', 'sha256'],
      ['--experimental-oci11'],
      ['-d'],
      ['--verbose'],
      ['-t', '3m'],
      ['--timeout=1m30s'],
    ]) {
      const { code, stderr } = await airseal(...base, ...more)
      t.equal(code, 10, `${more.join(' ')} ${stderr}`)
    }
    t.equal(
      (await airseal('verify', '-key', key, '-trusted-root', root, layoutImage ?? '')).code,
      10,
    )
    const local = ['--local-image', join(directory, 'layout')]
    t.equal((await airseal('verify', '--key', key, '--trusted-root', root, ...local)).code, 10)
  },
)

await t.test('a time and a file for the output are heeded', async (t) => {
  for (const text of ['3', 'soon', '-1s', '1s3', '']) {
    const { code, stderr } = await airseal('triangulate', '--timeout', text, image)
    t.equal(code, 2, text)
    t.match(stderr, 'USAGE')
  }
  const file = join(directory, 'place')
  const { code, stdout } = await airseal('triangulate', '--output-file', file, image)
  t.equal(code, 0)
  t.equal(stdout, '')
  t.equal(readFileSync(file, 'utf8'), `127.0.0.1:1/app:sha256-${'0'.repeat(64)}.sig\n`)
  const nowhere = join(directory, 'missing', 'place')
  t.equal((await airseal('triangulate', '--output-file', nowhere, image)).code, 2)
})

await t.test('options about registries go together, and a password to one only', async (t) => {
  for (const options of [
    ['--registry-username', 'me'],
    ['--registry-password', 'secret'],
    ['--registry-client-cert', join(directory, 'layout', 'oci-layout')],
    ['--registry-cacert', join(directory, 'nowhere.pem')],
  ]) {
    const { code, stderr } = await airseal('tree', ...options, image)
    t.equal(code, 2, options.join(' '))
    t.notMatch(stderr, 'secret')
  }
  const login = ['--registry-username', 'me', '--registry-password', 'secret']
  const { code, stderr } = await airseal('copy', ...login, image, `127.0.0.1:2/app:v1`)
  t.equal(code, 2)
  t.match(stderr, 'one registry')
  t.notMatch(stderr, 'secret')
})

await t.test('an option that a service would not heed is refused with --server', async (t) => {
  for (const options of [
    ['--ca-roots', 'x'],
    ['--allow-http-registry'],
    ['--registry-cacert', 'x'],
  ]) {
    const { code, stderr } = await airseal(
      'verify',
      '--server',
      'http://127.0.0.1:1',
      ...options,
      image,
    )
    t.equal(code, 2)
    t.match(stderr, `${options[0]} is for verifying here`)
  }
})

/**
 * The options of cosign's help, of both lines, are known to airseal's command of the same name: as its own, as one that asks for what it
 * does anyway, or with an answer that says what to give instead.
 */
await t.test('no option of cosign is simply unknown', needs('cosign2', 'cosign3'), async (t) => {
  const commands = ['verify', 'verify-attestation', 'verify-blob', 'verify-blob-attestation']
  const more = ['tree', 'download signature', 'download attestation', 'download sbom']
  for (const name of [...commands, ...more, 'triangulate', 'save', 'load', 'copy', 'public-key']) {
    for (const cosign of ['cosign2', 'cosign3']) {
      const { stdout, stderr } = await run(requiredProgram(cosign), [...name.split(' '), '--help'])
      const help = (stdout + stderr).replace(/^[^]*?\nFlags:/, '')
      const options = [...help.matchAll(/^ +(?:-[a-zA-Z], )?--([a-zA-Z0-9-]+)(?:=| )/gm)].map(
        ([, option]) => option ?? '',
      )
      t.ok(options.length > 3, `${cosign} ${name}`)
      for (const option of new Set(options)) {
        if (option === 'help') continue
        const said = await airseal(...name.split(' '), `--${option}`)
        t.notMatch(said.stderr, /Unknown option/, `${cosign} ${name} --${option}`)
      }
    }
  }
})
