import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createKey, describeKey } from '../../keys/index.ts'
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

await conformance(t, {
  name: 'file',
  keys: new Map([['ecdsa-p256', uri]]),
  absent: [`file:${join(directory, 'nobody.key')}`, 'KEY_UNAVAILABLE'],
  creatable: [`file:${join(directory, 'made.key')}`, 'ecdsa-p256'],
  options,
  guarantees: { backend: 'file', extractable: true, everExtractable: true, protection: 'software' },
})

await t.test('a key file wants its passphrase', async (t) => {
  await t.rejects(describeKey(uri), { code: 'PASSPHRASE' })
  await t.rejects(describeKey(uri, { passphrase: 'another' }), { code: 'PASSPHRASE' })
  await t.rejects(createKey(uri, 'ed25519', options), { code: 'KEY_UNSUPPORTED' })
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
