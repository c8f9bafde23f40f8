// The software token of NSS (Firefox, Chromium) as Debian ships it, over a database in a directory of its own.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requiredProgram } from '../../support/programs.ts'
import type { Lifetime } from '../../support/processes.ts'

/** `x86_64-linux-gnu` and its like. */
const TRIPLET = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as 'x64' | 'arm64']
const MODULE = `/usr/lib/${TRIPLET}-linux-gnu/libsoftokn3.so`
const NSS_PIN = '4711-nss-secret-pin'

/** @returns URI of the key `name` */
export function nssToken(t: Lifetime): (name: string) => string {
  const directory = mkdtempSync(join(tmpdir(), 'airseal-nss-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true })
  })
  const [database, pinFile] = [join(directory, 'database'), join(directory, 'pin')]
  mkdirSync(database)
  // It derives a key from the PIN at every use of a private key: 10,000 rounds would be most of the test.
  process.env['NSS_MAX_MP_PBE_ITERATION_COUNT'] = '1'
  writeFileSync(pinFile, `${NSS_PIN}\n`, { mode: 0o600 })
  execFileSync(requiredProgram('certutil'), ['-N', '-d', `sql:${database}`, '-f', pinFile])
  const parameters = `configdir='sql:${database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=`
  const init = parameters.replaceAll(' ', '%20')
  return (name) => {
    const id = Buffer.from(name).toString('hex').replace(/../g, '%$&')
    return `pkcs11:token=NSS%20Certificate%20DB;object=${name};id=${id}?module-path=${MODULE}&x-init-reserved=${init}&pin-source=file:${pinFile}`
  }
}
