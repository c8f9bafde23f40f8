import { PublicKeyDetails, TrustedRoot } from '@sigstore/protobuf-specs'
import { bundleFromJSON } from '@sigstore/bundle'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t from 'tap'
import { digestOf, utf8 } from '../../src/core/index.ts'
import { trustedRootText } from '../../src/sigstore/index.ts'
import {
  attest,
  bundleOf,
  signBundle,
  testKey,
  TestLog,
  type Enveloped,
} from '../support/evidence.ts'

const digest = digestOf(utf8('an image'))
const key = testKey()
const log = new TestLog()

/** What an independent implementation says of our bundle under our trusted root; throws when it refuses. */
function judgedByOthers(signed: Enveloped, signer = key, of = log): void {
  const root = trustedRootText({
    baseUrl: `https://${of.host}:8470`,
    logPublicKey: of.key.publicKey,
    start: '2026-01-01T00:00:00Z',
  })
  const hint = Buffer.from(key.publicKey.id, 'hex').toString('base64')
  const material = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(root)), {
    [hint]: {
      rawBytes: Buffer.from(signer.publicKey.spki),
      keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256,
    },
  })
  const verifier = new Verifier(material, {
    tlogThreshold: 1,
    ctlogThreshold: 0,
    timestampThreshold: 1,
  })
  verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(bundleOf(signed)))))
}

void t.test('an independent verifier accepts our bundles under our trusted root', async (t) => {
  t.doesNotThrow(() => judgedByOthers(signBundle(digest, key, log, { env: 'prod' })))
  t.doesNotThrow(() => judgedByOthers(attest(digest, 'https://cyclonedx.org/bom', key, log)))
})

void t.test('an independent verifier refuses them with another key, log or entry', async (t) => {
  const signed = signBundle(digest, key, log)
  t.throws(() => judgedByOthers(signed, testKey()))
  t.throws(() => judgedByOthers(signed, key, new TestLog()))
  const other = signBundle(digestOf(utf8('another image')), key, log)
  t.throws(() => judgedByOthers({ ...signed, entry: other.entry }))
})
