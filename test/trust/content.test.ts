import t from 'tap'
import {
  contentOf,
  differences,
  mergeRevocations,
  parseTrustProposal,
  proposalFile,
  proposalState,
  restricted,
  sealProposal,
  signedBytes,
  unsignedBundle,
  verifyTrustUpdate,
  withSignature,
  type TrustProposal,
} from '../../src/trust/index.ts'
import { sign } from 'node:crypto'
import { after, document, seal, signerKey, testKey, type TestKey } from './support/fixture.ts'

const [a, b] = [testKey('a'), testKey('b')]
const [signer, next, log] = [testKey('signing'), testKey('next'), testKey('log')]
const first = seal(document([a], signer, log), [a])
const logId = log.key.id

await t.test('content is what is said, not when; differences tell it in words', (t) => {
  t.equal(contentOf(first.document), contentOf(after(first)))
  const changed = after(first, {
    keys: [signerKey(signer, { state: 'verify-only', reason: 'old' }), signerKey(next)],
  })
  t.not(contentOf(first.document), contentOf(changed))
  t.same(differences(first.document, first.document), [])
  t.match(differences(first.document, changed), [
    /^\+ key next: active/,
    /^~ key signing: .*verify-only.*\(old\)/,
  ])
  t.end()
})

await t.test('what is taken back counts at once, what is added waits', (t) => {
  const wanted = after(first, {
    keys: [
      signerKey(signer, { state: 'compromised', validIn: [{ logId, first: null, last: 9 }] }),
      signerKey(next),
    ],
    revocations: {
      keys: [],
      images: [{ digest: `sha256:${'ab'.repeat(32)}`, repository: null, reason: 'bad' }],
      entries: [],
    },
    policies: [],
  })
  const now = restricted(first.document, wanted)
  t.same(
    now.keys.map(({ name, state, validIn }) => [name, state, validIn]),
    [['signing', 'compromised', [{ logId, first: null, last: 9 }]]],
  )
  t.equal(now.revocations.images.length, 1)
  t.equal(now.policies.length, 1, 'a policy that goes is no restriction')
  const back = restricted(wanted, first.document)
  t.same(
    back.keys.map(({ name, state, validIn }) => [name, state, validIn]),
    [['signing', 'compromised', [{ logId, first: null, last: 9 }]]],
    'nothing comes back without signatures',
  )
  t.end()
})

await t.test('two revocations of one key: the earlier place counts, and in two logs none', (t) => {
  const at = (index: number, id = logId) => ({
    keys: [{ keyId: 'aa'.repeat(32), from: { logId: id, index }, reason: `from ${index}` }],
    images: [],
    entries: [],
  })
  t.equal(mergeRevocations(at(7), at(3)).keys[0]?.from?.index, 3)
  t.equal(mergeRevocations(at(3), at(7)).keys[0]?.from?.index, 3)
  t.equal(mergeRevocations(at(3), at(7, 'bb'.repeat(32))).keys[0]?.from, null)
  t.end()
})

await t.test('a proposal gathers signatures of old and new roots, each key once', (t) => {
  const roots = { version: 2, threshold: 1, keys: [{ name: 'b', key: b.key }] }
  const unsigned = unsignedBundle(after(first, { roots }))
  const by = (proposal: TrustProposal, { key, privateKey }: TestKey) =>
    withSignature(proposal, {
      keyid: key.id,
      sig: sign('sha256', signedBytes(unsigned.payload), privateKey),
    })
  const empty: TrustProposal = { current: first, next: unsigned, signatures: [] }
  t.match(proposalState(empty), { missing: 1, missingNew: 1 })
  const one = parseTrustProposal(proposalFile(by(by(empty, a), a)))
  t.equal(one.signatures.length, 1)
  t.match(proposalState(one), { missing: 0, missingNew: 1 })
  t.throws(() => sealProposal(one), { code: 'TRUST_THRESHOLD' })
  const both = by(one, b)
  t.equal(verifyTrustUpdate(first, sealProposal(both)), true)
  const onlyNew = by(empty, b)
  t.throws(() => verifyTrustUpdate(first, sealProposal(onlyNew)), { code: 'TRUST_THRESHOLD' })
  t.throws(() => parseTrustProposal(proposalFile(both).subarray(0, 300)), {
    code: 'TRUST_BUNDLE_INVALID',
  })
  t.end()
})
