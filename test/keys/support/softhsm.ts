// A real SoftHSM2 token in a directory of its own. SoftHSM reads its configuration from the environment once, when it is loaded.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requiredProgram } from '../../support/programs.ts'
import type { Lifetime } from '../../support/processes.ts'

const MODULE = '/usr/lib/softhsm/libsofthsm2.so'
export const PIN = '4711-secret-pin'

export interface TokenPlace {
  readonly directory: string
  /** Where SoftHSM keeps its tokens. */
  readonly tokens: string
  readonly pinFile: string
  initialise(label: string): void
  /** URI of the key `name` of a token. */
  uri(token: string, name: string, pinFile?: string): string
}

/** One for each test process, since the module can be configured once. */
export function softhsmPlace(t: Lifetime): TokenPlace {
  const directory = mkdtempSync(join(tmpdir(), 'airseal-softhsm-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  const tokens = join(directory, 'tokens')
  mkdirSync(tokens)
  const configuration = join(directory, 'softhsm2.conf')
  writeFileSync(
    configuration,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  )
  process.env['SOFTHSM2_CONF'] = configuration
  const pinFile = join(directory, 'pin')
  writeFileSync(pinFile, `${PIN}\n`, { mode: 0o600 })
  return {
    directory,
    tokens,
    pinFile,
    initialise(label) {
      const pins = ['--so-pin', '99999999', '--pin', PIN]
      execFileSync(requiredProgram('softhsm2-util'), [
        '--init-token',
        '--free',
        '--label',
        label,
        ...pins,
      ])
    },
    uri(token, name, file = pinFile) {
      const id = Buffer.from(name).toString('hex').replace(/../g, '%$&')
      return `pkcs11:token=${token};object=${name};id=${id}?module-path=${MODULE}&pin-source=file:${file}`
    },
  }
}
