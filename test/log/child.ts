// Another process for the tests: `lock DIRECTORY` takes the lock and waits; `append PATH KEY COUNT SIZE` appends and prints each receipt when
// it has it, as one line of JSON.
import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { toHex, utf8 } from '../../src/core/index.ts'
import { acquireDirectoryLock, openLog } from '../../src/log/index.ts'
import { testSigner } from '../support/signer.ts'

const [, , command, path = '', keyFile = '', count = '0', size = '0'] = process.argv

/** Reports an outcome and leaves at once. */
function leave(code: string): never {
  console.log(JSON.stringify({ code }))
  process.exit(7)
}

if (command === 'lock') {
  try {
    acquireDirectoryLock(path)
  } catch (error) {
    leave((error as { code: string }).code)
  }
  console.log(JSON.stringify({ code: 'HELD' }))
  setInterval(() => undefined, 1000)
} else {
  const signer = testSigner(createPrivateKey(readFileSync(keyFile)))
  const log = await openLog({
    path,
    signer,
    clock: Date.now,
    onPoisoned: ({ code }) => {
      console.log(JSON.stringify({ poisoned: code }))
    },
  })
  const filler = 'x'.repeat(Number(size))
  const append = async (n: number): Promise<void> => {
    const { entry } = await log.append({
      body: utf8(`{"n":"${process.pid}-${n}${filler}"}`),
      searchKeys: ['k'],
    })
    const { proof } = entry
    console.log(
      JSON.stringify({
        ...entry,
        body: toHex(entry.body),
        signedEntryTimestamp: toHex(entry.signedEntryTimestamp),
        proof: { ...proof, rootHash: toHex(proof.rootHash), hashes: proof.hashes.map(toHex) },
      }),
    )
  }
  try {
    for (let n = 0; n < Number(count); n += 8) {
      await Promise.all(Array.from({ length: 8 }, (_, k) => append(n + k)))
    }
  } catch (error) {
    leave((error as { code: string }).code)
  }
  await log.close()
}
