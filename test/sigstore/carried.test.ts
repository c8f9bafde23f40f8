import t from 'tap'
import { toBase64, toPem } from '../../src/core/index.ts'
import { parseVerifyRequest } from '../../src/evidence/request.ts'
import {
  parseCertificateAnnotations,
  parseEntryBody,
  parseTimestampAnnotation,
  parseTrustedRoot,
} from '../../src/sigstore/index.ts'
import { compilePattern } from '../../src/verify/index.ts'
import { testKey } from '../support/evidence.ts'

const bytes = Buffer.from('der')
const pem = toPem('CERTIFICATE', bytes)
const bad = { code: 'BUNDLE_INVALID' }

void t.test('certificate and time stamp are read from legacy annotations, strictly', async (t) => {
  t.strictSame(parseCertificateAnnotations(pem, `${pem}\n${pem}`)?.length, 3)
  t.equal(parseCertificateAnnotations('', ''), null)
  t.equal(parseCertificateAnnotations(undefined, undefined), null)
  t.throws(() => parseCertificateAnnotations(undefined, pem), bad, 'a chain alone')
  t.throws(() => parseCertificateAnnotations(`${pem}${pem}`, ''), bad, 'two leaves')
  t.throws(() => parseCertificateAnnotations(`x${pem}`, ''), bad)
  t.throws(() => parseCertificateAnnotations(pem, pem.repeat(20)), bad, 'too many')
  t.throws(() => parseCertificateAnnotations(toPem('PUBLIC KEY', bytes), ''), bad)
  const stamp = (value: unknown) => parseTimestampAnnotation(JSON.stringify(value))
  t.strictSame(stamp({ SignedRFC3161Timestamp: toBase64(bytes) }), [bytes])
  t.strictSame(parseTimestampAnnotation(undefined), [])
  t.throws(() => stamp({ SignedRFC3161Timestamp: '' }), bad)
  t.throws(() => stamp({ signedRFC3161Timestamp: toBase64(bytes) }), bad)
})

void t.test(
  'a trusted root without a start of validity is refused, wherever it is missing',
  async (t) => {
    const certChain = { certificates: [{ rawBytes: toBase64(bytes) }] }
    const log = {
      baseUrl: 'https://log.test',
      hashAlgorithm: 'SHA2_256',
      publicKey: { rawBytes: toBase64(testKey().publicKey.spki) },
      logId: { keyId: toBase64(Buffer.alloc(32)) },
    }
    const start = '2026-01-01T00:00:00Z'
    const read = (member: string, item: unknown) =>
      parseTrustedRoot(
        JSON.stringify({
          mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
          [member]: [item],
        }),
      )
    for (const member of ['certificateAuthorities', 'timestampAuthorities']) {
      t.ok(read(member, { certChain, validFor: { start } }))
      t.throws(() => read(member, { certChain }), { code: 'TRUST_INVALID' }, member)
      t.throws(() => read(member, { certChain, validFor: { end: start } }), {
        code: 'TRUST_INVALID',
      })
      t.throws(() => read(member, { certChain: {}, validFor: { start } }), {
        code: 'TRUST_INVALID',
      })
    }
    for (const member of ['tlogs', 'ctlogs']) {
      t.ok(read(member, { ...log, publicKey: { ...log.publicKey, validFor: { start } } }))
      t.throws(() => read(member, log), { code: 'TRUST_INVALID' }, member)
    }
  },
)

void t.test('a Rekor v2 entry names one hash and one key or certificate', async (t) => {
  const verifier = {
    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
    publicKey: { rawBytes: toBase64(bytes) },
  }
  const data = { algorithm: 'SHA2_256', digest: toBase64(Buffer.alloc(32)) }
  const content = toBase64(bytes)
  const read = (spec: unknown) =>
    parseEntryBody(
      Buffer.from(
        JSON.stringify({
          apiVersion: '0.0.2',
          kind: 'hashedrekord',
          spec: { hashedRekordV002: spec },
        }),
      ),
    )
  t.match(read({ data, signature: { content, verifier } }), {
    version: '0.0.2',
    hash: { algorithm: 'sha256', value: '0'.repeat(64) },
    verifierPem: toPem('PUBLIC KEY', bytes),
  })
  const both = { ...verifier, x509Certificate: { rawBytes: toBase64(bytes) } }
  const wrong = { code: 'ENTRY_INVALID' }
  t.throws(() => read({ data, signature: { content, verifier: both } }), wrong)
  t.throws(() => read({ data, signature: { content, verifier: {} } }), wrong)
  t.throws(
    () => read({ data: { ...data, algorithm: 'SHA1' }, signature: { content, verifier } }),
    wrong,
  )
  t.throws(
    () => read({ data: { ...data, digest: content }, signature: { content, verifier } }),
    wrong,
  )
  t.throws(() => read(null), wrong)
})

void t.test('patterns match a whole text, in linear time', async (t) => {
  const matches = (source: string, text: string) => compilePattern(source).matches(text)
  t.ok(matches('https://github\\.com/corp/.*', 'https://github.com/corp/a'))
  t.notOk(matches('https://github\\.com/corp/.*', 'https://githubXcom/corp/a'))
  t.notOk(matches('https://github.com/corp/.*', 'https://evil/?https://github.com/corp/a'))
  t.notOk(matches('^a|b$', 'ax'))
  t.notOk(matches('a', 'a\n'))
  t.notOk(matches('a.b', 'a\nb'))
  // The built-in engine needs seconds for 27 of these characters, and more than a lifetime for 4000.
  t.notOk(matches('(a+)+$', `${'a'.repeat(4000)}!`))
  t.throws(() => compilePattern('(a'), { code: 'REQUEST_INVALID' })
  t.throws(() => compilePattern('(?=a)b'), { code: 'REQUEST_INVALID' })
  t.throws(() => compilePattern(''), { code: 'REQUEST_INVALID' })
})

void t.test(
  'a request demands a certificate by identity and issuer, and never beside a key',
  async (t) => {
    const ask = (members: Record<string, unknown>) =>
      parseVerifyRequest({ images: ['registry.test/a'], ...(members as Record<string, string>) })
    const whole = { certificateIdentity: 'a@corp.test', certificateOidcIssuer: 'https://id.test' }
    const signerOf = async (members: Record<string, unknown>) => {
      const { asked } = await ask(members)
      return 'demands' in asked || 'policyName' in asked ? undefined : asked[0]?.identities[0]
    }
    t.match(await signerOf(whole), {
      subject: { exact: 'a@corp.test' },
      issuer: { exact: 'https://id.test' },
    })
    t.equal(await signerOf({}), undefined)
    const refused = { code: 'REQUEST_INVALID' }
    await t.rejects(ask({ certificateIdentity: 'a' }), refused)
    await t.rejects(ask({ certificateOidcIssuer: 'a' }), refused)
    await t.rejects(ask({ certificateGithubWorkflowRef: 'a' }), refused)
    await t.rejects(ask({ ...whole, certificateIdentityRegexp: 'a' }), refused)
    await t.rejects(ask({ ...whole, key: 'k' }), refused)
    await t.rejects(ask({ ...whole, certificateIdentityRegex: 'a' }), refused, 'misspelt')
    await t.rejects(ask({ ...whole, timestampThreshold: 0 }), refused)
    await t.rejects(ask({ ...whole, trustedRoot: 1 }), refused)
    await t.rejects(ask({ ...whole, trustedRoot: {} }), { code: 'TRUST_INVALID' })
  },
)
