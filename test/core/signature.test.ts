import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { ed25519ph } from '@noble/curves/ed25519.js'
import t from 'tap'
import { askPortable } from '../../src/core/ecdsa-portable.ts'
import { loadNativeVerifier } from '../../src/core/ecdsa-native.ts'
import {
  loadDigestVerifier,
  publicKeyFromSpki,
  sha256,
  verifyDigest,
  verifyMessage,
  type HashName,
} from '../../src/core/index.ts'
import { readVectorJson } from '../support/read-vector.ts'
import { NEEDS_VECTORS } from '../support/vectors.ts'

interface Group {
  readonly publicKeyDer: string
  readonly publicKey: { readonly uncompressed: string }
  readonly tests: readonly {
    tcId: number
    comment: string
    msg: string
    sig: string
    result: string
  }[]
}
const groups = (file: string): readonly Group[] =>
  (readVectorJson('wycheproof', file) as { testGroups: Group[] }).testGroups
const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const digestOf = (hash: HashName, message: Uint8Array): Buffer =>
  createHash(hash).update(message).digest()

const ECDSA = [
  ['ecdsa_secp256r1_sha256_test.json', 0, 'sha256'],
  ['ecdsa_secp384r1_sha384_test.json', 1, 'sha384'],
  ['ecdsa_secp521r1_sha512_test.json', 2, 'sha512'],
] as const

let native: ReturnType<typeof loadNativeVerifier> | undefined
let absence = ''
try {
  native = loadNativeVerifier()
} catch (error) {
  absence = (error as Error).message
}
const verifiers = [
  ['native', native],
  ['portable', askPortable],
] as const

for (const [name, ask] of verifiers) {
  for (const [file, curve, hash] of ECDSA) {
    const skip = ask === undefined ? { skip: absence } : NEEDS_VECTORS
    t.test(`the ${name} verifier judges ${file} as the vectors say`, skip, async (t) => {
      const cases = groups(file).flatMap((group) =>
        group.tests.map((test) => ({ ...test, point: hex(group.publicKey.uncompressed) })),
      )
      t.ok(cases.length > 100)
      const judged = await Promise.all(
        cases.map(({ point, msg, sig }) =>
          ask!({ curve, point, digest: digestOf(hash, hex(msg)), signature: hex(sig) }),
        ),
      )
      cases.forEach(({ tcId, comment, result }, n) => {
        if (judged[n] !== (result === 'valid')) t.fail(`${tcId} ${comment}: ${judged[n]}`)
      })
    })
  }

  t.test(
    `the ${name} verifier refuses malformed questions`,
    { skip: ask === undefined },
    async (t) => {
      const digest = sha256('x')
      for (const [point, signature] of [
        [new Uint8Array(65), new Uint8Array(8)],
        [Uint8Array.of(4, ...new Uint8Array(64)), hex('3006020101020101')],
        [new Uint8Array(0), new Uint8Array(0)],
        [Uint8Array.of(2, ...new Uint8Array(32)), hex('3006020101020101')],
        [new Uint8Array(65), new Uint8Array(1000)],
      ] as const) {
        t.equal(await ask!({ curve: 0, point, digest, signature }), false)
      }
    },
  )
}

for (const bits of [2048, 3072, 4096]) {
  t.test(`RSA ${bits} digests are judged as the vectors say`, NEEDS_VECTORS, async (t) => {
    for (const group of groups(`rsa_signature_${bits}_sha256_test.json`)) {
      const key = publicKeyFromSpki(hex(group.publicKeyDer))
      for (const { tcId, comment, msg, sig, result } of group.tests) {
        const good = await verifyDigest(key, 'sha256', digestOf('sha256', hex(msg)), hex(sig))
        // `acceptable`: DigestInfo without its NULL, which the strict encoding does not know.
        if (good !== (result === 'valid')) t.fail(`${tcId} ${comment}: ${good}`)
      }
    }
  })
}

