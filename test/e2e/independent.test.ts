import { createPublicKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t from 'tap'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { said, startPlace, type Place } from './support/place.ts'
import { BUNDLE_FLIPS, bundlesOf } from './support/tampering.ts'

/** sigstore-js, which shares no code with airseal, judges our bundles by public/trusted_root.json. */

await t.test('@sigstore/verify', async (t) => {
  const place = await startPlace(t)
  const verify = await verifierOf(place)
  const sign = async (reference: string): Promise<string> => {
    const done = await place.site.airseal(['sign', '--signatures', 'bundle', reference])
    t.equal(done.code, 0, said(done))
    const bundles = await bundlesOf(reference)
    t.equal(bundles.length, 1)
    return bundles[0] ?? ''
  }

  await t.test('accepts a bundle of a layout, and refuses it after one flipped byte', async (t) => {
    const { layout, index } = await place.build()
    const text = await sign(`oci:${layout}@${index}`)
    t.doesNotThrow(() => verify(JSON.parse(text)))
    for (const [what, flip] of Object.entries(BUNDLE_FLIPS)) {
      const bundle = JSON.parse(text) as Record<string, unknown>
      flip(bundle)
      // It takes the root from the signed checkpoint, and never reads the one beside it.
      if (what === 'root hash of the inclusion proof') t.doesNotThrow(() => verify(bundle), what)
      else t.throws(() => verify(bundle), what)
    }
  })

  await t.test(
    'accepts a bundle of a registry',
    needs('crane', 'referrers-registry'),
    async (t) => {
      const { host } = await startRegistry(t, 'referrers-registry')
      const { reference } = await place.push(host)
      const text = await sign(reference)
      t.doesNotThrow(() => verify(JSON.parse(text)))
    },
  )

  await t.test('refuses a bundle of another airseal', async (t) => {
    const other = await startPlace(t)
    const { layout, index } = await other.build()
    const reference = `oci:${layout}@${index}`
    t.equal((await other.site.airseal(['sign', reference])).code, 0)
    const [text = ''] = await bundlesOf(reference)
    t.throws(() => verify(JSON.parse(text)))
    const judge = await verifierOf(other)
    t.doesNotThrow(() => judge(JSON.parse(text)))
  })
})

/** Throws when the bundle does not hold: signature by the key in public/cosign.pub, one entry of the log in the trusted root. */
async function verifierOf({ site }: Place): Promise<(bundle: unknown) => void> {
  const root = TrustedRoot.fromJSON(
    JSON.parse(await readFile(site.file('trusted_root.json'), 'utf8')),
  )
  const publicKey = createPublicKey(await readFile(site.file('cosign.pub'), 'utf8'))
  // Whatever key a bundle hints at, only this one is trusted.
  const material = toTrustMaterial(root, () => ({ publicKey, validFor: () => true }))
  const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 0 })
  return (bundle) => {
    verifier.verify(toSignedEntity(bundleFromJSON(bundle)))
  }
}
