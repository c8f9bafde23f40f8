// SoftHSM2 behind a module that fails on demand, see module.c.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requiredProgram } from '../../../support/programs.ts'
import type { TokenPlace } from '../softhsm.ts'

const SOURCE = new URL('module.c', import.meta.url).pathname

/** CKR_ codes of PKCS#11 v2.40. */
export const CKR = {
  GENERAL_ERROR: 0x05,
  DEVICE_ERROR: 0x30,
  DEVICE_REMOVED: 0x32,
  OPERATION_ACTIVE: 0x90,
  PIN_INCORRECT: 0xa0,
  PIN_LOCKED: 0xa4,
  SESSION_CLOSED: 0xb0,
  SESSION_COUNT: 0xb1,
  SESSION_HANDLE_INVALID: 0xb3,
  TOKEN_NOT_PRESENT: 0xe0,
  USER_NOT_LOGGED_IN: 0x101,
} as const
/** CKF_ bits of CK_TOKEN_INFO. */
export const CKF = { USER_PIN_FINAL_TRY: 0x20000, USER_PIN_LOCKED: 0x40000 } as const

export interface Faults {
  readonly login?: number
  readonly sign?: number
  readonly token?: number
  readonly flags?: number
  readonly flip?: number
}

export interface FaultyModule {
  /** The same key behind the module that fails. */
  uri(uri: string): string
  /** From now on. */
  set(faults: Faults): void
  /** Logins and signatures that reached the module since the last call of this. */
  calls(): { logins: number; signs: number }
}

export function faultyModule(place: TokenPlace): FaultyModule {
  const module = join(place.directory, 'faulty.so')
  const faults = join(place.directory, 'faults')
  const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', module, SOURCE, '-ldl']
  execFileSync(requiredProgram('cc'), flags)
  // Read by the C library at each call, also in the thread that serves the module.
  process.env['AIRSEAL_FAULTS'] = faults
  const set = (chosen: Faults): void => {
    const lines = Object.entries(chosen as Record<string, number>).map(
      ([name, value]) => `${name} ${value.toString(16)}\n`,
    )
    writeFileSync(faults, lines.join(''))
  }
  set({})
  return {
    uri: (uri) => uri.replace(/module-path=[^&]*/, `module-path=${module}`),
    set,
    calls() {
      const path = `${faults}.calls`
      let lines: string[]
      try {
        lines = readFileSync(path, 'utf8').split('\n')
      } catch {
        lines = []
      }
      rmSync(path, { force: true })
      const countOf = (name: string): number => lines.filter((line) => line === name).length
      return { logins: countOf('login'), signs: countOf('sign') }
    },
  }
}
