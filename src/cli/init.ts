import { DEFAULT_LISTEN, type Config } from '../config.ts'
import { systemClock } from '../core/index.ts'
import { dataDirectory, type DataDirectory } from '../data-directory.ts'
import type { InitResult } from '../init.ts'
import { SITE_OPTIONS, type Command, type Input, type Terminal } from './command.ts'
import { siteDirectory } from './connection.ts'
import { givenPassphrase, prompt } from './passphrase.ts'
import { configOf } from './site.ts'

const { data, config, 'passphrase-file': passphraseFile } = SITE_OPTIONS

/** Options of `init`, which `serve --init` has too. */
export const INIT_OPTIONS: Command['options'] = {
  ...(data && { data }),
  listen: {
    type: 'string',
    value: 'HOST:PORT',
    help: `address to serve on (default ${DEFAULT_LISTEN})`,
  },
  'public-url': {
    type: 'string',
    value: 'URL',
    help: 'URL under which clients reach it (default http://HOST:PORT)',
  },
  ...(passphraseFile && {
    'passphrase-file': { ...passphraseFile, help: 'file with the passphrase of the keys' },
  }),
  'ask-passphrase': { type: 'boolean', help: 'ask for a passphrase instead of making one' },
  ...(config && { config }),
}

const TRUST_OPTION: Command['options'] = {
  trust: {
    type: 'string',
    value: 'FILE',
    help: 'trust bundle of the enclave whose bundles are imported here, brought by hand',
  },
}

export const command: Command = {
  name: 'init',
  summary: 'Makes a data directory: keys, empty log, trust files.',
  usage: '[--data DIR]',
  description: `
Makes a signing key, a log key and a root key for the trust bundle (ECDSA P-256, in cosign's encrypted key-file format), the database with an empty log, and the
files that verifiers need: public/cosign.pub, rekor.pub, trusted_root.json, signing_config.json.
The passphrase comes from --passphrase-file, AIRSEAL_PASSPHRASE or a prompt; else one is made, stored in keys/passphrase (mode 0600),
and its place is printed. The host of the public URL becomes the log's name and can't be changed later.`,
  options: { ...INIT_OPTIONS, ...TRUST_OPTION },
  examples: [
    'airseal init --data /var/lib/airseal --public-url https://airseal.example:8470 --passphrase-file /etc/airseal/passphrase',
  ],
  exitCodes: [[3, "the directory is in use, initialised already, or not airseal's"]],
  async run(input, terminal) {
    const directory = siteDirectory(input, terminal)
    const config = await configOf(directory, input)
    const trust = input.text('trust')
    // Looked at first: nothing is made when the file is no good.
    if (trust !== null) await checkTrustFile(trust)
    const result = await initSite(directory, config, input, terminal)
    if (trust !== null) {
      const { addPeer, peerText } = await import('./bundle-peer.ts')
      const { connect } = await import('./connection.ts')
      const connection = await connect(input, terminal)
      const peer = await addPeer(connection, trust).finally(() => connection.close())
      terminal.stderr(`airseal: ${peerText(peer)}`)
    }
    if (input.json)
      terminal.stdout(
        `${JSON.stringify({ data: directory.root, ...result, generatedPassphrase: undefined, passphraseFile: result.generatedPassphrase === null ? null : directory.passphrase })}\n`,
      )
    else
      terminal.stdout(
        `${initText(directory, result, config)}\nNext: airseal serve --data ${directory.root}\n`,
      )
    return 0
  },
}

async function checkTrustFile(path: string): Promise<void> {
  const { readFile } = await import('node:fs/promises')
  const { AirsealError } = await import('../core/index.ts')
  const { trustReader } = await import('../operations/index.ts')
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `--trust ${path} can't be read`, { cause })
  })
  trustReader.read(bytes)
}

/** Initialises, and writes the trust files. */
export async function initSite(
  directory: DataDirectory,
  config: Config,
  input: Input,
  terminal: Terminal,
): Promise<InitResult> {
  const { configuredKeys, initialise, publicUrlOf, openAirseal } = await import('../app.ts')
  const given = await givenPassphrase(config.passphraseFile, terminal)
  const passphrase = given ?? (input.flag('ask-passphrase') ? await askTwice() : null)
  const result = await initialise(directory, {
    publicUrl: publicUrlOf(config),
    passphrase,
    clock: systemClock,
    hasRootKey: config.trust.rootKey !== null,
    ...(await configuredKeys(config, passphrase)),
  })
  // Opening it once writes public/ and proves that what was made can be opened.
  const airseal = await openAirseal({
    directory: dataDirectory(directory.root),
    config,
    passphrase: () => Promise.resolve(passphrase ?? result.generatedPassphrase ?? ''),
    log: (line) => {
      terminal.stderr(`${line}\n`)
    },
  })
  await airseal.close()
  return result
}

async function askTwice(): Promise<string> {
  const { AirsealError } = await import('../core/index.ts')
  const first = await prompt('New passphrase for the keys: ')
  if (first !== (await prompt('Once more: ')))
    throw new AirsealError('PASSPHRASE', 'the two passphrases differ')
  return first
}

export function initText(
  directory: DataDirectory,
  result: InitResult,
  { keys, trust }: Config,
): string {
  const given =
    keys.signing !== null && keys.log !== null && trust.rootKey !== null
      ? 'none needed: the keys are elsewhere'
      : 'given by you; airseal keeps no copy'
  const place =
    result.generatedPassphrase === null
      ? given
      : `${directory.passphrase} (made now, mode 0600; move it to a safer place and give --passphrase-file)`
  return [
    `Initialised ${directory.root}`,
    `  signing key   ${keys.signing === null ? directory.signingKey : 'as configured'}  SHA-256 ${result.signingKeyId}`,
    `  log key       ${keys.log === null ? directory.logKey : 'as configured'}  SHA-256 ${result.logId}`,
    `  trust root    ${trust.rootKey === null ? directory.trustRootKey : 'as configured'}`,
    `  passphrase    ${place}`,
    `  trust files   ${directory.public}/cosign.pub rekor.pub trusted_root.json signing_config.json …`,
    '',
  ].join('\n')
}
