import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AirsealError, publicKeyFromPem, type Digest } from '../../src/core/index.ts'
import { parseTrustedRoot } from '../../src/sigstore/index.ts'
import {
  trustFromRoot,
  verifyBlobBundle,
  type Policy,
  type Trust,
  type Verdict,
} from '../../src/verify/index.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const NOW = Date.UTC(2026, 10, 24)
const FOLDER = join(vectorsDirectory() ?? '', 'sigstore-bundles')

interface Case {
  readonly name: string
  readonly expect: 'pass' | 'fail'
  readonly bundle: string
  readonly trustedRoot: string
  readonly artifact: string
  readonly artifactDigest: Digest
  readonly key?: string
  readonly identity?: string
  readonly issuer?: string
}

/** Why each of the cases that must fail does. */
const REASON: Readonly<Record<string, string>> = {
  'bundle-empty-certificate-chain_fail': 'BUNDLE_INVALID',
  'bundle-from-wrong-instance_fail': 'LOG_UNKNOWN',
  'bundle-malformed-json_fail': 'BUNDLE_INVALID',
  'bundle-unknown-version_fail': 'BUNDLE_INVALID',
  'managed-key-wrong-key_fail': 'KEY_INVALID',
}

const read = (path: string): Buffer => readFileSync(join(FOLDER, path))
const cases = (): readonly Case[] =>
  (JSON.parse(read('index.json').toString()) as { cases: Case[] }).cases

/** The verdict, or the code with which key or root are refused before any. */
async function judge(
  one: Case,
  byPath: boolean,
): Promise<Pick<Verdict, 'outcome'> & { reason: string | null }> {
  try {
    const root = trustFromRoot(parseTrustedRoot(read(one.trustedRoot).toString()))
    const keys =
      one.key === undefined
        ? []
        : [{ name: 'given', key: publicKeyFromPem(read(one.key).toString()), validFor: null }]
    const trust: Trust = { keys, ...root }
    const policy: Policy =
      one.key === undefined
        ? {
            signer: { subject: { exact: one.identity ?? '' }, issuer: { exact: one.issuer ?? '' } },
          }
        : {}
    return await verifyBlobBundle({
      bundleText: read(one.bundle).toString(),
      digest: one.artifactDigest,
      ...(byPath ? { artifact: read(one.artifact) } : {}),
      trust,
      policy,
      now: NOW,
    })
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return { outcome: 'rejected', reason: thrown.code }
  }
}

void t.test(
  'every case of sigstore-conformance gets its verdict, by path and by digest',
  NEEDS_VECTORS,
  async (t) => {
    t.ok(cases().length >= 41)
    for (const one of cases()) {
      for (const byPath of [true, false]) {
        const verdict = await judge(one, byPath)
        t.equal(
          verdict.outcome,
          one.expect === 'pass' ? 'verified' : 'rejected',
          `${one.name} ${byPath ? 'by path' : 'by digest'} ${verdict.reason ?? ''}`,
        )
        if (REASON[one.name] !== undefined) t.equal(verdict.reason, REASON[one.name], one.name)
      }
    }
  },
)
