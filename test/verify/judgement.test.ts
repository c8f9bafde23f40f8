import t from 'tap'
import { digestOf, sha256Hex, toBase64, utf8, type JsonObject } from '../../src/core/index.ts'
import { IN_TOTO_TYPE, pae, simpleSigningPayload } from '../../src/sigstore/index.ts'
import {
  judgeAttestations,
  judgeSignatures,
  MAX_EVIDENCE,
  REASONS,
  verifyBundle,
  verifyBundleAttestation,
  verifyLegacyAttestation,
  verifyLegacySignature,
  type Policy,
  type Trust,
} from '../../src/verify/index.ts'
import {
  attest,
  attestationLayer,
  bundleOf,
  hashedrekordBody,
  legacyLayer,
  NOW,
  signBundle,
  signEnvelope,
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
  'a legacy signature with its log entry verifies, and says what it rests on',
  async (t) => {
    const signature = signLegacy(digest, key, log)
    const verdict = await askLegacy(signature)
    t.match(verdict, {
      outcome: 'verified',
      reason: null,
      evidence: {
        format: 'legacy',
        kind: 'signature',
        keyId: key.publicKey.id,
        keyName: 'key0',
        hash: 'sha256',
        payloadSha256: sha256Hex(signature.payload),
        entry: { logIndex: signature.entry.logIndex },
      },
    })
    t.same(verdict.unchecked, [
      'inclusion proof (the legacy format carries none)',
      'repository name in the signature',
    ])
  },
)

void t.test('a bundle with its log entry verifies, and leaves nothing unchecked', async (t) => {
  const verdict = await askBundle(signBundle(digest, key, log))
  t.match(verdict, { outcome: 'verified', evidence: { format: 'bundle', keyName: 'key0' } })
  t.same(verdict.unchecked, [])
})

void t.test('attestations verify in both formats when the type is the one asked for', async (t) => {
  const signed = attest(digest, sbom, key, log)
  const policy = { predicateType: sbom }
  const layer = attestationLayer(signed)
  t.match(await verifyLegacyAttestation({ ...question, policy, layer }), { outcome: 'verified' })
  t.match(await verifyBundleAttestation({ ...question, policy, bundleText: bundleOf(signed) }), {
    outcome: 'verified',
    evidence: { predicateType: sbom },
  })
})

void t.test('keys of other kinds verify, and the hash that fitted is reported', async (t) => {
  for (const [kind, hash, reported] of [
    ['P-384', 'sha256', 'sha256'],
    ['P-384', 'sha384', 'sha384'],
    ['ed25519', null, null],
  ] as const) {
    const signer = testKey(kind)
    const payload = simpleSigningPayload({ repository: 'registry.test/app', digest })
    const layer = {
      payload,
      annotations: { 'dev.cosignproject.cosign/signature': toBase64(signer.sign(payload, hash)) },
    }
    const asked = {
      ...question,
      trust: trustIn([signer], []),
      policy: { requireLog: false },
      layer,
    }
    t.match(
      await verifyLegacySignature(asked),
      { outcome: 'verified', evidence: { hash: reported } },
      kind,
    )
  }
})

