import t from 'tap'
import { digestOf, sha256Hex, toBase64, utf8, type JsonObject } from '../../src/core/index.ts'
import { envelopeText } from '../../src/sigstore/index.ts'
import {
  verifyBundle,
  verifyLegacyAttestation,
  verifyLegacySignature,
  type Policy,
  type Trust,
} from '../../src/verify/index.ts'
import {
  attest,
  attestationLayer,
  bundleOf,
  dsseBody,
  hashedrekordBody,
  legacyLayer,
  NOW,
  signBundle,
  signLegacy,
  testKey,
  TestLog,
  trustIn,
  type Enveloped,
  type LegacySignature,
} from '../support/evidence.ts'

const digest = digestOf(utf8('an image'))
const otherDigest = digestOf(utf8('another image'))
const key = testKey()
const stranger = testKey()
const log = new TestLog()
const otherLog = new TestLog('other.test', 5n)
const trust = trustIn([key], [log])
const sbom = 'https://cyclonedx.org/bom'

const question = { digest, trust, now: NOW, policy: {} as Policy }
const askLegacy = (
  signature: LegacySignature,
  policy: Policy = {},
  more: Partial<typeof question> = {},
) => verifyLegacySignature({ ...question, policy, ...more, layer: legacyLayer(signature) })
const askBundle = (signed: Enveloped, policy: Policy = {}, more: Partial<typeof question> = {}) =>
  verifyBundle({ ...question, policy, ...more, bundleText: bundleOf(signed) })

void t.test(
  'the swap matrix holds for legacy attestations, whatever the kind of entry',
  async (t) => {
    const mine = attest(digest, sbom, key, log)
    const other = attest(otherDigest, sbom, key, log)
    const intoto = (of: Enveloped, text = envelopeText(of.envelope), by = of.key): JsonObject => ({
      apiVersion: '0.0.1',
      kind: 'intoto',
      spec: {
        content: {
          hash: { algorithm: 'sha256', value: sha256Hex(text) },
          payloadHash: { algorithm: 'sha256', value: sha256Hex(of.envelope.payload) },
        },
        publicKey: toBase64(utf8(by.publicKey.pem)),
      },
    })
    const intoto2 = (of: Enveloped, by = of.key): JsonObject => ({
      apiVersion: '0.0.2',
      kind: 'intoto',
      spec: {
        content: {
          envelope: {
            payloadType: of.envelope.payloadType,
            signatures: of.envelope.signatures.map(({ sig }) => ({
              publicKey: toBase64(utf8(by.publicKey.pem.trim())),
              sig: toBase64(utf8(toBase64(sig))),
            })),
          },
          hash: { algorithm: 'sha256', value: '00'.repeat(32) },
          payloadHash: { algorithm: 'sha256', value: sha256Hex(of.envelope.payload) },
        },
      },
    })
    const ask = (body: JsonObject) =>
      verifyLegacyAttestation({
        ...question,
        policy: { predicateType: sbom },
        layer: attestationLayer({ ...mine, entry: log.append(body) }),
      })
    t.match(await ask(intoto(mine)), { outcome: 'verified' })
    t.match(await ask(intoto2(mine)), { outcome: 'verified' })
    for (const body of [
      intoto(other),
      intoto(mine, 'another envelope'),
      intoto(mine, undefined, stranger),
      intoto2(other),
      intoto2(mine, stranger),
      dsseBody(other.envelope, key),
      dsseBody(mine.envelope, stranger),
      hashedrekordBody(utf8('other'), mine.envelope.signatures[0]!.sig, key),
    ]) {
      t.match(await ask(body), { outcome: 'rejected', reason: 'ENTRY_MISMATCH' })
    }
    const certificate = dsseBody(mine.envelope, key)
    const text = JSON.stringify(certificate).replaceAll(
      toBase64(utf8(key.publicKey.pem)),
      toBase64(utf8(key.publicKey.pem.replaceAll('PUBLIC KEY', 'CERTIFICATE'))),
    )
    t.match(
      await ask(JSON.parse(text) as JsonObject),
      { reason: 'ENTRY_MISMATCH' },
      'entry with a certificate',
    )
  },
)

void t.test(
  'the log entry must be there, be of a trusted log, and be logged in time',
  async (t) => {
    const signature = signLegacy(digest, key, log)
    const { payload, annotations } = legacyLayer(signature)
    const bare = { payload, annotations: { ...annotations, 'dev.sigstore.cosign/bundle': '' } }
    t.match(await verifyLegacySignature({ ...question, layer: bare }), {
      reason: 'LOG_ENTRY_MISSING',
    })
    const unlogged = await verifyLegacySignature({
      ...question,
      policy: { requireLog: false },
      layer: bare,
    })
    t.match(unlogged, { outcome: 'verified', evidence: { entry: null } })
    t.ok(unlogged.unchecked.includes('transparency log'))

    const elsewhere = signLegacy(digest, key, otherLog)
    t.match(await askLegacy(elsewhere), { reason: 'LOG_UNKNOWN' })
    t.match(await askLegacy(elsewhere, { requireLog: false }), {
      outcome: 'verified',
      evidence: { entry: null },
    })
    t.match(
      await askLegacy(
        { ...signature, entry: { ...signature.entry, set: elsewhere.entry.set } },
        { requireLog: false },
      ),
      { reason: 'SET_INVALID' },
      'an entry of a trusted log is verified even where none is demanded',
    )

    const at = (time: number) => askLegacy(signLegacy(digest, key, log, { time }))
    t.match(await at(NOW + 60_000), { outcome: 'verified' }, 'a clock may run a little ahead')
    t.match(await at(NOW + 600_000), { reason: 'LOG_TIME_INVALID' }, 'the future')
    t.match(await at(NOW - 86_400_000), { outcome: 'verified' }, 'the first moment of the log key')
    t.match(await at(NOW - 86_401_000), { reason: 'LOG_TIME_INVALID' }, 'before the log key')
    const ended: Trust = {
      ...trust,
      logs: trust.logs.map((one) => ({ ...one, validFor: { ...one.validFor, end: NOW - 1000 } })),
    }
    const late = (time: number) =>
      askLegacy(signLegacy(digest, key, log, { time }), {}, { trust: ended })
    t.match(await late(NOW - 1000), { outcome: 'verified' }, 'the end counts')
    t.match(await late(NOW), { reason: 'LOG_TIME_INVALID' }, 'after the log key')
  },
)

