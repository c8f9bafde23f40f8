import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { openLayoutRepository } from '../../src/oci/index.ts'
import { tinyLayout } from '../support/tiny-layout.ts'

/** A layout somebody else made, whose lock file is what `make` puts there. */
async function layoutWithLock(
  t: { teardown(work: () => Promise<void>): void },
  make: (lock: string) => Promise<unknown>,
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-test-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  await tinyLayout(directory, ['image'])
  await make(join(directory, '.airseal.lock'))
  return directory
}

const MAKERS: readonly (readonly [string, (lock: string) => Promise<unknown>])[] = [
  ['a pipe, which would block a thread for ever', (lock) => promisify(execFile)('mkfifo', [lock])],
  ['a link to a device that never ends', (lock) => symlink('/dev/zero', lock)],
  ['a directory', (lock) => mkdir(lock)],
]

for (const [what, make] of MAKERS) {
  await t.test(`the lock of a hostile layout: ${what}`, { timeout: 20_000 }, async (t) => {
    const repository = await openLayoutRepository(await layoutWithLock(t, make))
    const started = performance.now()
    await t.rejects(
      repository.exclusively('tag', () => Promise.resolve('written')),
      { code: 'LAYOUT_INVALID' },
    )
    t.ok(performance.now() - started < 5_000)
  })
}