void t.test(
  'a valid but unrelated part from another signature is refused, in every format',
  async (t) => {
    const mine = { legacy: signLegacy(digest, key, log), bundle: signBundle(digest, key, log) }
    // Each differs from mine in one respect, and is valid by itself.
    const others = {
      'another image': {
        legacy: signLegacy(otherDigest, key, log),
        bundle: signBundle(otherDigest, key, log),
      },
      'the same image again': {
        legacy: signLegacy(digest, key, log, { annotations: { again: 'yes' } }),
        bundle: signBundle(digest, key, log, { again: 'yes' }),
      },
      'another key': {
        legacy: signLegacy(digest, stranger, log),
        bundle: signBundle(digest, stranger, log),
      },
    }
    for (const [name, other] of Object.entries(others)) {
      const { legacy, bundle } = other
      t.match(
        await askLegacy({ ...mine.legacy, entry: legacy.entry }),
        { outcome: 'rejected', reason: 'ENTRY_MISMATCH' },
        `legacy entry of ${name}`,
      )
      t.match(
        await askBundle({ ...mine.bundle, entry: bundle.entry }),
        { outcome: 'rejected', reason: 'ENTRY_MISMATCH' },
        `bundle entry of ${name}`,
      )
      t.match(
        await askLegacy({ ...mine.legacy, entry: { ...mine.legacy.entry, set: legacy.entry.set } }),
        { reason: 'SET_INVALID' },
        `legacy SET of ${name}`,
      )
      t.match(
        await askBundle({ ...mine.bundle, entry: { ...mine.bundle.entry, set: bundle.entry.set } }),
        { reason: 'SET_INVALID' },
        `bundle SET of ${name}`,
      )
      const proof = { ...mine.bundle.entry, inclusionProof: bundle.entry.inclusionProof }
      t.match(
        await askBundle({ ...mine.bundle, entry: proof }),
        { reason: 'INCLUSION_PROOF_INVALID' },
        `proof of ${name}`,
      )
      const checkpoint = {
        ...mine.bundle.entry,
        inclusionProof: {
          ...mine.bundle.entry.inclusionProof,
          checkpoint: bundle.entry.inclusionProof.checkpoint,
        },
      }
      t.match(
        await askBundle({ ...mine.bundle, entry: checkpoint }),
        { reason: 'CHECKPOINT_INVALID' },
        `checkpoint of ${name}`,
      )
      t.match(
        await askLegacy({ ...mine.legacy, signature: legacy.signature }),
        { reason: 'SIGNATURE_INVALID' },
        `legacy signature of ${name}`,
      )
      t.match(
        await askBundle({
          ...mine.bundle,
          envelope: { ...mine.bundle.envelope, signatures: bundle.envelope.signatures },
        }),
        { reason: 'SIGNATURE_INVALID' },
        `bundle signature of ${name}`,
      )
    }
    const { legacy, bundle } = others['another image']
    t.match(
      await askLegacy({ ...mine.legacy, payload: legacy.payload }),
      { reason: 'DIGEST_MISMATCH' },
      'payload of another image',
    )
    t.match(
      await askBundle({
        ...mine.bundle,
        envelope: { ...mine.bundle.envelope, payload: bundle.envelope.payload },
      }),
      { reason: 'DIGEST_MISMATCH' },
    )
    const again = others['the same image again']
    t.match(
      await askLegacy({ ...mine.legacy, payload: again.legacy.payload }),
      { reason: 'SIGNATURE_INVALID' },
      'payload of another signature',
    )
    t.match(
      await askLegacy(legacy),
      { reason: 'DIGEST_MISMATCH' },
      'a whole signature of another image',
    )
    t.match(
      await askLegacy(others['another key'].legacy),
      { reason: 'KEY_MISMATCH' },
      'a whole signature by another key',
    )
    t.match(await askBundle(others['another key'].bundle), { reason: 'KEY_MISMATCH' })
  },
)

void t.test('the payload must be what it claims to be', async (t) => {
  const good = Buffer.from(
    simpleSigningPayload({ repository: 'registry.test/app', digest }),
  ).toString()
  const ask = (text: string) => {
    const payload = utf8(text)
    const signature = key.sign(payload)
    return askLegacy({
      payload,
      signature,
      entry: log.append(hashedrekordBody(payload, signature, key)),
    })
  }
  t.match(await ask(good), { outcome: 'verified' })
  for (const text of [
    good.replace('cosign container image signature', 'atomic container signature'),
    good.replace('"optional":null', '"optional":null,"optional":null'),
    good.replace('"optional":null', '"optional":null,"more":1'),
    good.replace('"optional":null', '"optional":[]'),
    good.replace('{"critical"', '{"critical":{},"critical"'),
    `${good}x`,
    '{"optional":null}',
    '"text"',
    'null',
    '',
    good.replace(digest, digest.toUpperCase()),
  ]) {
    t.match(await ask(text), { outcome: 'rejected', reason: 'PAYLOAD_INVALID' }, text.slice(0, 60))
  }
})

