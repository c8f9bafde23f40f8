import { generateKeyPairSync, sign, verify } from 'node:crypto'
import t from 'tap'
import { derSignature } from '../../src/core/index.ts'

await t.test(
  'r ‖ s becomes the DER that node:crypto verifies, short numbers included',
  async (t) => {
    for (const namedCurve of ['prime256v1', 'secp384r1', 'secp521r1']) {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
      let good = 0
      // Enough for numbers with leading zeros and with a set top bit.
      for (let i = 0; i < 300; i += 1) {
        const message = Buffer.from(`message ${i}`)
        const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
        const der = derSignature(sign('sha256', message, key))
        if (der !== null && verify('sha256', message, publicKey, der)) good += 1
      }
      t.equal(good, 300, namedCurve)
    }
    t.same(
      derSignature(Uint8Array.from([0, 1, 0, 0x80])),
      Uint8Array.from([0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]),
    )
  },
)

await t.test('what can be no r ‖ s gives nothing', async (t) => {
  for (const size of [0, 1, 63, 134]) t.equal(derSignature(new Uint8Array(size)), null)
})
