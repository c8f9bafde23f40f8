import { access } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { AirsealError } from '../core/index.ts'
import type { DataDirectory } from '../data-directory.ts'
import type { Terminal } from './command.ts'

/**
 * Passphrase of the keys: the file that is named, else AIRSEAL_PASSPHRASE, else the file that `init` made, else a prompt.
 * @throws AirsealError PASSPHRASE when there is none
 */
export async function readPassphraseSource(
  directory: DataDirectory,
  file: string | null,
  terminal: Terminal,
): Promise<string> {
  const given = await givenPassphrase(file, terminal)
  if (given !== null) return given
  if (await exists(directory.passphrase)) return fromFile(directory.passphrase)
  if (terminal.interactive) return prompt('Passphrase of the keys: ')
  throw new AirsealError(
    'PASSPHRASE',
    'no passphrase: --passphrase-file, AIRSEAL_PASSPHRASE and keys/passphrase are all absent',
  )
}

/** The passphrase that a file or the environment gives; null when neither does. @throws AirsealError PASSPHRASE when it is empty */
export async function givenPassphrase(
  file: string | null,
  terminal: Terminal,
): Promise<string | null> {
  if (file !== null) return fromFile(file)
  const passphrase = terminal.environment['AIRSEAL_PASSPHRASE']
  if (passphrase === '') throw new AirsealError('PASSPHRASE', 'AIRSEAL_PASSPHRASE is empty')
  return passphrase ?? null
}

async function fromFile(path: string): Promise<string> {
  const { readPassphraseFile } = await import('../app.ts')
  return readPassphraseFile(path)
}

/** Asks without showing what is typed. */
export async function prompt(question: string): Promise<string> {
  const reader = createInterface({ input: process.stdin, output: process.stderr, terminal: true })
  // readline echoes through this method; only the question itself is let through.
  const silent = reader as unknown as { _writeToOutput: (text: string) => void }
  silent._writeToOutput = (text) => {
    if (text.includes(question)) process.stderr.write(question)
  }
  const answer = await new Promise<string>((resolve) => {
    reader.question(question, resolve)
    // Ctrl-C and Ctrl-D end the reader without an answer.
    reader.once('close', () => {
      resolve('')
    })
  })
  reader.close()
  process.stderr.write('\n')
  if (answer === '') throw new AirsealError('PASSPHRASE', 'the passphrase is empty')
  return answer
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
