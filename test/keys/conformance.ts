// What every provider must do, run over each of them by its own test file.
import { createHash, generateKeyPairSync, randomBytes, verify, type KeyObject } from 'node:crypto'
import type t from 'tap'
import {
  checkSigner,
  createKey,
  describeKey,
  openSigner,
  type KeyDescription,
  type KeyOptions,
} from '../../keys/index.ts'
import { publicKeyFromSpki } from '../../src/core/index.ts'

type Test = Pick<typeof t, 'test' | 'equal' | 'ok' | 'match' | 'rejects' | 'same' | 'not'>

export interface Subject {
  readonly name: string
  /** Algorithm of ours → URI of a key that exists. */
  readonly keys: ReadonlyMap<string, string>
  /** A key that does not exist, and the code that says so. */
  readonly absent: readonly [uri: string, code: string]
  /** A URI at which a key can be made, and its algorithm; null: the back-end can't. */
  readonly creatable: readonly [uri: string, algorithm: string] | null
  readonly options: KeyOptions
  /** What the back-end says of its keys. */
  readonly guarantees: Partial<KeyDescription>
  /** Algorithms for which the back-end does not take every size: from, to. */
  readonly sizes?: ReadonlyMap<string, readonly [from: number, to: number]>
}

const HASHES: Readonly<Record<string, string | null>> = {
  'ecdsa-p256': 'sha256',
  'ecdsa-p384': 'sha384',
  'ecdsa-p521': 'sha512',
  ed25519: null,
}

/** Verification that shares nothing with the code under test but node:crypto. */
function isGood(
  algorithm: string,
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const hash = algorithm.startsWith('rsa') ? 'sha256' : (HASHES[algorithm] ?? null)
  return verify(hash, message, key, signature)
}

export async function conformance(t: Test, subject: Subject): Promise<void> {
  const { name, keys } = subject
  // How fast a back-end is, is no part of conformance: a busy machine must not fail it.
  const options = { ...subject.options, limits: { attempt: 120_000, deadline: 120_000 } }
  for (const [algorithm, uri] of keys) {
    await t.test(`${name}: a ${algorithm} key signs messages of every size`, async (t) => {
      const signer = await openSigner('conformance', uri, options)
      t.equal(signer.publicKey.algorithm.name, algorithm)
      const [from, to] = subject.sizes?.get(algorithm) ?? [0, Infinity]
      for (const size of [0, 1, 32, 64, 4_096, 4_097, 100_000]) {
        if (size < from || size > to) {
          await t.rejects(signer.sign(randomBytes(size)), { code: 'KEY_UNSUPPORTED' })
          continue
        }
        const message = randomBytes(size)
        const signature = await signer.sign(message)
        t.ok(isGood(algorithm, signer.publicKey.handle, message, signature), `${size} bytes`)
      }
      await signer.close()
    })

    await t.test(`${name}: a ${algorithm} key signs digests, of its own hash only`, async (t) => {
      const signer = await openSigner('conformance', uri, options)
      const message = randomBytes(100)
      const { hash } = signer
      if (hash === null) {
        await t.rejects(signer.signDigest(randomBytes(64)), { code: 'KEY_UNSUPPORTED' })
      } else {
        const digest = createHash(hash).update(message).digest()
        const signature = await signer.signDigest(digest)
        t.ok(isGood(algorithm, signer.publicKey.handle, message, signature))
        await t.rejects(signer.signDigest(digest.subarray(1)), { code: 'REQUEST_INVALID' })
      }
      await signer.close()
    })

    await t.test(`${name}: 200 parallel ${algorithm} signs don't mix`, async (t) => {
      const signer = await openSigner('conformance', uri, options)
      const messages = Array.from({ length: 200 }, (_, i) => Buffer.from(`message ${i}`))
      const signatures = await Promise.all(messages.map((message) => signer.sign(message)))
      const good = messages.filter((message, i) =>
        isGood(algorithm, signer.publicKey.handle, message, signatures[i]!),
      )
      t.equal(good.length, 200)
      await signer.close()
    })
  }

  const [first] = keys.values()
  const uri = first ?? ''

  await t.test(
    `${name}: what is signed is what was given, even when the buffer changes later`,
    async (t) => {
      const signer = await openSigner('conformance', uri, options)
      const message = Buffer.from('before')
      const pending = signer.sign(message)
      message.write('after!')
      t.ok(
        isGood(
          signer.publicKey.algorithm.name,
          signer.publicKey.handle,
          Buffer.from('before'),
          await pending,
        ),
      )
      await signer.close()
    },
  )

  await t.test(`${name}: another key than the registered one is refused at opening`, async (t) => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const expected = publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' }))
    await t.rejects(openSigner('conformance', uri, { ...options, expected }), {
      code: 'KEY_CHANGED',
    })
    const right = (await describeKey(uri, options)).publicKey
    const signer = await openSigner('conformance', uri, { ...options, expected: right })
    await signer.close()
  })

  await t.test(`${name}: a key that is not there is named so`, async (t) => {
    const [absent, code] = subject.absent
    await t.rejects(openSigner('conformance', absent, options), { code })
  })

  await t.test(`${name}: the description holds the back-end's own guarantees`, async (t) => {
    const description = await describeKey(uri, options)
    t.match(description, { uri, ...subject.guarantees })
    t.ok(description.version.length > 0)
  })

  await t.test(`${name}: a check signs and says what it found`, async (t) => {
    const signer = await openSigner('conformance', uri, options)
    t.match(await checkSigner(signer), { isGood: true, milliseconds: Number, findings: [] })
    await signer.close()
    t.match(await checkSigner(signer), { isGood: false, milliseconds: null })
  })

  await t.test(`${name}: a closed key signs nothing`, async (t) => {
    const signer = await openSigner('conformance', uri, options)
    await signer.close()
    await t.rejects(signer.sign(Buffer.from('x')), { code: 'KEY_UNAVAILABLE' })
  })

  const { creatable } = subject
  if (creatable === null) return
  await t.test(`${name}: a key is made once and never replaced`, async (t) => {
    const [place, algorithm] = creatable
    const publicKey = await createKey(place, algorithm, options)
    t.equal(publicKey.algorithm.name, algorithm)
    await t.rejects(createKey(place, algorithm, options), { code: 'KEY_EXISTS' })
    const signer = await openSigner('conformance', place, { ...options, expected: publicKey })
    t.match(signer.description, subject.guarantees)
    t.ok(
      isGood(
        algorithm,
        publicKey.handle,
        Buffer.from('new'),
        await signer.sign(Buffer.from('new')),
      ),
    )
    await signer.close()
  })
}