void t.test(
  'a statement must be an in-toto statement about the digest, by its sha256',
  async (t) => {
    const hex = digest.slice(7)
    const statement = (change: JsonObject): Uint8Array =>
      utf8(
        JSON.stringify({
          _type: 'https://in-toto.io/Statement/v1',
          subject: [{ digest: { sha256: hex } }],
          predicateType: 'https://sigstore.dev/cosign/sign/v1',
          ...change,
        }),
      )
    const ask = (payload: Uint8Array, type?: string) =>
      askBundle(signEnvelope(payload, key, log, type))
    t.match(
      await ask(statement({})),
      { outcome: 'verified' },
      'without predicate, as cosign 3.0 wrote it',
    )
    for (const change of [
      { _type: 'https://in-toto.io/Statement/v2' },
      { subject: [] },
      { subject: null },
      { subject: [null] },
      { subject: [{ digest: {} }] },
      { subject: [{ name: 'x' }] },
      { predicateType: '' },
      { predicateType: 7 },
      { extra: true },
    ]) {
      t.match(await ask(statement(change)), { reason: 'PAYLOAD_INVALID' }, JSON.stringify(change))
    }
    for (const subject of [
      { sha512: hex },
      { sha256: hex.toUpperCase() },
      { sha256: otherDigest.slice(7) },
      { SHA256: hex },
    ]) {
      t.match(
        await ask(statement({ subject: [{ digest: subject }] })),
        { reason: 'DIGEST_MISMATCH' },
        JSON.stringify(subject),
      )
    }
    t.match(
      await ask(statement({ predicateType: sbom })),
      { reason: 'PREDICATE_TYPE_MISMATCH' },
      'an SBOM is no signature',
    )
    t.match(
      await ask(statement({}), 'application/json'),
      { reason: 'PAYLOAD_INVALID' },
      'another payload type',
    )
    t.match(await ask(utf8('"text"')), { reason: 'PAYLOAD_INVALID' })
  },
)

void t.test(
  'an envelope needs exactly one signature, even where another one is good',
  async (t) => {
    const signed = attest(digest, sbom, key, log)
    const [good] = signed.envelope.signatures
    const bad = { sig: stranger.sign(pae(IN_TOTO_TYPE, signed.envelope.payload)), keyid: '' }
    const envelope = { ...signed.envelope, signatures: [good!, bad] }
    const layer = attestationLayer({ ...signed, envelope })
    t.match(
      await verifyLegacyAttestation({ ...question, policy: { predicateType: sbom }, layer }),
      {
        reason: 'PAYLOAD_INVALID',
      },
    )
    t.match(await askBundle({ ...signed, envelope }), { reason: 'BUNDLE_INVALID' })
  },
)

void t.test('a malformed certificate beside a key signature is refused', async (t) => {
  const { payload, annotations } = legacyLayer(signLegacy(digest, key, log))
  const layer = {
    payload,
    annotations: { ...annotations, 'dev.sigstore.cosign/certificate': 'PEM' },
  }
  t.match(await verifyLegacySignature({ ...question, layer }), { reason: 'BUNDLE_INVALID' })
})

