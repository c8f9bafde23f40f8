import t from 'tap'
import { sha256Hex, toPem, utf8 } from '../../src/core/index.ts'
import { envelopeText, IN_TOTO_TYPE, pae, type EntryBody } from '../../src/sigstore/index.ts'
import { checkBinding, type Bound } from '../../src/verify/binding.ts'
import { testKey } from '../support/evidence.ts'

const key = testKey()
const stranger = testKey()
const payload = utf8('{"a":"statement"}')
const message = pae(IN_TOTO_TYPE, payload)
const signature = key.sign(message)
const text = envelopeText({
  payload,
  payloadType: IN_TOTO_TYPE,
  signatures: [{ sig: signature, keyid: '' }],
})
const pem = key.publicKey.pem
const certificate = utf8('the bytes of a certificate')
const certificatePem = toPem('CERTIFICATE', certificate)
const bound: Bound = {
  signature,
  key: key.publicKey,
  certificate: null,
  hash: 'sha256',
  signedHash: (algorithm) => (algorithm === 'sha256' ? sha256Hex(message) : null),
  envelope: { payload, payloadType: IN_TOTO_TYPE, text },
}
const certified: Bound = { ...bound, certificate }
const sha256 = (of: Uint8Array | string) => ({ algorithm: 'sha256', value: sha256Hex(of) }) as const
const ours = { signature, verifierPem: pem }

const hashedrekord = {
  kind: 'hashedrekord',
  version: '0.0.1',
  hash: sha256(message),
  ...ours,
} as const
const dsse = {
  kind: 'dsse',
  version: '0.0.1',
  envelopeHash: sha256(text),
  payloadHash: sha256(payload),
  signatures: [ours],
} as const
const intoto2 = {
  kind: 'intoto',
  version: '0.0.2',
  payloadType: IN_TOTO_TYPE,
  payloadHash: sha256(payload),
  signatures: [ours],
} as const
const intoto1 = {
  kind: 'intoto',
  version: '0.0.1',
  envelopeHash: sha256(text),
  payloadHash: sha256(payload),
  verifierPem: pem,
} as const

const other = sha256('something else')
const wrongAlgorithm = { algorithm: 'sha512', value: sha256Hex(payload) } as const
const otherSignature = { signature: key.sign(message), verifierPem: pem }
const otherKey = { signature, verifierPem: stranger.publicKey.pem }

await t.test('the entry of a signature is bound to it, whatever its kind', (t) => {
  for (const body of [hashedrekord, dsse, intoto2, intoto1]) {
    t.equal(checkBinding(body, bound), null, `${body.kind} ${body.version}`)
  }
  t.end()
})

/** Bodies that differ from ours in one respect, each valid by itself. */
const WRONG: readonly (readonly [string, EntryBody, RegExp])[] = [
  ['hash', { ...hashedrekord, hash: other }, /another hash /],
  ['hash algorithm', { ...hashedrekord, hash: wrongAlgorithm }, /another hash algorithm/],
  ['signature', { ...hashedrekord, ...otherSignature }, /another signature /],
  ['key', { ...hashedrekord, ...otherKey }, /another key /],
  [
    'certificate',
    { ...hashedrekord, verifierPem: toPem('CERTIFICATE', key.publicKey.spki) },
    /another key /,
  ],
  ['no PEM', { ...hashedrekord, verifierPem: 'x' }, /another key /],
  ['payload', { ...dsse, payloadHash: other }, /another payload /],
  ['payload hash algorithm', { ...dsse, payloadHash: wrongAlgorithm }, /another kind /],
  ['signature', { ...dsse, signatures: [otherSignature] }, /another signature /],
  ['key', { ...dsse, signatures: [otherKey] }, /another key /],
  ['no signature', { ...dsse, signatures: [] }, /another number of signatures/],
  ['a signature more', { ...dsse, signatures: [ours, ours] }, /another number of signatures/],
  ['payload', { ...intoto2, payloadHash: other }, /another payload /],
  ['payload hash algorithm', { ...intoto2, payloadHash: wrongAlgorithm }, /another kind /],
  ['payload type', { ...intoto2, payloadType: 'text/plain' }, /another payload type/],
  ['signature', { ...intoto2, signatures: [otherSignature] }, /another signature /],
  ['key', { ...intoto2, signatures: [otherKey] }, /another key /],
  [
    'a signature more',
    { ...intoto2, signatures: [ours, otherKey] },
    /another number of signatures/,
  ],
  ['envelope', { ...intoto1, envelopeHash: other }, /another envelope /],
  [
    'envelope hash algorithm',
    { ...intoto1, envelopeHash: wrongAlgorithm },
    /another hash algorithm/,
  ],
  ['payload', { ...intoto1, payloadHash: other }, /another payload /],
  ['key', { ...intoto1, verifierPem: stranger.publicKey.pem }, /another key /],
]

await t.test('an entry that differs in one respect is another one', (t) => {
  for (const [what, body, message] of WRONG) {
    const refused = checkBinding(body, bound)
    t.match(refused, { reason: 'ENTRY_MISMATCH', message }, `${body.kind} ${body.version}: ${what}`)
  }
  t.end()
})

await t.test('an entry of an envelope is none of a payload without one', (t) => {
  const message: Bound = { ...bound, envelope: null }
  t.equal(checkBinding(hashedrekord, message), null)
  t.match(checkBinding(dsse, message), { reason: 'ENTRY_MISMATCH', message: /another kind/ })
  t.match(checkBinding(intoto2, message), {
    reason: 'ENTRY_MISMATCH',
    message: /another payload type/,
  })
  t.match(checkBinding(intoto1, message), { reason: 'UNSUPPORTED' })
  t.match(
    checkBinding(intoto1, {
      ...bound,
      envelope: { payload, payloadType: IN_TOTO_TYPE, text: null },
    }),
    {
      reason: 'UNSUPPORTED',
      message: /does not bind a bundle/,
    },
  )
  t.match(checkBinding({ kind: 'other', name: 'rekord', version: '0.0.1' }, bound), {
    reason: 'UNSUPPORTED',
  })
  t.end()
})

await t.test('certificate and bare key of it are two signers', (t) => {
  const body = { ...hashedrekord, verifierPem: certificatePem }
  t.equal(checkBinding(body, certified), null)
  for (const verifierPem of [
    pem,
    toPem('CERTIFICATE', utf8('another certificate')),
    toPem('PUBLIC KEY', certificate),
    'x',
  ]) {
    const refused = checkBinding({ ...hashedrekord, verifierPem }, certified)
    t.match(refused, { reason: 'ENTRY_MISMATCH', message: /another certificate/ }, verifierPem)
  }
  t.end()
})

await t.test('Ed25519 signatures have no hash; the entry has the one of its kind', (t) => {
  const none: Bound = { ...bound, hash: null }
  t.equal(checkBinding(hashedrekord, none), null)
  t.match(checkBinding({ ...hashedrekord, hash: wrongAlgorithm }, none), {
    message: /another hash /,
  })
  t.match(checkBinding({ ...hashedrekord, hash: other }, none), { reason: 'ENTRY_MISMATCH' })
  t.end()
})
