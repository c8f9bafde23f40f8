import t from 'tap'
import { createKey, describeKey, openSigner } from '../../keys/index.ts'
import { needs } from '../support/programs.ts'
import { conformance } from './conformance.ts'
import { nssToken } from './support/nss.ts'

// It has no Ed25519 before NSS 3.99.
const ALGORITHMS = ['ecdsa-p256', 'rsa-2048']

await t.test('the software token of NSS', needs('certutil'), async (t) => {
  const uri = nssToken(t)
  const keys = new Map<string, string>()
  for (const algorithm of ALGORITHMS) {
    await createKey(uri(algorithm), algorithm, { limits: { attempt: 60_000, deadline: 60_000 } })
    keys.set(algorithm, uri(algorithm))
  }
  await conformance(t, {
    name: 'NSS',
    keys,
    absent: [uri('nobody'), 'KEY_UNKNOWN'],
    creatable: [uri('made'), 'ecdsa-p384'],
    options: {},
    // It keeps no record of where a key was made.
    guarantees: {
      backend: 'pkcs11',
      extractable: false,
      everExtractable: false,
      madeInside: false,
    },
  })

  await t.test('a module that is in use is not initialised in another way', async (t) => {
    const p256 = uri('ecdsa-p256')
    const signer = await openSigner('used', p256)
    const other = p256.replace(/&x-init-reserved=[^&]*/, '')
    await t.rejects(describeKey(other), { code: 'KEY_REFERENCE', message: /x-init-reserved/ })
    t.ok(await signer.sign(Buffer.from('still there')))
    await signer.close()
  })
})
