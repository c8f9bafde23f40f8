import t from 'tap'
import { parseKeyReference } from '../../keys/index.ts'

const ID = '1234abcd-12ab-34cd-56ef-1234567890ab'
const KEY = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'
const MODULE = 'module-path=/usr/lib/m.so'

await t.test('reads every form of key URI', async (t) => {
  const read = (uri: string) => parseKeyReference(uri)
  t.match(read('file:/etc/airseal/cosign.key'), {
    backend: 'file',
    path: '/etc/airseal/cosign.key',
  })
  t.match(read('file:///etc/cosign.key'), { path: '/etc/cosign.key' })
  t.match(read('file:cosign.key'), { path: 'cosign.key' })
  t.match(read(`awskms:///${ID}`), { backend: 'aws-kms', host: null, keyId: ID })
  t.match(read('awskms:///alias/team/cosign-key'), { keyId: 'alias/team/cosign-key' })
  t.match(read('awskms://kms.internal:8443/alias/k'), { host: 'kms.internal:8443' })
  for (const partition of ['aws', 'aws-us-gov', 'aws-iso-b', 'aws-cn', 'aws-eusc']) {
    const arn = `arn:${partition}:kms:region-1:123456789012`
    t.match(read(`awskms:///${arn}:key/${ID}`), { keyId: `${arn}:key/${ID}` })
    t.match(read(`awskms:///${arn}:alias/k`), { keyId: `${arn}:alias/k` })
  }
  t.match(read(`gcpkms://${KEY}`), { backend: 'google-kms', cryptoKey: KEY, version: null })
  t.match(read(`gcpkms://${KEY}/cryptoKeyVersions/12`), { cryptoKey: KEY, version: 12n })
  t.match(read(`gcpkms://${KEY}/versions/2`), { cryptoKey: KEY, version: 2n })
})

await t.test('reads PKCS#11 URIs byte for byte', async (t) => {
  const uri = `pkcs11:token=My%20token+1;serial=0%3B1;object=k;id=%00%ff;type=private?${MODULE}`
  t.match(parseKeyReference(uri), {
    backend: 'pkcs11',
    modulePath: '/usr/lib/m.so',
    token: { label: 'My token+1', serial: '0;1' },
    object: { label: 'k', id: '00ff' },
    pinSource: null,
  })
  const source = (text: string) =>
    parseKeyReference(`pkcs11:token=t;object=k?${MODULE}&pin-source=${text}`)
  t.match(source('file:/run/pin'), { pinSource: { file: '/run/pin' } })
  t.match(source('file:///run/pin'), { pinSource: { file: '/run/pin' } })
  t.match(source('/run/pin'), { pinSource: { file: '/run/pin' } })
  t.match(source('fd:3'), { pinSource: { fd: 3 } })
})

await t.test('refuses what is weaker than it looks, without repeating it', async (t) => {
  const refused = [
    '',
    'cosign.key',
    'azurekms://vault/key',
    'file:',
    'file://host/key',
    'awskms://alias/k',
    'awskms:///k',
    'awskms:///alias/',
    `awskms:///key/${ID}`,
    `awskms:///arn:aws:kms:r:123456789012:${ID}`,
    'awskms://user@host/alias/k',
    'awskms://http://host/alias/k',
    `gcpkms:///${KEY}`,
    `gcpkms://${KEY}/cryptoKeyVersions/0`,
    `gcpkms://${KEY}/cryptoKeyVersions/1/`,
    'gcpkms://projects/p/locations/l/keyRings/r',
    `pkcs11:slot-id=0;object=k?${MODULE}`,
    `pkcs11:token=t;slot-id=0;object=k?${MODULE}`,
    `pkcs11:object=k?${MODULE}`,
    `pkcs11:manufacturer=m;object=k?${MODULE}`,
    `pkcs11:token=t?${MODULE}`,
    'pkcs11:token=t;object=k',
    'pkcs11:token=t;object=k?module-path=m.so',
    'pkcs11:token=t;object=k?module-name=m',
    `pkcs11:token=t;object=k;type=public?${MODULE}`,
    `pkcs11:token=t;token=u;object=k?${MODULE}`,
    `pkcs11:token=t;object=k;id=%2?${MODULE}`,
    `pkcs11:token=t;object=%ff?${MODULE}`,
    `pkcs11:token=;object=k?${MODULE}`,
    `pkcs11:token=t;object=k?${MODULE}&pin-source=fd:0`,
    `pkcs11:token=t;object=k?${MODULE}&pin-source=|/bin/pin`,
    `pkcs11:token=t;object=k?${MODULE}&x-vendor=1`,
    `file:${'a'.repeat(3_000)}`,
  ]
  for (const uri of refused) t.throws(() => parseKeyReference(uri), { code: 'KEY_REFERENCE' }, uri)
  try {
    parseKeyReference(`pkcs11:token=t;object=k?${MODULE}&pin-value=31337`)
    t.fail('a PIN in the URI was taken')
  } catch (error) {
    t.match(error, { code: 'KEY_REFERENCE', message: /pin-source/ })
    t.notMatch(String(error), /31337/)
  }
})
