import t from 'tap'
import { digestOf, sha256, toBase64, utf8 } from '../../src/core/index.ts'
import {
  pinnedAuthority,
  verifyBlobBundle,
  type Policy,
  type Trust,
} from '../../src/verify/index.ts'
import { AUTHORITY, issue, LEAF } from '../support/certificates.ts'
import { NOW } from '../support/evidence.ts'

const DAY = 86_400_000
const dates = { from: NOW - DAY, to: NOW + DAY }
const root = issue({ name: 'root', issuer: null, ...dates, extensions: AUTHORITY })
const middle = issue({ name: 'middle', issuer: root, ...dates, extensions: AUTHORITY })
const leaf = issue({ name: 'leaf', issuer: middle, ...dates, extensions: LEAF })
const file = utf8('a file\n')
const always = { start: 0, end: null }
const signer = { subject: { exact: 'signer@corp.test' }, issuer: null }
const policy: Policy = { signer, requireLog: false, requireSct: false }

const bundleText = JSON.stringify({
  mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
  verificationMaterial: {
    x509CertificateChain: {
      certificates: [leaf, middle].map(({ der }) => ({ rawBytes: toBase64(der) })),
    },
  },
  messageSignature: {
    messageDigest: { algorithm: 'SHA2_256', digest: toBase64(sha256(file)) },
    signature: toBase64(leaf.key.sign(file)),
  },
})

const ask = (authorities: Trust['authorities'], demanded: Policy = policy, now = NOW) =>
  verifyBlobBundle({
    bundleText,
    digest: digestOf(file),
    trust: { keys: [], logs: [], authorities },
    policy: demanded,
    now,
  })

void t.test(
  'an own PKI is pinned by its root; signatures bring the certificates between',
  async (t) => {
    const pinned = pinnedAuthority('own', [root.der], always)
    t.match(await ask([pinned]), {
      outcome: 'verified',
      unchecked: ['transparency log', 'time of signing', 'certificate transparency'],
    })
    t.match(await ask([pinned], policy, NOW + 2 * DAY), { reason: 'CERTIFICATE_OUTSIDE_VALIDITY' })
    t.match(await ask([pinned], { ...policy, requireSct: true }), { reason: 'SCT_INVALID' })
    t.match(await ask([pinned], { signer }), { reason: 'LOG_ENTRY_MISSING' })
    const other = issue({ name: 'root', issuer: null, ...dates, extensions: AUTHORITY })
    t.match(await ask([pinnedAuthority('other', [other.der], always)]), {
      reason: 'CERTIFICATE_UNTRUSTED',
    })
    const issuer = { exact: 'https://id.test' }
    t.match(await ask([pinned], { ...policy, signer: { ...signer, issuer } }), {
      reason: 'ISSUER_MISMATCH',
    })
    const carried = { ...pinned, pinned: false }
    t.match(await ask([carried]), { reason: 'CERTIFICATE_UNTRUSTED' }, 'a root that was carried in')
  },
)
