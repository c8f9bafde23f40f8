import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  fromHex,
  parseDigest,
  toBase64,
  toPem,
  utf8,
  type Digest,
  type Json,
} from '../../src/core/index.ts'
import { parseSigner } from '../../src/evidence/index.ts'
import { appendLegacyLayer, openLayoutRepository } from '../../src/oci/index.ts'
import {
  predicateTypeUri,
  rekorBundleAnnotation,
  simpleSigningPayload,
} from '../../src/sigstore/index.ts'
import { parseGate, type Gate } from '../../offline-bundles/index.ts'
import { legacyLayer, signLegacy, testKey, TestLog } from '../support/evidence.ts'
import { EMAIL, startKeyless } from '../support/keyless.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { needs } from '../support/programs.ts'
import { temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { startPair } from './support/enclaves.ts'

const folder = await temporaryDirectory(t)
const registry = await startPlainRegistry()
t.teardown(() => registry.stop())
const { low, high } = await startPair(t, folder)
const to = `${registry.address}/in`
let bundles = 0

const gate = (rules: Json): Gate => parseGate({ rules }, parseSigner, predicateTypeUri)

async function image(name: string): Promise<{ reference: string; digest: Digest }> {
  const [reference = ''] = await tinyLayout(join(folder, name), [name])
  return { reference, digest: parseDigest(reference.split('@')[1] ?? '') }
}

async function exported(reference: string): Promise<string> {
  const path = join(folder, `bundle-${++bundles}`)
  await low.export(path, [reference])
  return path
}

const manifests = (name: string): string[] =>
  [...registry.manifests.keys()].filter((key) => key.startsWith(`in/${name}/`))

/** Puts a legacy signature beside an image, as a vendor's registry would have it. */
async function attach(
  name: string,
  digest: Digest,
  layer: { payload: Uint8Array; annotations: Record<string, string> },
) {
  const repository = await openLayoutRepository(join(folder, name))
  const mediaType = 'application/vnd.dev.cosign.simplesigning.v1+json'
  const { payload: blob, annotations } = layer
  await appendLegacyLayer(repository, digest, 'sig', { mediaType, blob, annotations }, () => false)
}

async function admittedByOwnKey(t: Test, name: string, digest: string): Promise<void> {
  const own = { images: [`${to}/${name}@${digest}`], key: 'signing' }
  t.match(await high.call('verify', own), {
    results: [{ outcome: 'verified', keyName: 'signing' }],
  })
}

await t.test(
  'an image with a key of a vendor enters by the rule for it, and is signed by this side',
  async (t) => {
    const vendor = testKey()
    await low.call('trust/import', { file: toBase64(utf8(vendor.publicKey.pem)), name: 'vendor' })
    const { reference, digest } = await image('vendor-app')
    await attach('vendor-app', digest, legacyLayer(signLegacy(digest, vendor, new TestLog())))
    const bundle = await exported(reference)

    await t.rejects(high.import(bundle, to), { code: 'TRANSFER_REFUSED', message: /vendor-app/ })
    t.same(manifests('vendor-app'), [], 'nothing entered')
    const rule = { name: 'vendors', repositories: ['vendor-*/**', 'vendor-app'], resign: true }
    const other = gate([{ ...rule, signers: [{ key: 'unknown' }] }])
    await t.rejects(high.import(bundle, to, other), {
      code: 'TRANSFER_REFUSED',
      message: /none of the keys/,
    })
    const demanding = gate([{ ...rule, signers: [{ key: 'vendor' }], attestations: ['cyclonedx'] }])
    await t.rejects(high.import(bundle, to, demanding), {
      code: 'TRANSFER_REFUSED',
      message: /cyclonedx/,
    })
    t.same(manifests('vendor-app'), [])

    const { result } = await high.import(
      bundle,
      to,
      gate([{ ...rule, signers: [{ key: 'vendor' }] }]),
    )
    t.match(result, { images: [{ by: 'vendor', rule: 'vendors' }] })
    await admittedByOwnKey(t, 'vendor-app', digest)
    const original = {
      images: [`${to}/vendor-app@${digest}`],
      key: vendor.publicKey.pem,
      requireLog: false,
    }
    t.match(
      await high.call('verify', original),
      { results: [{ outcome: 'verified' }] },
      'the original signature is kept',
    )
    const summaries = await high.call('verify', {
      images: [`${to}/vendor-app@${digest}`],
      type: 'https://slsa.dev/verification_summary/v1',
    })
    const [
      {
        attestations: [envelope],
      },
    ] = (summaries as { results: [{ attestations: [{ payload: string }] }] }).results
    const { predicate } = JSON.parse(Buffer.from(envelope.payload, 'base64').toString()) as {
      predicate: unknown
    }
    t.match(predicate, {
      verifier: {
        id: 'urn:airseal:import-gate:high.example',
        version: { trust: /^low\.example\/\d+$/ },
      },
      verificationResult: 'PASSED',
      inputAttestations: [
        { uri: /bundle:low\.example:1/ },
        { uri: /trust:low\.example/ },
        { uri: /signed-by:vendor/ },
      ],
    })
  },
)

await t.test('what was revoked on the other side does not enter', async (t) => {
  const { reference, digest } = await image('revoked')
  await low.call('sign', { images: [reference] })
  await low.call('trust/revoke', { image: digest, reason: 'backdoor' })
  const bundle = await exported(reference)
  await t.rejects(high.import(bundle, to), { code: 'TRANSFER_REFUSED', message: /DIGEST_REVOKED/ })
  // The number is taken: a rebase without the image lets the stream go on.
  await low.export(join(folder, 'rebase'), [], { kind: 'rebase' })
  await high.import(join(folder, 'rebase'), to)
})

await t.test('an unsigned image does not enter, whatever else is in the bundle', async (t) => {
  const good = await image('good')
  await low.call('sign', { images: [good.reference] })
  const bad = await image('bad')
  const path = join(folder, `bundle-${++bundles}`)
  await low.export(path, [good.reference, bad.reference])
  await t.rejects(high.import(path, to), { code: 'TRANSFER_REFUSED', message: /bad/ })
  t.same([...manifests('good'), ...manifests('bad')], [])
  await low.export(join(folder, 'rebase-2'), [good.reference], { kind: 'rebase' })
  await high.import(join(folder, 'rebase-2'), to)
})

await t.test(
  'an image with keyless evidence of a vendor enters by its identity, and one local key is enough then',
  needs('fulcio', 'timestamp-server'),
  async (t) => {
    const keyless = await startKeyless(t, false)
    const log = new TestLog('rekor.vendor.test')
    const start = new Date(Date.now() - 86_400_000).toISOString()
    const authority = (chain: readonly Uint8Array[]) => ({
      uri: 'http://authority.test',
      certChain: { certificates: chain.map((der) => ({ rawBytes: toBase64(der) })) },
      validFor: { start },
    })
    const root = {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [
        {
          baseUrl: 'https://rekor.vendor.test',
          hashAlgorithm: 'SHA2_256',
          publicKey: {
            rawBytes: toBase64(log.key.publicKey.spki),
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
            validFor: { start },
          },
          logId: { keyId: toBase64(fromHex(log.key.publicKey.id, 'id')) },
        },
      ],
      certificateAuthorities: [authority(keyless.fulcioChain)],
      timestampAuthorities: [authority(keyless.tsaChain)],
      ctlogs: [],
    }
    await low.call('trust/import', {
      file: toBase64(utf8(JSON.stringify(root))),
      name: 'vendor-pki',
    })

    const { reference, digest } = await image('keyless')
    const { key, certificate } = await keyless.certify()
    const payload = simpleSigningPayload({
      repository: 'vendor.test/keyless',
      digest,
      annotations: undefined,
    })
    const signature = key.sign(payload)
    const pem = toPem('CERTIFICATE', certificate)
    const { createHash } = await import('node:crypto')
    const entry = log.append(
      {
        apiVersion: '0.0.1',
        kind: 'hashedrekord',
        spec: {
          data: {
            hash: {
              algorithm: 'sha256',
              value: createHash('sha256').update(payload).digest('hex'),
            },
          },
          signature: { content: toBase64(signature), publicKey: { content: toBase64(utf8(pem)) } },
        },
      },
      { time: Date.now() },
    )
    await attach('keyless', digest, {
      payload,
      annotations: {
        'dev.cosignproject.cosign/signature': toBase64(signature),
        'dev.sigstore.cosign/certificate': pem,
        'dev.sigstore.cosign/chain': '',
        'dev.sigstore.cosign/bundle': rekorBundleAnnotation(entry),
      },
    })
    const bundle = await exported(reference)
    const by = (subject: string): Gate =>
      gate([
        {
          repositories: ['**'],
          signers: [{ root: 'vendor-pki', subject, issuer: keyless.issuer }],
          resign: true,
        },
      ])
    await t.rejects(high.import(bundle, to, by('somebody@else.test')), { code: 'TRANSFER_REFUSED' })
    const { result } = await high.import(bundle, to, by(EMAIL))
    t.match(result, { images: [{ by: EMAIL }] })
    await admittedByOwnKey(t, 'keyless', digest)
  },
)

t.test('rules that could be misread are refused', async (t) => {
  for (const rules of [
    [],
    {},
    [{ repositories: ['**'], signers: [] }],
    [{ repositories: ['**'], signers: ['anyone'] }],
    [{ repositories: ['**'], signers: [{ subject: 'a@b' }] }],
    [{ repositories: ['**'], signers: ['sender'], resing: true }],
    [{ repositories: ['**'], signers: ['sender'], resign: 'yes' }],
    [{ repositories: [''], signers: ['sender'] }],
  ] as Json[])
    t.throws(() => gate(rules), { code: /INVALID$/ }, JSON.stringify(rules))
})
