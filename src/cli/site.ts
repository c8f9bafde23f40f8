import { access } from 'node:fs/promises'
import { loadConfig, type Config } from '../config.ts'
import type { DataDirectory } from '../data-directory.ts'
import type { Input } from './command.ts'

/** The configuration that the options name, else `airseal.yaml` in the data directory, else the defaults. */
export async function configOf(directory: DataDirectory, input: Input): Promise<Config> {
  const named = input.text('config')
  const here = await access(directory.config).then(
    () => directory.config,
    () => null,
  )
  const overrides = {
    listen: input.text('listen'),
    publicUrl: input.text('public-url'),
    passphraseFile: input.text('passphrase-file'),
  }
  const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== null))
  return loadConfig(named ?? here, { ...given, replica: input.text('replica-of') !== null })
}
