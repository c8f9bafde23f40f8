import t from 'tap'
import { AirsealError, fromUtf8, toBase64, utf8 } from '../../src/core/index.ts'
import { pae } from '../../src/sigstore/index.ts'
import { sign } from 'node:crypto'
import {
  bundleFile,
  chainAfter,
  parseTrustBundle,
  requireTimely,
  TRUST_PAYLOAD_TYPE,
  verifyTrustUpdate,
  type SignedTrustBundle,
  type TrustDocument,
} from '../../src/trust/index.ts'
import { after, CREATED, DAY, document, seal, signerKey, testKey } from './support/fixture.ts'

const [a, b, c] = [testKey('a'), testKey('b'), testKey('c')]
const [signer, log] = [testKey('signing'), testKey('log')]
const first = seal(document([a, b], signer, log), [a, b])

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return error instanceof AirsealError ? error.code : `not ours: ${String(error)}`
  }
  return 'none'
}

const rootsOf = (version: number, threshold: number, ...keys: (typeof a)[]) => ({
  version,
  threshold,
  keys: keys.map(({ name, key }) => ({ name, key })),
})

await t.test('a bundle is read as it was written', (t) => {
  const read = parseTrustBundle(bundleFile(first))
  t.same(bundleFile(read), bundleFile(first))
  t.equal(read.digest, first.digest)
  t.equal(read.document.keys[0]?.key.id, signer.key.id)
  t.end()
})

await t.test('a bundle needs the threshold of its own roots, in distinct keys', (t) => {
  t.equal(
    codeOf(() => seal(document([a, b], signer, log), [a])),
    'TRUST_THRESHOLD',
  )
  t.equal(
    codeOf(() => seal(document([a, b], signer, log), [a, a])),
    'TRUST_THRESHOLD',
  )
  t.equal(
    codeOf(() => seal(document([a, b], signer, log), [a, c])),
    'TRUST_THRESHOLD',
  )
  t.equal(
    codeOf(() => seal(document([a, b], signer, log), [c, b, a])),
    'none',
  )
  t.end()
})

await t.test('one changed byte anywhere in the payload is refused', (t) => {
  const file = JSON.parse(fromUtf8(bundleFile(first), 'file')) as { payload: string }
  const payload = Buffer.from(file.payload, 'base64')
  for (let at = 0; at < payload.length; at += 37) {
    const changed = Buffer.from(payload)
    changed[at] = (changed[at] ?? 0) ^ 1
    const bytes = utf8(JSON.stringify({ ...file, payload: toBase64(changed) }))
    t.match(
      codeOf(() => parseTrustBundle(bytes)),
      /^(?:TRUST_BUNDLE_INVALID|TRUST_THRESHOLD|TRUST_INVALID)$/,
      `byte ${at}`,
    )
  }
  t.end()
})

await t.test(
  'a payload with unknown, missing or wrong members is refused, whoever signed it',
  (t) => {
    const payload = JSON.parse(fromUtf8(first.envelope.payload, 'payload')) as Record<
      string,
      unknown
    >
    const cases: Record<string, Record<string, unknown>> = {
      'unknown member': { ...payload, zebra: 1 },
      'version 0': { ...payload, version: 0, previous: null },
      'version as text': { ...payload, version: '1' },
      'no time zone': { ...payload, created: '2026-11-24T00:00:00.000' },
      'day 31 of November': { ...payload, created: '2026-11-31T00:00:00.000Z' },
      'expires before it is made': { ...payload, expires: payload['created'] },
      'no key state of ours': {
        ...payload,
        keys: (payload['keys'] as object[]).map((key) => ({ ...key, state: 'trusted' })),
      },
      'threshold above the keys': {
        ...payload,
        roots: { ...(payload['roots'] as object), threshold: 3 },
      },
      'threshold 0': { ...payload, roots: { ...(payload['roots'] as object), threshold: 0 } },
      'one key under two names': {
        ...payload,
        keys: ['x', 'y'].map((name) => ({ ...(payload['keys'] as object[])[0], name })),
      },
      'scope with a pattern': {
        ...payload,
        policies: [{ name: 'p', scope: 'r.test/*', keys: null }],
      },
      'policy without any key': { ...payload, policies: [{ name: 'p', scope: '*', keys: [] }] },
      'log without start': {
        ...payload,
        trustedRoot: JSON.parse(
          JSON.stringify(payload['trustedRoot']).replace(/"start":"[^"]*"/, ''),
        ) as object,
      },
      'path in a name': { ...payload, enclave: '../etc' },
      'previous in the first version': { ...payload, previous: first.digest },
    }
    for (const [what, content] of Object.entries(cases)) {
      const sorted = JSON.stringify(content, (_, value: unknown) =>
        typeof value === 'object' && value !== null && !Array.isArray(value)
          ? Object.fromEntries(Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1)))
          : value,
      )
      t.match(
        codeOf(() => parseTrustBundle(signedText(sorted))),
        /^TRUST_(?:BUNDLE_)?INVALID$/,
        what,
      )
    }
    const spaced = JSON.stringify(payload, null, 1)
    t.equal(
      codeOf(() => parseTrustBundle(signedText(spaced))),
      'TRUST_BUNDLE_INVALID',
      'not canonical',
    )
    t.equal(
      codeOf(() => parseTrustBundle(signedText('[]'))),
      'TRUST_BUNDLE_INVALID',
    )
    t.equal(
      codeOf(() => parseTrustBundle(new Uint8Array())),
      'TRUST_BUNDLE_INVALID',
    )
    t.equal(
      codeOf(() => parseTrustBundle(new Uint8Array([0xff, 0xfe]))),
      'TRUST_BUNDLE_INVALID',
    )
    t.equal(
      codeOf(() => parseTrustBundle(bundleFile(first).subarray(0, 400))),
      'TRUST_BUNDLE_INVALID',
      'half-written',
    )
    t.end()
  },
)