t.test('PSS signatures are no PKCS#1 v1.5 signatures', NEEDS_VECTORS, async (t) => {
  for (const group of groups('rsa_pss_2048_sha256_mgf1_32_test.json')) {
    const key = publicKeyFromSpki(hex(group.publicKeyDer))
    for (const { msg, sig, result } of group.tests) {
      // The bad ones include good PKCS#1 v1.5 signatures.
      if (result !== 'valid') continue
      if (await verifyDigest(key, 'sha256', digestOf('sha256', hex(msg)), hex(sig)))
        t.fail('accepted')
    }
  }
})

t.test('Ed25519 messages are judged as the vectors say', NEEDS_VECTORS, async (t) => {
  for (const group of groups('ed25519_test.json')) {
    const key = publicKeyFromSpki(hex(group.publicKeyDer))
    for (const { tcId, comment, msg, sig, result } of group.tests) {
      const good = await verifyMessage(key, 'sha256', hex(msg), hex(sig))
      if (good !== (result === 'valid')) t.fail(`${tcId} ${comment}: ${good}`)
    }
  }
})

t.test('an Ed25519 signature over a digest is Ed25519ph with SHA-512, nothing else', async (t) => {
  const { secretKey, publicKey } = ed25519ph.keygen()
  const key = publicKeyFromSpki(Buffer.concat([hex('302a300506032b6570032100'), publicKey]))
  const message = Buffer.from('message')
  const signature = ed25519ph.sign(message, secretKey)
  const digest = digestOf('sha512', message)
  t.ok(await verifyDigest(key, 'sha512', digest, signature))
  t.notOk(await verifyDigest(key, 'sha512', digestOf('sha512', Buffer.from('other')), signature))
  t.notOk(await verifyDigest(key, 'sha256', digestOf('sha256', message), signature))
  t.notOk(await verifyDigest(key, 'sha512', digest, signature.subarray(1)))
  const high = Uint8Array.from(signature)
  high[63]! |= 0x80
  t.notOk(await verifyDigest(key, 'sha512', digest, high))
  const pair = generateKeyPairSync('ed25519')
  const pure = publicKeyFromSpki(pair.publicKey.export({ format: 'der', type: 'spki' }))
  t.notOk(await verifyDigest(pure, 'sha512', digest, sign(null, message, pair.privateKey)))
  t.notOk(await verifyDigest(pure, 'sha512', digest, sign(null, digest, pair.privateKey)))
})

t.test('every key kind verifies a digest of each hash, and only that', async (t) => {
  t.match(loadDigestVerifier(), { name: /^(native|portable)$/ })
  const message = Buffer.from('message')
  const pairs = [
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    generateKeyPairSync('ec', { namedCurve: 'P-521' }),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ]
  for (const { publicKey, privateKey } of pairs) {
    const key = publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' }))
    for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
      const signature = sign(hash, message, privateKey)
      const digest = digestOf(hash, message)
      t.ok(await verifyDigest(key, hash, digest, signature), `${key.algorithm.name} ${hash}`)
      t.ok(await verifyMessage(key, hash, message, signature))
      t.notOk(await verifyDigest(key, hash, digestOf(hash, signature), signature))
      t.notOk(await verifyDigest(key, hash, digest.subarray(1), signature))
      t.notOk(await verifyDigest(key, hash, digest, Buffer.concat([signature, Buffer.alloc(1)])))
      t.notOk(await verifyDigest(key, hash, digest, new Uint8Array()))
    }
  }
})

t.test('many verifications at once are each answered for themselves', async (t) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' }))
  const signature = sign('sha256', Buffer.from('x'), privateKey)
  const [good, bad] = [sha256('x'), sha256('y')]
  const judged = await Promise.all(
    Array.from({ length: 101 }, (_, n) =>
      verifyDigest(key, 'sha256', n % 3 === 0 ? good : bad, signature),
    ),
  )
  t.ok(judged.every((isGood, n) => isGood === (n % 3 === 0)))
})
