import { AirsealError, asAirsealError } from '../core/index.ts'
import { inspectDirectory, type DataDirectory } from '../data-directory.ts'
import { errorText, type Command, type Input, type Terminal } from './command.ts'
import { siteDirectory } from './connection.ts'
import { INIT_OPTIONS, initSite, initText } from './init.ts'
import { readPassphraseSource } from './passphrase.ts'
import { configOf } from './site.ts'

/** After the first failed write nothing more may be promised: the process ends and reconciles at its next start. */
const EXIT_STORAGE = 3

export const command: Command = {
  name: 'serve',
  summary: 'Runs the service.',
  usage: '[--init] [--data DIR] [--listen HOST:PORT]',
  description: `
Serves signing, verification and the log on one address, and on a Unix socket in the data directory that the other commands use.
Without a configuration it listens on 127.0.0.1 only and lets processes of this machine sign. Other addresses need tls and tokensFile.
SIGTERM and SIGINT end it after the requests in flight are answered.`,
  options: {
    init: {
      type: 'boolean',
      help: 'initialise the data directory first when it is missing or empty',
    },
    ...INIT_OPTIONS,
    'replica-of': {
      type: 'string',
      value: 'URL',
      help: 'serve verification and admission only, by what the appliance at URL says; no keys, no log, no disk',
    },
    cacert: {
      type: 'string',
      value: 'FILE',
      help: 'with --replica-of: certificate authority of the appliance, PEM',
    },
    'webhook-ca': {
      type: 'string',
      value: 'DIR',
      help: "with --replica-of: ca.crt and ca.key of the webhook's authority, made when DIR has none; certificates are made and renewed from it",
    },
    'webhook-name': {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'with --webhook-ca: name or address that the API server calls, for example airseal-admission.airseal.svc',
    },
  },
  examples: [
    'airseal serve --init',
    'airseal serve --data /var/lib/airseal --config /etc/airseal/airseal.yaml',
    'airseal serve --replica-of https://airseal.airseal.svc:8470 --listen 0.0.0.0:8443 --webhook-ca /etc/airseal/ca --webhook-name airseal-admission.airseal.svc',
  ],
  exitCodes: [
    [3, "the directory is missing, in use, not airseal's, or open to others; or storage failed"],
  ],
  async run(input, terminal) {
    const { systemClock } = await import('../core/index.ts')
    const { openAirseal } = await import('../app.ts')
    if (input.text('replica-of') !== null) return serveAsReplica(input, terminal)
    const directory = siteDirectory(input, terminal)
    const config = await configOf(directory, input)
    if (input.flag('init')) await initWhenAbsent(directory, input, terminal)
    let poisoned: (exit: number) => void = () => undefined
    const storageFailed = new Promise<number>((resolve) => {
      poisoned = resolve
    })
    const airseal = await openAirseal({
      directory,
      config,
      clock: systemClock,
      passphrase: () => readPassphraseSource(directory, config.passphraseFile, terminal),
      log: (line) => {
        terminal.stderr(`${line}\n`)
      },
      onPoisoned: () => {
        poisoned(EXIT_STORAGE)
      },
    })
    // Listened for before anyone can know that the service is there.
    const ended = endSignal()
    const server = await airseal.listen().catch(async (error: unknown) => {
      await airseal.close()
      throw error
    })
    terminal.stdout(
      input.json
        ? `${JSON.stringify({ listening: server.url, data: directory.root })}\n`
        : nextSteps(server.url, directory, terminal) + openDoor(config.tokensFile),
    )
    const pending = airseal.finishPending().catch((thrown: unknown) => {
      terminal.stderr(errorText(asAirsealError(thrown), false))
    })
    const exit = await Promise.race([storageFailed, ended])
    if (exit !== 0) return exit
    await server.close()
    await pending
    await airseal.close()
    return 0
  },
}

async function initWhenAbsent(
  directory: DataDirectory,
  input: Input,
  terminal: Terminal,
): Promise<void> {
  if ((await inspectDirectory(directory)) === 'ready') return
  const config = await configOf(directory, input)
  const result = await initSite(directory, config, input, terminal)
  if (!input.json) terminal.stdout(`${initText(directory, result, config)}\n`)
}

async function serveAsReplica(input: Input, terminal: Terminal): Promise<number> {
  const directory = siteDirectory(input, terminal)
  const config = await configOf(directory, input)
  const { serveReplica } = await import('../replica.ts')
  const follow = input.text('replica-of') ?? ''
  if (!/^https?:\/\//.test(follow) || !URL.canParse(follow))
    throw new AirsealError('USAGE', `--replica-of ${follow}: want http(s)://HOST[:PORT]`)
  const authority = input.text('webhook-ca')
  const names = input.texts('webhook-name')
  if ((authority === null) !== (names.length === 0))
    throw new AirsealError('USAGE', '--webhook-ca and --webhook-name go together')
  const ended = endSignal()
  const server = await serveReplica({
    follow,
    caFile: input.text('cacert'),
    config,
    tls: authority === null ? null : { directory: authority, names },
    log: (line) => {
      terminal.stderr(`${line}\n`)
    },
  })
  terminal.stdout(
    input.json
      ? `${JSON.stringify({ listening: server.url, follows: follow })}\n`
      : `airseal serves ${server.url} as a replica of ${follow} (Ctrl-C ends it).\n`,
  )
  const exit = await ended
  await server.close()
  return exit
}

function endSignal(): Promise<number> {
  return new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.once(name, () => {
        resolve(0)
      })
    }
  })
}

/** Who may sign is said wherever no one had to decide it. */
function openDoor(tokensFile: string | null): string {
  return tokensFile === null
    ? '\nEvery process of this machine may have images signed here, until tokensFile is set in the configuration.\n'
    : ''
}

/** What to type next: lines that work as they stand, but for the name of the image. */
function nextSteps(url: string, directory: DataDirectory, { environment }: Terminal): string {
  const called = environment['AIRSEAL_PROGRAM'] ?? 'airseal'
  const program = called.startsWith('/usr/') ? 'airseal' : called
  const usual =
    environment['AIRSEAL_DATA'] !== undefined || directory.root === `${process.cwd()}/airseal-data`
  const site = usual ? '' : ` --data ${directory.root}`
  const { public: files } = directory
  return [
    `airseal serves ${url} (Ctrl-C ends it). In another terminal:`,
    '',
    `  ${program} sign${site} HOST/REPO@sha256:…`,
    `  ${program} verify${site} HOST/REPO@sha256:…`,
    `  cosign verify --key ${files}/cosign.pub --trusted-root ${files}/trusted_root.json HOST/REPO@sha256:…`,
    `  cosign sign --key cosign.key --signing-config ${files}/signing_config.json --trusted-root ${files}/trusted_root.json HOST/REPO@sha256:…   (cosign 3)`,
    `  rekor-cli loginfo --rekor_server ${url}`,
    '',
  ].join('\n')
}
