import { createHash } from 'node:crypto'
import t from 'tap'
import {
  digestOf,
  fromHex,
  toBase64,
  toPem,
  utf8,
  type Digest,
  type JsonObject,
} from '../../src/core/index.ts'
import { parseTrustedRoot } from '../../src/sigstore/index.ts'
import {
  compilePattern,
  trustFromRoot,
  verifyBlobBundle,
  verifyLegacySignature,
  type Policy,
  type Trust,
} from '../../src/verify/index.ts'
import {
  legacyLayer,
  TestLog,
  trustIn,
  signLegacy,
  type Logged,
  type TestKey,
} from '../support/evidence.ts'
import { EMAIL, startKeyless, type Keyless } from '../support/keyless.ts'
import { needs } from '../support/programs.ts'

const DAY = 86_400_000
const FILE = utf8('what was built\n')
const DIGEST = digestOf(FILE)

interface Made {
  readonly signature: Uint8Array
  readonly certificate: Uint8Array
  readonly stamps: readonly Uint8Array[]
  readonly entries: readonly Logged[]
}

function hashedrekord(digest: Digest, signature: Uint8Array, certificate: Uint8Array): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value: digest.slice(7) } },
      signature: {
        content: toBase64(signature),
        publicKey: { content: toBase64(utf8(toPem('CERTIFICATE', certificate))) },
      },
    },
  }
}

async function make(keyless: Keyless, log: TestLog): Promise<Made & { key: TestKey }> {
  const { key, certificate } = await keyless.certify()
  const signature = key.sign(FILE)
  return {
    key,
    signature,
    certificate,
    stamps: [await keyless.stamp(signature, false)],
    entries: [log.append(hashedrekord(DIGEST, signature, certificate), { time: Date.now() })],
  }
}

function bundle({ signature, certificate, stamps, entries }: Made): string {
  return JSON.stringify({
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: {
      certificate: { rawBytes: toBase64(certificate) },
      tlogEntries: entries.map((entry) => ({
        logIndex: String(entry.logIndex),
        logId: { keyId: toBase64(fromHex(entry.logId, 'log id')) },
        kindVersion: { kind: 'hashedrekord', version: '0.0.1' },
        integratedTime: String(entry.integratedTime),
        inclusionPromise: { signedEntryTimestamp: toBase64(entry.set) },
        inclusionProof: {
          logIndex: String(entry.inclusionProof.index),
          rootHash: toBase64(entry.inclusionProof.rootHash),
          treeSize: String(entry.inclusionProof.treeSize),
          hashes: entry.inclusionProof.hashes.map(toBase64),
          checkpoint: { envelope: entry.inclusionProof.checkpoint },
        },
        canonicalizedBody: toBase64(entry.body),
      })),
      timestampVerificationData: {
        rfc3161Timestamps: stamps.map((stamp) => ({ signedTimestamp: toBase64(stamp) })),
      },
    },
    messageSignature: {
      messageDigest: {
        algorithm: 'SHA2_256',
        digest: createHash('sha256').update(FILE).digest('base64'),
      },
      signature: toBase64(signature),
    },
  })
}

/** A trusted root as it is carried in, with validity from `start`. */
function trustedRoot(keyless: Keyless, start = Date.now() - DAY, end: number | null = null) {
  const validFor = {
    start: new Date(start).toISOString(),
    ...(end === null ? {} : { end: new Date(end).toISOString() }),
  }
  const authority = (chain: readonly Uint8Array[]) => ({
    uri: 'http://authority.test',
    certChain: { certificates: chain.map((der) => ({ rawBytes: toBase64(der) })) },
    validFor,
  })
  const { ctKey } = keyless
  return trustFromRoot(
    parseTrustedRoot(
      JSON.stringify({
        mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
        certificateAuthorities: [authority(keyless.fulcioChain)],
        timestampAuthorities: [authority(keyless.tsaChain)],
        ctlogs:
          ctKey === null
            ? []
            : [
                {
                  baseUrl: 'http://ct.test',
                  hashAlgorithm: 'SHA2_256',
                  publicKey: {
                    rawBytes: toBase64(ctKey.publicKey.spki),
                    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
                    validFor,
                  },
                  logId: { keyId: toBase64(fromHex(ctKey.publicKey.id, 'id')) },
                },
              ],
      }),
    ),
  )
}

