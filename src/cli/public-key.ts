import { readFile, writeFile } from 'node:fs/promises'
import { AirsealError, publicKeyFromPem } from '../core/index.ts'
import type { Command, Input, Terminal } from './command.ts'
import { siteDirectory } from './connection.ts'
import { COSIGN_COMMON_FOREIGN, COSIGN_COMMON_OPTIONS } from './cosign-options.ts'

export const command: Command = {
  name: 'public-key',
  summary: 'Prints a public key.',
  usage: '',
  description: `
Prints the public key that signs images by default, from the data directory, or the one of a PEM file, as SubjectPublicKeyInfo in PEM.`,
  options: {
    key: { type: 'string', short: 'k', value: 'PEM', help: 'public key file' },
    outfile: { type: 'string', value: 'FILE', help: 'write it into FILE' },
    data: {
      type: 'string',
      value: 'DIR',
      help: 'data directory (default $AIRSEAL_DATA, else ./airseal-data)',
    },
    ...COSIGN_COMMON_OPTIONS,
  },
  foreign: {
    ...COSIGN_COMMON_FOREIGN,
    sk: { type: 'boolean', instead: 'airseal signs with the keys of its data directory' },
    slot: { type: 'string', instead: 'airseal signs with the keys of its data directory' },
  },
  examples: [
    'airseal public-key --data /var/lib/airseal',
    'airseal public-key --outfile cosign.pub',
  ],
  exitCodes: [[3, 'data directory not there']],
  async run(input, terminal) {
    const { pem, id } = await readKey(input, terminal)
    const file = input.text('outfile')
    if (file !== null) {
      await writeFile(file, pem).catch((cause: unknown) => {
        throw new AirsealError('USAGE', `--outfile ${file} can't be written`, { cause })
      })
    } else
      terminal.stdout(input.json ? `${JSON.stringify({ keyId: id, publicKeyPem: pem })}\n` : pem)
    return 0
  },
}

async function readKey(
  input: Input,
  terminal: Terminal,
): Promise<ReturnType<typeof publicKeyFromPem>> {
  const given = input.text('key')
  const path = given ?? `${siteDirectory(input, terminal).public}/cosign.pub`
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw given === null
      ? new AirsealError(
          'DATA_DIRECTORY',
          `${path} can't be read: name a data directory with --data`,
          {
            cause,
          },
        )
      : new AirsealError('USAGE', `--key ${path} can't be read: it takes a public key file`, {
          cause,
        })
  })
  if (text.includes('PRIVATE KEY'))
    throw new AirsealError(
      'USAGE',
      `${path} is a private key: give its public half, which lies beside it`,
    )
  return publicKeyFromPem(text)
}
