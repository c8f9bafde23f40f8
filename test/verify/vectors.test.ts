import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { publicKeyFromPem, toHex, verifyMessage, type Digest } from '../../src/core/index.ts'
import {
  parseBundle,
  parseRekorBundleAnnotation,
  parseTrustedRoot,
  signedEntryTimestampPayload,
} from '../../src/sigstore/index.ts'
import { leafHash, verifyInclusion } from '../../src/tlog/index.ts'
import { checkCheckpoint } from '../../src/verify/checkpoint.ts'
import {
  trustFromRoot,
  verifyBlobBundle,
  verifyLegacySignature,
  type TrustedKey,
  type TrustedLog,
} from '../../src/verify/index.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const NOW = Date.UTC(2026, 10, 24)
const read = (...path: string[]): Buffer => readFileSync(join(vectorsDirectory() ?? '', ...path))
const readText = (...path: string[]): string => read(...path).toString()
const readJson = (...path: string[]): unknown => JSON.parse(readText(...path))
const keyFrom = (...path: string[]): TrustedKey => ({
  name: path.at(-1) ?? '',
  key: publicKeyFromPem(readText(...path)),
  validFor: null,
})

interface BundleCase {
  readonly name: string
  readonly expect: 'pass' | 'fail'
  readonly mode: 'key' | 'identity'
  readonly bundle: string
  readonly trustedRoot: string
  readonly artifactDigest: Digest
  readonly key?: string
}

void t.test(
  'sigstore-conformance: plain keys get the expected verdict, certificates count for no key',
  NEEDS_VECTORS,
  async (t) => {
    const at = 'sigstore-bundles'
    const { cases } = readJson(at, 'index.json') as { cases: BundleCase[] }
    t.ok(cases.length >= 41)
    for (const one of cases) {
      const { logs } = trustFromRoot(parseTrustedRoot(readText(at, one.trustedRoot)))
      if (one.name === 'managed-key-wrong-key_fail') {
        // This key's PEM is not canonical base64, so that it is refused before any bundle.
        t.throws(() => keyFrom(at, one.key ?? ''), { code: 'KEY_INVALID' })
        continue
      }
      const keys = one.key === undefined ? [] : [keyFrom(at, one.key)]
      const verdict = await verifyBlobBundle({
        bundleText: readText(at, one.bundle),
        digest: one.artifactDigest,
        trust: { keys, logs },
        policy: {},
        now: NOW,
      })
      if (one.mode === 'key')
        t.equal(verdict.outcome, one.expect === 'pass' ? 'verified' : 'rejected', one.name)
      else t.equal(verdict.outcome, 'rejected', one.name)
    }
  },
)

void t.test(
  'sigstore-conformance: a plain-key bundle fails with another key, digest or root',
  NEEDS_VECTORS,
  async (t) => {
    const at = 'sigstore-bundles'
    const { cases } = readJson(at, 'index.json') as { cases: BundleCase[] }
    const one = cases.find(({ name }) => name === 'managed-key-happy-path')
    if (one?.key === undefined) throw new Error('the case is gone')
    const { logs } = trustFromRoot(parseTrustedRoot(readText(at, one.trustedRoot)))
    const right = {
      bundleText: readText(at, one.bundle),
      digest: one.artifactDigest,
      trust: { keys: [keyFrom(at, one.key)], logs },
      policy: {},
      now: NOW,
    }
    t.match(await verifyBlobBundle(right), { outcome: 'verified' })
    const foreign = [keyFrom('cosign-legacy', 'keys/cosign.pub')]
    t.match(await verifyBlobBundle({ ...right, trust: { keys: foreign, logs } }), {
      reason: 'KEY_MISMATCH',
    })
    t.match(await verifyBlobBundle({ ...right, digest: `sha256:${'0'.repeat(64)}` }), {
      reason: 'DIGEST_MISMATCH',
    })
    t.match(await verifyBlobBundle({ ...right, trust: { keys: right.trust.keys, logs: [] } }), {
      reason: 'LOG_UNKNOWN',
    })
    t.match(await verifyBlobBundle({ ...right, now: 0 }), { reason: 'LOG_TIME_INVALID' })
  },
)

interface LegacyCase {
  readonly dir: string
  readonly manifestDigest: Digest
  readonly signatures: readonly {
    readonly file: string
    readonly verify: readonly { readonly key: string; readonly expect: 'pass' | 'fail' }[]
  }[]
}

