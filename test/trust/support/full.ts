import { generateKeyPairSync } from 'node:crypto'
import { toBase64, type JsonObject } from '../../../src/core/index.ts'
import { compileTrustFiles, type TrustFile } from '../../../src/trust/index.ts'
import { AUTHORITY, issue } from '../../support/certificates.ts'
import { CREATED, DAY, document, rootWithLog, seal, signerKey, testKey } from './fixture.ts'

/** The files of a bundle that has something of everything: two keys, authorities, a carried enclave, a revoked image, two policies, a mirror. */
export function fullTrustFiles(): ReadonlyMap<string, TrustFile> {
  const [root, log, farLog] = [testKey('root'), testKey('log'), testKey('far-log')]
  const [now, old, far] = [testKey('now'), testKey('old'), testKey('far')]
  const trustedRoot = rootWithLog(farLog.key, 'http://far.test')
  const inner = seal(document([root], far, farLog, { enclave: 'far.test', trustedRoot }), [root])
  const content = document([root], now, log, {
    keys: [signerKey(old, { state: 'verify-only' }), signerKey(now)],
    foreign: [
      { kind: 'enclave', name: 'far.test', fetched: CREATED, source: 'medium', bundle: inner },
    ],
    revocations: {
      keys: [],
      images: [
        { digest: `sha256:${'cd'.repeat(32)}`, repository: 'r.test/app', reason: 'vulnerable' },
      ],
      entries: [],
    },
    policies: [
      { name: 'all', scope: '*', keys: null },
      { name: 'team', scope: 'r.test/team', keys: ['now'] },
    ],
    tuf: { mirror: 'http://airseal.test:8470/tuf', root: new Uint8Array([123, 125]) },
  })
  const whole = { ...content.trustedRoot, ...authorities() }
  return compileTrustFiles(seal({ ...content, trustedRoot: whole }, [root]))
}

function authorities(): JsonObject {
  const subject = 'enclave authority'
  const [from, to] = [CREATED, CREATED + 3650 * DAY]
  const { der } = issue({ name: subject, issuer: null, from, to, extensions: AUTHORITY })
  const authority = (uri: string): JsonObject => ({
    subject: { organization: 'enclave', commonName: subject },
    uri,
    certChain: { certificates: [{ rawBytes: toBase64(der) }] },
    validFor: { start: '2026-01-01T00:00:00Z' },
  })
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return {
    certificateAuthorities: [authority('https://fulcio.airseal.test')],
    timestampAuthorities: [authority('https://tsa.airseal.test/api/v1/timestamp')],
    ctlogs: [
      {
        baseUrl: 'https://ct.airseal.test',
        hashAlgorithm: 'SHA2_256',
        publicKey: {
          rawBytes: spki.toString('base64'),
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
          validFor: { start: '2026-01-01T00:00:00Z' },
        },
        logId: { keyId: toBase64(new Uint8Array(32).fill(7)) },
      },
    ],
  }
}
