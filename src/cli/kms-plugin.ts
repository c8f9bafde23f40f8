import { AirsealError } from '../core/index.ts'
import { answerPlugin, type PluginSite } from '../doors/index.ts'
import { Input, SITE_OPTIONS, type Command, type Terminal } from './command.ts'
import { runningService, serviceAt, siteDirectory, type Connection } from './connection.ts'

export const command: Command = {
  name: 'kms-plugin',
  summary:
    "Answers one call of Sigstore's KMS plugin protocol: how cosign signs with --key airseal://NAME.",
  usage: '-- PROTOCOL CALL',
  takesArguments: true,
  description: `
cosign starts sigstore-kms-airseal, which must be on PATH, and that this command: the answer is JSON on standard output, the message to sign
comes on standard input. The service must run, with the key listed under doors.plugin.keys. It is found by AIRSEAL_SERVER with AIRSEAL_TOKEN_FILE
(and AIRSEAL_CACERT), else by the socket in the data directory AIRSEAL_DATA (default ./airseal-data).`,
  options: Object.fromEntries(
    ['data', 'server', 'token-file', 'cacert'].flatMap((name) => {
      const option = SITE_OPTIONS[name]
      return option === undefined ? [] : [[name, option] as const]
    }),
  ),
  examples: [
    'AIRSEAL_DATA=/var/lib/airseal cosign sign --key airseal://signing registry.example:5000/app@sha256:4bc4…',
  ],
  exitCodes: [],
  async run(input, terminal) {
    const answer = await answerPlugin(input.positionals, (deadline) =>
      siteOf(input, terminal, deadline),
    )
    terminal.stdout(`${JSON.stringify(answer)}\n`)
    return 'errorMessage' in answer ? 1 : 0
  },
}

/** The service is looked for when it is first needed; one call uses it once or twice. */
function siteOf(input: Input, terminal: Terminal, deadline: number | null): PluginSite {
  const { environment } = terminal
  const named = new Input(
    {
      ...input.values,
      server: input.text('server') ?? environment['AIRSEAL_SERVER'],
      'token-file': input.text('token-file') ?? environment['AIRSEAL_TOKEN_FILE'],
      cacert: input.text('cacert') ?? environment['AIRSEAL_CACERT'],
    },
    [],
  )
  const find = async (): Promise<Connection> => {
    const server = named.text('server')
    if (server !== null) return serviceAt(server, named, terminal)
    const directory = siteDirectory(input, terminal)
    const running = await runningService(directory)
    if (running !== null) return running
    throw new AirsealError(
      'SERVER_UNREACHABLE',
      `no service runs over ${directory.root}: start it, or set AIRSEAL_DATA or AIRSEAL_SERVER`,
    )
  }
  return {
    message: process.stdin,
    async call(operation, body) {
      const connection = await find()
      try {
        return await beforeDeadline(connection.call(operation, body), deadline)
      } finally {
        await connection.close()
      }
    },
  }
}

/** The caller stops listening then; an answer in time says at least why. */
function beforeDeadline<T>(work: Promise<T>, deadline: number | null): Promise<T> {
  if (deadline === null) return work
  const late = new Promise<never>((_resolve, reject) => {
    const wait = Math.max(0, deadline - Date.now() - 200)
    setTimeout(() => {
      reject(new AirsealError('SERVER_UNREACHABLE', 'the service did not answer in time'))
    }, wait).unref()
  })
  return Promise.race([work, late])
}