void t.test(
  'signatures that cosign and skopeo made verify with their keys only',
  NEEDS_VECTORS,
  async (t) => {
    const at = 'cosign-legacy'
    const { cases } = readJson(at, 'index.json') as { cases: LegacyCase[] }
    const rekor = publicKeyFromPem(readText(at, 'keys/rekor.pub'))
    const logs: TrustedLog[] = [
      {
        key: rekor,
        logId: rekor.id,
        validFor: { start: 0, end: null },
        host: 'rekor.sigstore.dev',
      },
    ]
    let logged = 0
    for (const { dir, manifestDigest, signatures } of cases) {
      for (const { file, verify } of signatures) {
        const stored = read(at, file)
        const parsed = JSON.parse(stored.subarray(stored.indexOf(10) + 1).toString()) as {
          payload: string
          annotations: Record<string, string>
        }
        const layer = {
          payload: Buffer.from(parsed.payload, 'base64'),
          annotations: parsed.annotations,
        }
        const hasEntry = 'dev.sigstore.cosign/bundle' in parsed.annotations
        for (const { key, expect } of verify) {
          const question = {
            layer,
            digest: manifestDigest,
            trust: { keys: [keyFrom(at, key)], logs },
            now: NOW,
          }
          const verdict = await verifyLegacySignature({
            ...question,
            policy: { requireLog: hasEntry },
          })
          t.equal(
            verdict.outcome,
            expect === 'pass' ? 'verified' : 'rejected',
            `${dir} ${file} ${key}`,
          )
          if (hasEntry && expect === 'pass') {
            logged++
            t.ok(verdict.evidence.entry, 'with its log entry')
            const untrusted = { ...question, trust: { ...question.trust, logs: [] }, policy: {} }
            t.match(await verifyLegacySignature(untrusted), { reason: 'LOG_UNKNOWN' })
          } else if (expect === 'pass') {
            t.match(await verifyLegacySignature({ ...question, policy: {} }), {
              reason: 'LOG_ENTRY_MISSING',
            })
          }
        }
      }
    }
    t.ok(logged > 0)
  },
)

void t.test(
  'a signed entry timestamp of the public log verifies over the bytes we make',
  NEEDS_VECTORS,
  async (t) => {
    const entry = parseRekorBundleAnnotation(readText('cosign-legacy/rekor-set/rekor-set.json'))
    const key = publicKeyFromPem(readText('cosign-legacy/keys/rekor.pub'))
    t.equal(entry.logIndex, 8949589)
    t.ok(
      await verifyMessage(
        key,
        'sha256',
        signedEntryTimestampPayload(entry),
        entry.set ?? new Uint8Array(),
      ),
    )
    const later = { ...entry, integratedTime: entry.integratedTime + 1 }
    t.notOk(
      await verifyMessage(
        key,
        'sha256',
        signedEntryTimestampPayload(later),
        entry.set ?? new Uint8Array(),
      ),
    )
  },
)

interface RekorVector {
  readonly name: string
  readonly bundle: string
  readonly leafHash: string
  readonly setPayload: string
}

void t.test(
  'entries of the public Rekor v1 log: leaf, proof, checkpoint and timestamp verify',
  NEEDS_VECTORS,
  async (t) => {
    const { vectors } = readJson('rekor-v1', 'index.json') as { vectors: RekorVector[] }
    const key = publicKeyFromPem(readText('rekor-v1/log-public-key.pem'))
    const log = {
      key,
      logId: key.id,
      validFor: { start: 0, end: null },
      host: 'rekor.sigstore.dev',
    }
    for (const { name, bundle, leafHash: leaf, setPayload } of vectors) {
      const [entry] = parseBundle(readText('rekor-v1', bundle)).entries
      const proof = entry?.inclusionProof
      if (entry === undefined || proof === null || proof === undefined) {
        t.fail(`${name} has no entry with proof`)
        continue
      }
      t.equal(toHex(leafHash(entry.body)), leaf, name)
      t.ok(verifyInclusion({ ...proof, leafHash: leafHash(entry.body) }), `${name}: proof`)
      t.equal(await checkCheckpoint(proof, log), null, `${name}: checkpoint`)
      t.match(await checkCheckpoint(proof, { ...log, host: 'rekor.example' }), {
        reason: 'CHECKPOINT_INVALID',
      })
      t.match(await checkCheckpoint({ ...proof, treeSize: proof.treeSize + 1 }, log), {
        reason: 'CHECKPOINT_INVALID',
      })
      if (entry.set === null) continue
      t.equal(
        Buffer.from(signedEntryTimestampPayload(entry)).toString(),
        setPayload,
        `${name}: timestamp bytes`,
      )
      t.ok(
        await verifyMessage(key, 'sha256', signedEntryTimestampPayload(entry), entry.set),
        `${name}: timestamp`,
      )
    }
  },
)