void t.test('policy: keys, annotations, identity and the validity of keys', async (t) => {
  const signature = signLegacy(digest, key, log, { annotations: { env: 'prod' } })
  const bundle = signBundle(digest, key, log, { env: 'prod' })
  for (const ask of [
    (policy: Policy) => askLegacy(signature, policy),
    (policy: Policy) => askBundle(bundle, policy),
  ]) {
    t.match(await ask({ annotations: { env: 'prod' } }), { outcome: 'verified' })
    t.match(await ask({ annotations: { env: 'test' } }), { reason: 'ANNOTATION_MISMATCH' })
    t.match(await ask({ annotations: { toString: 'x' } }), { reason: 'ANNOTATION_MISMATCH' })
    t.match(await ask({ keys: ['key0'] }), { outcome: 'verified' })
    t.match(await ask({ keys: ['another'] }), { reason: 'NO_TRUSTED_KEYS' })
    t.match(await ask({ keys: [] }), { reason: 'NO_TRUSTED_KEYS' })
  }
  t.match(await askLegacy(signature, { identity: ['registry.test/team/app'] }), {
    outcome: 'verified',
  })
  t.match(await askLegacy(signature, { identity: ['registry.test/team'] }), {
    reason: 'IDENTITY_MISMATCH',
  })
  t.match(await askBundle(bundle, { identity: ['registry.test/team/app'] }), {
    reason: 'IDENTITY_MISMATCH',
  })
  const bounded = (start: number, end: number | null): Trust => ({
    ...trust,
    keys: trust.keys.map((one) => ({ ...one, validFor: { start, end } })),
  })
  t.match(
    await askLegacy(signature, {}, { trust: bounded(NOW, NOW) }),
    { outcome: 'verified' },
    'both ends count',
  )
  t.match(await askLegacy(signature, {}, { trust: bounded(NOW + 1, null) }), {
    reason: 'KEY_OUTSIDE_VALIDITY',
  })
  t.match(await askLegacy(signature, {}, { trust: bounded(0, NOW - 1) }), {
    reason: 'KEY_OUTSIDE_VALIDITY',
  })
})

void t.test(
  'one good signature suffices; otherwise the latest failure is the reason',
  async (t) => {
    const good = {
      format: 'legacy',
      kind: 'signature',
      ...legacyLayer(signLegacy(digest, key, log)),
    } as const
    const foreign = {
      format: 'legacy',
      kind: 'signature',
      ...legacyLayer(signLegacy(digest, stranger, log)),
    } as const
    const entryless = {
      ...good,
      annotations: { ...good.annotations, 'dev.sigstore.cosign/bundle': '' },
    }
    const rubbish = { format: 'bundle', text: '{' } as const
    t.match(await judgeSignatures([rubbish, foreign, good], question), {
      outcome: 'verified',
      verdicts: { length: 3 },
    })
    t.match(await judgeSignatures([entryless, foreign, rubbish], question), {
      reason: 'LOG_ENTRY_MISSING',
    })
    t.match(await judgeSignatures([rubbish, foreign], question), { reason: 'KEY_MISMATCH' })
    t.match(await judgeSignatures([], question), { outcome: 'rejected', reason: 'NO_SIGNATURES' })
    t.match(
      await judgeSignatures(
        Array.from({ length: MAX_EVIDENCE + 1 }, () => good),
        question,
      ),
      {
        reason: 'TOO_MANY',
        verdicts: { length: 0 },
      },
    )
    const asked = { ...question, policy: { predicateType: sbom } }
    t.match(await judgeAttestations([], asked), { reason: 'NO_ATTESTATIONS' })
    const vuln = {
      format: 'bundle',
      text: bundleOf(attest(digest, 'https://cosign.sigstore.dev/attestation/vuln/v1', key, log)),
    } as const
    t.match(await judgeAttestations([vuln], asked), { reason: 'PREDICATE_TYPE_MISMATCH' })
  },
)

void t.test('the same question gets the same verdict, alone and beside others', async (t) => {
  const signed = signBundle(digest, key, log)
  const once = await askBundle(signed)
  const many = await Promise.all(Array.from({ length: 50 }, () => askBundle(signed)))
  for (const verdict of many) t.same(verdict, once)
})

void t.test('every reason has a sentence and a remedy', async (t) => {
  for (const [reason, { sentence, remedy }] of Object.entries(REASONS)) {
    t.ok(sentence.endsWith('.') && remedy.endsWith('.'), reason)
  }
})
