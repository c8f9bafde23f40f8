import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { generateKeyFile, openFileSigner, readPassphraseFile } from '../../keys/index.ts'
import { decryptKeyFile, encryptKeyFile } from '../../keys/cosign-key-file.ts'
import { toPem, utf8, verifyMessage } from '../../src/core/index.ts'

const directory = await mkdtemp(join(tmpdir(), 'airseal-keys-'))
t.teardown(() => rm(directory, { recursive: true }))

function keyFile(cost: number, ciphertext: string, change: Record<string, unknown> = {}): string {
  return toPem(
    'ENCRYPTED COSIGN PRIVATE KEY',
    utf8(
      JSON.stringify({
        kdf: {
          name: 'scrypt',
          params: { N: cost, r: 8, p: 1 },
          salt: Buffer.alloc(32).toString('base64'),
        },
        cipher: { name: 'nacl/secretbox', nonce: Buffer.alloc(24).toString('base64') },
        ciphertext,
        ...change,
      }),
    ),
  )
}

// Known answers: password "test", salt and nonce all zero, plaintext "hello".
const KNOWN: readonly (readonly [number, string])[] = [
  [32768, 'YrsFN/3QhojIeeBFy5hi/a4D5EYZ'],
  [65536, 'dkeLvshtJQcT9pbCLESA8rFErWyW'],
  [131072, 'vdxSz9btxbj13x4beVJkAhGlPicn'],
]

await t.test('opens boxes of every scrypt cost that cosign writes or wrote', async (t) => {
  for (const [cost, box] of KNOWN) {
    t.equal(Buffer.from(await decryptKeyFile(keyFile(cost, box), 'test')).toString(), 'hello')
  }
})

await t.test('refuses a cost, cipher or label that cosign does not use', async (t) => {
  await t.rejects(decryptKeyFile(keyFile(1 << 20, KNOWN[0]?.[1] ?? ''), 'test'), {
    code: 'KEY_INVALID',
  })
  await t.rejects(decryptKeyFile(keyFile(16, KNOWN[0]?.[1] ?? ''), 'test'), { code: 'KEY_INVALID' })
  await t.rejects(
    decryptKeyFile(keyFile(65536, 'AAAA', { cipher: { name: 'none', nonce: '' } }), 'test'),
    {
      code: 'KEY_INVALID',
    },
  )
  await t.rejects(decryptKeyFile(toPem('PRIVATE KEY', utf8('{}')), 'test'), { code: 'KEY_INVALID' })
})

await t.test('refuses the wrong passphrase without naming it', async (t) => {
  const file = await encryptKeyFile(utf8('secret key'), 'right horse')
  t.equal(Buffer.from(await decryptKeyFile(file, 'right horse')).toString(), 'secret key')
  const error = await decryptKeyFile(file, 'wrong horse').catch((error: unknown) => error as Error)
  t.match(error, { code: 'PASSPHRASE' })
  t.notMatch(String(error), /horse/)
})

await t.test(
  'a generated key signs what its public key verifies, until it is closed',
  async (t) => {
    const { keyFile, publicKey } = await generateKeyFile('pass')
    const path = join(directory, 'cosign.key')
    await writeFile(path, keyFile, { mode: 0o600 })
    const signer = await openFileSigner({ name: 'signing', path, passphrase: 'pass' })
    t.equal(signer.publicKey.id, publicKey.id)
    const message = utf8('message')
    const signature = await signer.sign(message)
    t.ok(await verifyMessage(publicKey, 'sha256', message, signature))
    t.notOk(await verifyMessage(publicKey, 'sha256', utf8('other'), signature))
    await signer.close()
    await t.rejects(signer.sign(message), { code: 'KEY_UNAVAILABLE' })
  },
)

await t.test('refuses a key file that others can read, or that is a link', async (t) => {
  const { keyFile } = await generateKeyFile('pass')
  const path = join(directory, 'open.key')
  await writeFile(path, keyFile, { mode: 0o600 })
  await chmod(path, 0o640)
  await t.rejects(openFileSigner({ name: 'k', path, passphrase: 'pass' }), {
    code: 'DATA_PERMISSIONS',
  })
  await chmod(path, 0o600)
  const link = join(directory, 'link.key')
  await symlink(path, link)
  await t.rejects(openFileSigner({ name: 'k', path: link, passphrase: 'pass' }), {
    code: 'KEY_UNAVAILABLE',
  })
})

await t.test('a passphrase file loses one line end, and an empty one is refused', async (t) => {
  const path = join(directory, 'passphrase')
  await writeFile(path, 'two words \r\n', { mode: 0o600 })
  t.equal(await readPassphraseFile(path), 'two words ')
  await writeFile(path, '\n')
  await t.rejects(readPassphraseFile(path), { code: 'PASSPHRASE' })
})