void t.test(
  'keyless evidence made by a real Fulcio and a real time-stamping authority',
  needs('fulcio', 'timestamp-server'),
  async (t) => {
    const keyless = await startKeyless(t, true)
    const log = new TestLog()
    const now = Date.now() + 1000
    const trust: Trust = {
      ...trustedRoot(keyless),
      logs: trustIn([], [log]).logs.map((one) => ({
        ...one,
        validFor: { start: now - DAY, end: null },
      })),
      keys: [],
    }
    const signer = { subject: { exact: EMAIL }, issuer: { exact: keyless.issuer } }
    const made = await make(keyless, log)
    const ask = (
      changes: Partial<Made> = {},
      policy: Policy = { signer },
      believed: Trust = trust,
    ) =>
      verifyBlobBundle({
        bundleText: bundle({ ...made, ...changes }),
        digest: DIGEST,
        trust: believed,
        policy,
        now,
      })

    t.match(await ask(), {
      outcome: 'verified',
      unchecked: [],
      evidence: {
        identity: { subjects: [EMAIL], issuer: keyless.issuer },
        times: [Number, Number],
      },
    })
    t.match(await ask({ stamps: [] }), { outcome: 'verified' }, 'by the time of the log alone')
    t.match(
      await ask({ entries: [] }, { signer, requireLog: false }),
      { outcome: 'verified', unchecked: ['transparency log'] },
      'by the time stamp alone',
    )
    t.match(
      await ask({ stamps: [await keyless.stamp(made.signature, true)] }),
      { outcome: 'verified' },
      'with the certificate of the authority in the token',
    )

    await t.test('patterns must match all of a name', async (t) => {
      const by = (subject: string, issuer: string) =>
        ask(
          {},
          {
            signer: {
              subject: { pattern: compilePattern(subject) },
              issuer: { pattern: compilePattern(issuer) },
            },
          },
        )
      t.match(await by('.*@corp\\.test', 'http://127\\.0\\.0\\.1:[0-9]+'), { outcome: 'verified' })
      t.match(await by('builder', '.*'), { reason: 'SUBJECT_MISMATCH' })
      t.match(await by('.*', 'http://127'), { reason: 'ISSUER_MISMATCH' })
    })
    await t.test('another identity, another issuer and another workflow are refused', async (t) => {
      const { issuer } = signer
      t.match(await ask({}, { signer: { subject: { exact: `x${EMAIL}` }, issuer } }), {
        reason: 'SUBJECT_MISMATCH',
      })
      t.match(await ask({}, { signer: { ...signer, issuer: { exact: `${keyless.issuer}/` } } }), {
        reason: 'ISSUER_MISMATCH',
      })
      t.match(await ask({}, { signer: { ...signer, workflow: { ref: 'refs/heads/main' } } }), {
        reason: 'WORKFLOW_MISMATCH',
      })
      t.match(await ask({}, { signer: { ...signer, issuer: null } }), { reason: 'POLICY_INVALID' })
      t.match(await ask({}, {}), { reason: 'UNSUPPORTED' }, 'a key was asked for')
    })
    await t.test('one day outside is refused', async (t) => {
      const at = (time: number) =>
        ask({
          entries: [log.append(hashedrekord(DIGEST, made.signature, made.certificate), { time })],
          stamps: [],
        })
      t.match(await at(now - DAY + 60_000), { reason: 'CERTIFICATE_OUTSIDE_VALIDITY' })
      t.match(await at(now + DAY), { reason: 'LOG_TIME_INVALID' })
      const later = { ...trustedRoot(keyless, now + DAY), logs: trust.logs, keys: [] }
      t.match(await ask({ stamps: [] }, { signer }, later), {
        reason: 'CERTIFICATE_OUTSIDE_VALIDITY',
      })
      t.match(
        await ask({}, { signer }, { ...trust, timestampAuthorities: later.timestampAuthorities }),
        { reason: 'TIMESTAMP_INVALID' },
      )
      t.match(await ask({}, { signer }, { ...trust, ctLogs: later.ctLogs }), {
        reason: 'SCT_INVALID',
      })
    })
    await t.test('time and log are demanded', async (t) => {
      t.match(await ask({ entries: [] }), { reason: 'LOG_ENTRY_MISSING' })
      t.match(await ask({ stamps: [] }, { signer, timestampThreshold: 1 }), {
        reason: 'THRESHOLD_NOT_MET',
      })
      t.match(
        await ask({ stamps: [...made.stamps, ...made.stamps] }, { signer, timestampThreshold: 2 }),
        { reason: 'THRESHOLD_NOT_MET' },
        'one authority twice is one',
      )
      t.match(await ask({}, { signer, logThreshold: 2 }), { reason: 'THRESHOLD_NOT_MET' })
      for (const wrong of [0, -1, 1.5, Number.NaN]) {
        t.match(await ask({}, { signer, logThreshold: wrong }), { reason: 'POLICY_INVALID' })
      }
    })
    await t.test('valid but unrelated parts are refused', async (t) => {
      const other = await make(keyless, log)
      t.match(
        await ask({ certificate: other.certificate }),
        { reason: 'SIGNATURE_INVALID' },
        'certificate',
      )
      t.match(
        await ask({ signature: other.signature }),
        { reason: 'SIGNATURE_INVALID' },
        'signature',
      )
      t.match(await ask({ entries: other.entries }), { reason: 'ENTRY_MISMATCH' }, 'entry')
      t.match(await ask({ stamps: other.stamps }), { reason: 'TIMESTAMP_INVALID' }, 'time stamp')
      const again = made.key.sign(FILE)
      t.match(
        await ask({ signature: again, stamps: [] }),
        { reason: 'ENTRY_MISMATCH' },
        'another signature by the same key',
      )
      t.match(await ask({ signature: again, entries: [] }, { signer, requireLog: false }), {
        reason: 'TIMESTAMP_INVALID',
      })
      t.match(await ask({}, { signer }, { ...trust, authorities: [] }), {
        reason: 'CERTIFICATE_UNTRUSTED',
      })
      t.match(await ask({}, { signer }, { ...trust, authorities: trust.timestampAuthorities }), {
        reason: 'CERTIFICATE_UNTRUSTED',
      })
      t.match(await ask({}, { signer }, { ...trust, ctLogs: [] }), { reason: 'SCT_INVALID' })
      const foreign = trust.ctLogs?.map((ct) => ({ ...ct, key: made.key.publicKey }))
      t.match(await ask({}, { signer }, { ...trust, ctLogs: foreign }), { reason: 'SCT_INVALID' })
    })
    await t.test('no changed byte of the certificate or the time stamp is accepted', async (t) => {
      const flip = (bytes: Uint8Array, at: number) =>
        bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))
      let accepted = 0
      for (let at = 0; at < made.certificate.length; at += 7) {
        const { outcome } = await ask({ certificate: flip(made.certificate, at) })
        if (outcome === 'verified') accepted++
      }
      t.equal(accepted, 0, 'certificate')
      const [stamp = new Uint8Array()] = made.stamps
      const good: number[] = []
      for (let at = 0; at < stamp.length; at += 3) {
        const policy = { signer, requireLog: false, timestampThreshold: 1 }
        const { outcome } = await ask({ stamps: [flip(stamp, at)], entries: [] }, policy)
        if (outcome === 'verified') good.push(at)
      }
      t.strictSame(good, [], 'time stamp')
    })
    await t.test('legacy layers carry certificate and time stamp in annotations', async (t) => {
      const { key, certificate } = await keyless.certify()
      const signed = signLegacy(DIGEST, key, log, { time: Date.now() })
      const entry = log.append(
        hashedrekord(digestOf(signed.payload), signed.signature, certificate),
        { time: Date.now() },
      )
      const layer = legacyLayer({ ...signed, entry })
      const stamp = await keyless.stamp(signed.signature, false)
      const annotations = {
        ...layer.annotations,
        'dev.sigstore.cosign/certificate': toPem('CERTIFICATE', certificate),
        'dev.sigstore.cosign/chain': keyless.fulcioChain
          .map((der) => toPem('CERTIFICATE', der))
          .join(''),
        'dev.sigstore.cosign/rfc3161timestamp': JSON.stringify({
          SignedRFC3161Timestamp: toBase64(stamp),
        }),
      }
      const question = {
        digest: DIGEST,
        trust,
        policy: { signer, timestampThreshold: 1 },
        now: Date.now() + 1000,
      }
      t.match(await verifyLegacySignature({ ...question, layer: { ...layer, annotations } }), {
        outcome: 'verified',
      })
      const bare = legacyLayer(signed)
      t.match(
        await verifyLegacySignature({
          ...question,
          layer: {
            ...layer,
            annotations: {
              ...annotations,
              'dev.sigstore.cosign/bundle': bare.annotations['dev.sigstore.cosign/bundle'] ?? '',
            },
          },
        }),
        { reason: 'ENTRY_MISMATCH' },
        'the entry of the bare key',
      )
      t.match(
        await verifyLegacySignature({ ...question, layer: bare }),
        { reason: 'UNSUPPORTED' },
        'no certificate',
      )
      const { 'dev.sigstore.cosign/certificate': _left, ...without } = annotations
      t.match(
        await verifyLegacySignature({ ...question, layer: { ...layer, annotations: without } }),
        { reason: 'BUNDLE_INVALID' },
        'a chain without its certificate',
      )
    })
  },
)

void t.test(
  'a Fulcio without certificate transparency: refused unless the policy does without',
  needs('fulcio', 'timestamp-server'),
  async (t) => {
    const keyless = await startKeyless(t, false)
    const log = new TestLog()
    const made = await make(keyless, log)
    const signer = { subject: { exact: EMAIL }, issuer: { exact: keyless.issuer } }
    const question = {
      bundleText: bundle({ ...made, entries: [] }),
      digest: DIGEST,
      trust: { ...trustedRoot(keyless), keys: [] },
      now: Date.now() + 1000,
    }
    t.match(await verifyBlobBundle({ ...question, policy: { signer, requireLog: false } }), {
      reason: 'SCT_INVALID',
    })
    t.match(
      await verifyBlobBundle({
        ...question,
        policy: { signer, requireLog: false, requireSct: false },
      }),
      {
        outcome: 'verified',
        unchecked: ['transparency log', 'certificate transparency'],
      },
    )
  },
)
