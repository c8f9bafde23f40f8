import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Signer } from '../../keys/signer.ts'
import { createDatabase, openLog, type TransparencyLog } from '../../src/log/index.ts'
import { testKey } from './evidence.ts'

/** The log itself over a new database in a temporary directory; both go away with the test. */
export async function realLog(t: Test): Promise<TransparencyLog> {
  const directory = mkdtempSync(join(tmpdir(), 'airseal-log-'))
  const path = join(directory, 'airseal.db')
  const key = testKey()
  const signer: Signer = {
    name: 'log',
    publicKey: key.publicKey,
    sign: (message) => Promise.resolve(key.sign(message)),
    close: () => Promise.resolve(),
  }
  createDatabase(path, {
    hostname: 'log.test',
    logPublicKeySpki: key.publicKey.spki,
    now: Date.now(),
  })
  const log = await openLog({
    path,
    signer,
    clock: Date.now,
    onPoisoned: (error) => {
      throw error
    },
  })
  t.teardown(async () => {
    await log.close()
    rmSync(directory, { recursive: true })
  })
  return log
}