/** The text as payload, correctly signed by both roots. */
function signedText(payload: string): Uint8Array {
  const bytes = utf8(payload)
  const signatures = [a, b].map(({ key, privateKey }) => ({
    keyid: key.id,
    sig: toBase64(sign('sha256', pae(TRUST_PAYLOAD_TYPE, bytes), privateKey)),
  }))
  return utf8(
    JSON.stringify({ payloadType: TRUST_PAYLOAD_TYPE, payload: toBase64(bytes), signatures }),
  )
}

await t.test('an update goes up, and is signed by the roots in force', (t) => {
  const second = seal(after(first), [a, b])
  t.equal(verifyTrustUpdate(first, second), true)
  t.equal(verifyTrustUpdate(first, first), false, 'the same again changes nothing')
  t.equal(
    codeOf(() => verifyTrustUpdate(second, first)),
    'TRUST_ROLLBACK',
  )
  const fork = seal({ ...document([a, b], signer, log), updateDays: 7 }, [a, b])
  t.equal(
    codeOf(() => verifyTrustUpdate(first, fork)),
    'TRUST_ROLLBACK',
    'another version 1',
  )
  const stranger = seal(after(first, { roots: rootsOf(1, 1, c) }), [c])
  t.equal(
    codeOf(() => verifyTrustUpdate(first, stranger)),
    'TRUST_CHAIN',
    'unknown roots, same version',
  )
  const usurper = seal(after(first, { roots: rootsOf(2, 1, c) }), [c])
  t.equal(
    codeOf(() => verifyTrustUpdate(first, usurper)),
    'TRUST_THRESHOLD',
    'unknown roots',
  )
  const few = seal(after(first, { roots: rootsOf(2, 1, a) }), [a])
  t.equal(
    codeOf(() => verifyTrustUpdate(first, few)),
    'TRUST_THRESHOLD',
    'too few of the old roots',
  )
  const other = seal(after(first, { enclave: 'other.test' }), [a, b])
  t.equal(
    codeOf(() => verifyTrustUpdate(first, other)),
    'TRUST_ENCLAVE',
  )
  t.end()
})

await t.test('roots rotate one version at a time, signed by old and new ones', (t) => {
  const turn = (from: SignedTrustBundle, roots: TrustDocument['roots'], by: (typeof a)[]) =>
    seal(after(from, { roots }), by, chainAfter(from))
  const second = turn(first, rootsOf(2, 2, b, c), [a, b, c])
  const third = seal(after(second), [b, c], chainAfter(second))
  const fourth = turn(third, rootsOf(3, 1, c), [b, c])
  const fifth = seal(after(fourth), [c], chainAfter(fourth))
  for (const [from, to] of [
    [first, second],
    [second, third],
    [third, fourth],
    [first, third],
    [first, fourth],
    [second, fifth],
    [first, fifth],
  ] as const) {
    t.equal(verifyTrustUpdate(from, parseTrustBundle(bundleFile(to))), true)
  }
  const bare = { ...fifth, chain: [] }
  t.equal(
    codeOf(() => verifyTrustUpdate(first, bare)),
    'TRUST_CHAIN',
    'without the chain',
  )
  t.equal(
    codeOf(() => verifyTrustUpdate(fifth, fourth)),
    'TRUST_ROLLBACK',
  )
  const reversed = { ...fifth, chain: [...fifth.chain].reverse() }
  t.equal(
    codeOf(() => verifyTrustUpdate(first, reversed)),
    'TRUST_CHAIN',
  )
  t.end()
})

await t.test('a clock that is years off is named, before and after', (t) => {
  const at = (now: number) =>
    codeOf(() => {
      requireTimely(first.document, now)
    })
  t.equal(at(CREATED), 'none')
  t.equal(at(CREATED + 365 * DAY), 'none')
  t.equal(at(CREATED + 5 * 365 * DAY), 'TRUST_EXPIRED')
  t.equal(at(CREATED - 5 * 365 * DAY), 'TRUST_CLOCK')
  t.end()
})

await t.test(
  'bundles of other enclaves are read inside, with their own signatures, and not without end',
  (t) => {
    const carry = (inner: SignedTrustBundle, enclave: string) =>
      seal(
        document([a, b], signer, log, {
          enclave,
          foreign: [
            {
              kind: 'enclave',
              name: inner.document.enclave,
              fetched: CREATED,
              source: 'medium',
              bundle: inner,
            },
          ],
        }),
        [a, b],
      )
    const two = carry(first, 'two.test')
    t.equal(parseTrustBundle(bundleFile(two)).document.foreign[0]?.kind, 'enclave')
    const four = carry(carry(two, 'three.test'), 'four.test')
    t.equal(
      codeOf(() => carry(four, 'five.test')),
      'TRUST_BUNDLE_INVALID',
    )
    const key = signerKey(testKey('x'), { state: 'retired' })
    t.equal(
      codeOf(() =>
        carry(
          { ...first, envelope: { ...first.envelope, payload: utf8(JSON.stringify(key.name)) } },
          'bad.test',
        ),
      ),
      'TRUST_BUNDLE_INVALID',
      'whose payload was changed',
    )
    t.end()
  },
)