void t.test('an altered entry is refused', async (t) => {
  const signed = signBundle(digest, key, log)
  const { entry } = signed
  const altered = [
    ['SET_INVALID', { ...entry, integratedTime: entry.integratedTime - 1 }],
    ['SET_INVALID', { ...entry, logIndex: entry.logIndex + 1 }],
    ['LOG_UNKNOWN', { ...entry, logId: otherLog.key.publicKey.id }],
    [
      'LOG_ENTRY_INVALID',
      { ...entry, body: utf8('{}'), kindVersion: { kind: 'dsse', version: '0.0.1' } },
    ],
    ['LOG_ENTRY_INVALID', { ...entry, kindVersion: { kind: 'hashedrekord', version: '0.0.1' } }],
    [
      'UNSUPPORTED',
      { ...entry, body: utf8('{"apiVersion":"0.0.3","kind":"hashedrekord","spec":{}}') },
    ],
    [
      'INCLUSION_PROOF_INVALID',
      { ...entry, inclusionProof: { ...entry.inclusionProof, index: 0 } },
    ],
    [
      'INCLUSION_PROOF_INVALID',
      { ...entry, inclusionProof: { ...entry.inclusionProof, treeSize: 3 } },
    ],
    [
      'INCLUSION_PROOF_INVALID',
      { ...entry, inclusionProof: { ...entry.inclusionProof, hashes: [] } },
    ],
  ] as const
  for (const [reason, changed] of altered) {
    t.match(await askBundle({ ...signed, entry: changed }), { outcome: 'rejected', reason })
  }
  const set = JSON.parse(bundleOf(signed)) as {
    verificationMaterial: { tlogEntries: JsonObject[] }
  }
  delete set.verificationMaterial.tlogEntries[0]!['inclusionPromise']
  t.match(
    await verifyBundle({ ...question, bundleText: JSON.stringify(set) }),
    { reason: 'SET_INVALID' },
    'no SET',
  )
})

void t.test(
  'the checkpoint must be the log’s, in origin, name, key hint and signature',
  async (t) => {
    const signed = signBundle(digest, key, log)
    const body = dsseBody(signed.envelope, key)
    const ask = (options: Parameters<TestLog['append']>[1]) =>
      askBundle({ ...signed, entry: log.append(body, options) })
    t.match(await ask({}), { outcome: 'verified' })
    for (const origin of [
      'log.test',
      'log.test - x',
      'log.test - 077',
      'other.test - 77',
      'xlog.test - 77',
      'log.test  - 77',
    ]) {
      t.match(await ask({ origin }), { reason: 'CHECKPOINT_INVALID' }, origin)
    }
    t.match(
      await ask({ signer: stranger }),
      { reason: 'CHECKPOINT_INVALID' },
      'signed by another key',
    )
    const { entry } = signed
    const noted = (checkpoint: string) =>
      askBundle({
        ...signed,
        entry: { ...entry, inclusionProof: { ...entry.inclusionProof, checkpoint } },
      })
    const { checkpoint } = entry.inclusionProof
    const [text = '', line = ''] = checkpoint.split('\n\n')
    const encoded = line.trim().split(' ')[2] ?? ''
    const witness = `\u2014 witness.test ${toBase64(Buffer.alloc(68, 1))}\n`
    t.match(
      await noted(`${text}\n\n${witness}${line}`),
      { outcome: 'verified' },
      'a witness beside the log',
    )
    t.match(
      await noted(`${text}\n\n${witness}`),
      { reason: 'CHECKPOINT_INVALID' },
      'a witness without the log',
    )
    t.match(
      await noted(checkpoint.replace('\u2014 log.test', '\u2014 other.test')),
      { reason: 'CHECKPOINT_INVALID' },
      'another name',
    )
    const hinted = Buffer.from(encoded, 'base64')
    hinted[0]! ^= 1
    t.match(
      await noted(checkpoint.replace(encoded, toBase64(hinted))),
      { reason: 'CHECKPOINT_INVALID' },
      'another key hint',
    )
    t.match(await noted(''), { reason: 'CHECKPOINT_INVALID' }, 'none')
  },
)

void t.test('no change of one byte leaves a bundle acceptable with other content', async (t) => {
  const text = bundleOf(signBundle(digest, key, log))
  let refused = 0
  for (let at = 0; at < text.length; at += 7) {
    const code = text.charCodeAt(at)
    const changed = `${text.slice(0, at)}${String.fromCharCode(code === 0x41 ? 0x42 : 0x41)}${text.slice(at + 1)}`
    const verdict = await verifyBundle({ ...question, bundleText: changed })
    // The hint and the names of members that may be absent are not signed; everything else is.
    if (verdict.outcome === 'rejected') refused++
    else t.match(changed.slice(Math.max(0, at - 90), at + 1), /"hint":"[^"]*$/, `byte ${at}`)
  }
  t.ok(refused > 300)
})
