import { errorText, helpText, parseInput, type Command, type Terminal } from './cli/command.ts'
import { runCommand } from './cli/run-command.ts'
import { AirsealError, asAirsealError } from './core/index.ts'
import { version } from './version.ts'

/** Each command is loaded only when it is asked for: starting up is most of what a short command costs. */
const COMMANDS: ReadonlyMap<string, readonly [string, () => Promise<{ command: Command }>]> =
  new Map([
    [
      'init',
      ['make a data directory: keys, empty log, trust files', () => import('./cli/init.ts')],
    ],
    ['serve', ['run the service', () => import('./cli/serve.ts')]],
    ['sign', ['sign images and log the signatures', () => import('./cli/sign.ts')]],
    [
      'attest',
      ['sign a statement about images (SBOM, provenance …)', () => import('./cli/attest.ts')],
    ],
    ['verify', ['verify signatures of images', () => import('./cli/verify.ts')]],
    [
      'verify-attestation',
      ['verify attestations of images', () => import('./cli/verify-attestation.ts')],
    ],
    ['trust', ['look after the trust bundle', () => import('./cli/trust.ts')]],
    ['tuf', ['look after the TUF repository', () => import('./cli/tuf.ts')]],
    ['verify-blob', ['verify the signature of a file', () => import('./cli/verify-blob.ts')]],
    ['policy', ['keep, lint and try policies for admission', () => import('./cli/policy.ts')]],
    ['key', ['manage keys: create, rotate, policy, compromise …', () => import('./cli/key.ts')]],
    [
      'resign',
      ['sign again, with the new key, what older keys signed', () => import('./cli/resign.ts')],
    ],
    [
      'bundle',
      ['carry images and trust between enclaves on a medium', () => import('./cli/bundle.ts')],
    ],
    [
      'kms-plugin',
      [
        'answer cosign as its KMS plugin (--key airseal://NAME)',
        () => import('./cli/kms-plugin.ts'),
      ],
    ],
    [
      'verify-blob-attestation',
      ['verify the attestation of a file', () => import('./cli/verify-blob-attestation.ts')],
    ],
    ['tree', ['list what is attached to an image', () => import('./cli/tree.ts')]],
    [
      'download',
      ['print signatures, attestations or the SBOM of an image', () => import('./cli/download.ts')],
    ],
    [
      'triangulate',
      ['name the place of signatures of an image', () => import('./cli/triangulate.ts')],
    ],
    ['save', ['save an image with its signatures as an OCI layout', () => import('./cli/save.ts')]],
    ['load', ['put a saved image into a registry', () => import('./cli/load.ts')]],
    ['copy', ['copy an image with its signatures', () => import('./cli/copy.ts')]],
    ['public-key', ['print a public key', () => import('./cli/public-key.ts')]],
    [
      'fsck',
      ['check every byte of the log against its signed checkpoint', () => import('./cli/fsck.ts')],
    ],
  ])

function overview(): string {
  const width = Math.max(...[...COMMANDS.keys()].map((name) => name.length))
  const rows = [...COMMANDS].map(([name, [summary]]) => `  ${name.padEnd(width)}  ${summary}`)
  return [
    'airseal: signing, transparency log and verification for networks without Internet.',
    '',
    '  airseal COMMAND [OPTIONS] [ARGUMENTS]',
    '',
    ...rows,
    '',
    'First steps:',
    '  airseal serve --init              make ./airseal-data, then serve on 127.0.0.1:8470',
    '  airseal sign HOST/REPO@sha256:…   sign an image',
    '  airseal verify HOST/REPO@sha256:… verify it',
    '',
    '`airseal COMMAND --help` explains a command and ends with an example.',
    '',
  ].join('\n')
}

/** Known before the arguments are parsed, so that a usage error comes in the form that was asked for. */
function wantsJson(args: readonly string[]): boolean {
  return args.some((arg, at) => {
    const before = args[at - 1] ?? ''
    return (
      arg === '--output=json' ||
      arg === '-ojson' ||
      (arg === 'json' && (before === '--output' || before === '-o'))
    )
  })
}

/** The command that words name: itself, or one below it. @throws AirsealError USAGE for an unknown word */
async function commandOf(
  command: Command,
  args: readonly string[],
): Promise<{ command: Command; args: readonly string[] }> {
  const [word, ...rest] = args
  if (command.verbs === undefined || word === undefined || word.startsWith('-'))
    return { command, args }
  const verb = command.verbs.get(word)
  if (verb === undefined) {
    const known = [...command.verbs.keys()].join(', ')
    throw new AirsealError('USAGE', `no command "${command.name} ${word}"; there are: ${known}`)
  }
  return commandOf((await verb[1]()).command, rest)
}

/** Runs one command line. @returns the exit code */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = args
  if (
    name === undefined ||
    name === '--help' ||
    name === '-h' ||
    (name === 'help' && rest.length === 0)
  ) {
    terminal.stdout(overview())
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === 'version') {
    terminal.stdout(`airseal ${version()}\n`)
    return 0
  }
  const json = wantsJson(rest)
  try {
    const asked = name === 'help' ? (rest[0] ?? '') : name
    const entry = COMMANDS.get(asked)
    if (entry === undefined) {
      throw new AirsealError('USAGE', `no command "${asked}"; \`airseal --help\` lists them`)
    }
    const words = name === 'help' ? rest.slice(1) : rest
    const { command, args: own } = await commandOf((await entry[1]()).command, words)
    if (name === 'help' || own.includes('--help') || own.includes('-h')) {
      terminal.stdout(helpText(command))
      return 0
    }
    return await runCommand(command, parseInput(command, own), terminal)
  } catch (thrown) {
    const error = asAirsealError(thrown)
    terminal.stderr(errorText(error, json))
    return error.facts.exit
  }
}

if (import.meta.main) {
  process.umask(0o077)
  // Crash reports must not carry passphrases or tokens.
  process.report.excludeEnv = true
  const code = await main(process.argv.slice(2), {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    interactive: process.stdin.isTTY && process.stderr.isTTY,
    environment: process.env,
  })
  process.exitCode = code
}
