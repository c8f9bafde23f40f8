import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createKey, describeKey, readPassphraseFile, readProvidedSecret } from '../../keys/index.ts'
import { pinReader } from '../../keys/pin.ts'
import { conformance } from './conformance.ts'

const directory = mkdtempSync(join(tmpdir(), 'airseal-file-keys-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})
/** A service that nobody runs. */
const NOWHERE = {
  AWS_ENDPOINT_URL_KMS: 'http://127.0.0.1:9',
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'AKIDTEST',
  AWS_SECRET_ACCESS_KEY: 'secret',
}
const options = { passphrase: 'a passphrase' }
const uri = `file:${join(directory, 'cosign.key')}`
await createKey(uri, 'ecdsa-p256', options)
const keys = new Map([['ecdsa-p256', uri]])
for (const algorithm of ['ecdsa-p384', 'ecdsa-p521', 'rsa-2048', 'ed25519']) {
  keys.set(algorithm, `file:${join(directory, algorithm)}.key`)
  await createKey(keys.get(algorithm) ?? '', algorithm, options)
}

await conformance(t, {
  name: 'file',
  keys,
  absent: [`file:${join(directory, 'nobody.key')}`, 'KEY_UNAVAILABLE'],
  creatable: [`file:${join(directory, 'made.key')}`, 'ecdsa-p256'],
  options,
  guarantees: { backend: 'file', extractable: true, everExtractable: true, protection: 'software' },
})

await t.test('a key file wants its passphrase', async (t) => {
  await t.rejects(describeKey(uri), { code: 'PASSPHRASE' })
  await t.rejects(describeKey(uri, { passphrase: 'another' }), { code: 'PASSPHRASE' })
  await t.rejects(createKey(uri, 'secp256k1', options), { code: 'KEY_UNSUPPORTED' })
})

await t.test('a secret file that is missing or unfit is blamed on who named it', async (t) => {
  const absent = join(directory, 'absent')
  await t.rejects(readPassphraseFile(absent), { code: 'PASSPHRASE', message: absent })
  await t.rejects(readProvidedSecret(absent, 'CONFIG_INVALID'), {
    code: 'CONFIG_INVALID',
    message: absent,
  })
  const large = join(directory, 'large')
  writeFileSync(large, Buffer.alloc(65_537), { mode: 0o600 })
  await t.rejects(readPassphraseFile(large), { code: 'PASSPHRASE', message: large })
  await t.rejects(pinReader({ file: absent })(), { code: 'KEY_PIN', message: absent })
})

await t.test('an SDK is loaded when a key of its kind is used, and not before', async (t) => {
  const door = new URL('../../keys/index.ts', import.meta.url).href
  const loadedBy = (uri: string): string => {
    const program = `
      import { createRequire } from 'node:module'
      const { describeKey } = await import(${JSON.stringify(door)})
      const limits = { attempts: 1, attempt: 2000 }
      await describeKey(${JSON.stringify(uri)}, { passphrase: 'a passphrase', limits }).catch(() => 0)
      const loaded = Object.keys(createRequire(${JSON.stringify(door)}).cache).join()
      console.log(['aws-sdk', 'google-cloud', 'pkcs11js'].filter((name) => loaded.includes(name)).join())
      process.exit()`
    const args = ['--input-type=module', '--eval', program]
    const env = { ...process.env, ...NOWHERE }
    return execFileSync(process.execPath, args, { encoding: 'utf8', env }).trim()
  }
  t.equal(loadedBy(uri), '')
  t.equal(loadedBy('awskms:///alias/k'), 'aws-sdk')
})
