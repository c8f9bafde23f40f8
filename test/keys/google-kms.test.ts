import t from 'tap'
import { crc32c } from '../../keys/crc32c.ts'
import { checkSigner, describeKey, openSigner } from '../../keys/index.ts'
import { conformance } from './conformance.ts'
import { startFakeGoogle, type GoogleFault } from './support/fake-google.ts'

const RING = 'projects/p/locations/l/keyRings/r/cryptoKeys'
const ALGORITHMS = ['ecdsa-p256', 'ecdsa-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519']

await t.test('CRC32C gives the known answer', async (t) => {
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  t.equal(crc32c(Buffer.alloc(0)), 0)
})

await t.test('the SDK against the fake', async (t) => {
  const fake = await startFakeGoogle(t)
  const google = { endpoint: fake.endpoint }
  const keys = new Map<string, string>()
  for (const algorithm of ALGORITHMS) {
    keys.set(algorithm, `gcpkms://${fake.addVersion(`${RING}/${algorithm}`, algorithm)}`)
  }
  await conformance(t, {
    name: 'fake Google',
    keys,
    absent: [`gcpkms://${RING}/nobody`, 'KEY_UNKNOWN'],
    creatable: [`gcpkms://${RING}/made`, 'ecdsa-p384'],
    options: { google },
    guarantees: {
      backend: 'google-kms',
      extractable: false,
      everExtractable: false,
      madeInside: true,
      protection: 'hsm',
    },
  })

  const key = `${RING}/faulty`
  const first = fake.addVersion(key, 'ecdsa-p256')
  const uri = `gcpkms://${key}`
  const limits = { attempts: 3, firstWait: 1, attempt: 300, deadline: 2_000 }
  const options = { google, limits }

  await t.test('without a version the highest enabled one is pinned, by number', async (t) => {
    const many = `${RING}/many`
    for (let i = 1; i <= 11; i += 1) fake.addVersion(many, 'ecdsa-p256')
    fake.version(`${many}/cryptoKeyVersions/11`).state = 'DISABLED'
    const signer = await openSigner('many', `gcpkms://${many}`, options)
    t.equal(signer.description.version, `${many}/cryptoKeyVersions/10`)
    fake.version(`${many}/cryptoKeyVersions/11`).state = 'ENABLED'
    t.ok(await signer.sign(Buffer.from('x')), 'signed by the pinned version')
    t.match((await checkSigner(signer)).findings, [/now leads to another key/])
    await signer.close()
  })

  const passing: readonly GoogleFault[] = [
    'unavailable',
    'exhausted',
    'silent',
    'wrong-crc',
    'no-crc',
    'unverified-digest',
  ]
  for (const fault of passing) {
    await t.test(`${fault} is met with two more attempts, not for ever`, async (t) => {
      const signer = await openSigner('faulty', uri, options)
      const before = fake.signs()
      fake.faults.push(fault, fault)
      t.ok(await signer.sign(Buffer.from('x')))
      t.equal(fake.signs(), before + 3)
      fake.faults.push(fault, fault, fault)
      await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
      t.equal(fake.signs(), before + 6)
      await signer.close()
    })
  }

  const lasting: readonly (readonly [GoogleFault, string])[] = [
    ['denied', 'KEY_UNAVAILABLE'],
    ['wrong-name', 'KEY_CHANGED'],
    ['other-key', 'SIGNATURE_FAULT'],
    ['truncated', 'SIGNATURE_FAULT'],
  ]
  for (const [fault, code] of lasting) {
    await t.test(`${fault} is refused and not asked for again`, async (t) => {
      const signer = await openSigner('faulty', uri, options)
      const before = fake.signs()
      fake.faults.push(fault)
      await t.rejects(signer.sign(Buffer.from('x')), { code })
      t.equal(fake.signs(), before + 1)
      t.ok(await signer.sign(Buffer.from('x')), 'the next one is good')
      await signer.close()
    })
  }

  await t.test('a public key that was damaged on its way is read again', async (t) => {
    fake.damagePem()
    const signer = await openSigner('damaged', uri, options)
    t.equal(signer.publicKey.pem, fake.version(first).pem)
    await signer.close()
  })

  await t.test(
    'a version that pads or hashes otherwise than clients verify is refused',
    async (t) => {
      for (const algorithmName of ['RSA_SIGN_PSS_2048_SHA256', 'RSA_SIGN_PKCS1_4096_SHA512']) {
        const bits = algorithmName.includes('4096') ? 'rsa-4096' : 'rsa-2048'
        const other = fake.addVersion(`${RING}/${algorithmName}`, bits, { algorithmName })
        await t.rejects(describeKey(`gcpkms://${other}`, options), { code: 'KEY_UNSUPPORTED' })
      }
    },
  )

  await t.test('what is imported, or kept elsewhere, is not called made inside', async (t) => {
    const imported = fake.addVersion(`${RING}/imported`, 'ecdsa-p256', { importJob: 'job' })
    t.match(await describeKey(`gcpkms://${imported}`, options), {
      madeInside: false,
      everExtractable: null,
    })
    const external = fake.addVersion(`${RING}/external`, 'ecdsa-p256', {
      protectionLevel: 'EXTERNAL',
    })
    t.match(await describeKey(`gcpkms://${external}`, options), {
      protection: 'external',
      extractable: null,
    })
  })

  await t.test('a version that is disabled while airseal runs signs nothing', async (t) => {
    const name = fake.addVersion(`${RING}/stopped`, 'ecdsa-p256')
    const signer = await openSigner('stopped', `gcpkms://${name}`, options)
    fake.version(name).state = 'DESTROY_SCHEDULED'
    await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
    await signer.close()
    await t.rejects(describeKey(`gcpkms://${name}`, options), { code: 'KEY_UNAVAILABLE' })
  })
})
