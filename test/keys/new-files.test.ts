import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createFileSigners, openFileSigner } from '../../keys/index.ts'
import { verifyMessage } from '../../src/core/index.ts'
import { temporaryDirectory } from '../support/site.ts'

await t.test('keys that are made together are as good as keys made one by one', async (t) => {
  const directory = await temporaryDirectory(t)
  const files = ['a', 'b', 'c'].map((name) => ({ name, path: join(directory, `${name}.key`) }))
  const signers = await createFileSigners(files, 'passphrase')
  t.equal(new Set(signers.map(({ publicKey }) => publicKey.id)).size, 3)
  const texts = await Promise.all(files.map(({ path }) => readFile(path, 'utf8')))
  t.equal(new Set(texts).size, 3)
  for (const [at, signer] of signers.entries()) {
    const path = files[at]?.path ?? ''
    t.equal((await stat(path)).mode & 0o777, 0o600)
    await t.rejects(openFileSigner({ name: 'a', path, passphrase: 'other' }), {
      code: 'PASSPHRASE',
    })
    const opened = await openFileSigner({ name: 'a', path, passphrase: 'passphrase' })
    t.equal(opened.publicKey.id, signer.publicKey.id)
    const message = Buffer.from('message')
    const signature = await signer.sign(message)
    t.ok(await verifyMessage(opened.publicKey, 'sha256', message, signature))
    await signer.close()
    await t.rejects(signer.sign(message), { code: 'KEY_UNAVAILABLE' })
  }
  await t.rejects(createFileSigners(files.slice(1, 2), 'passphrase'), { code: 'KEY_EXISTS' })
  t.equal(await readFile(files[1]?.path ?? '', 'utf8'), texts[1], 'it was not touched')
})
