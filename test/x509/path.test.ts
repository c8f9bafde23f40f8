import t from 'tap'
import {
  parseCertificate,
  readIdentity,
  readProfile,
  USAGE,
  validatePath,
  type Link,
} from '../../src/x509/index.ts'
import { checkDer, encodeDer, readDer, TAG } from '../../src/x509/der.ts'
import {
  altName,
  AUTHORITY,
  basicConstraints,
  extendedKeyUsage,
  extension,
  issue,
  keyUsage,
  LEAF,
  link,
  oid,
  type CertificateInput,
  type Issued,
} from '../support/certificates.ts'
import { NOW } from '../support/evidence.ts'

const DAY = 86_400_000
const dates = { from: NOW - DAY, to: NOW + DAY }
const root = issue({ name: 'root', issuer: null, ...dates, extensions: AUTHORITY })
const middle = issue({ name: 'middle', issuer: root, ...dates, extensions: AUTHORITY })
const leaf = issue({ name: 'leaf', issuer: middle, ...dates, extensions: LEAF })

function ask(leafOf: Issued, between: readonly Issued[], anchor: Issued = root, times = [NOW]) {
  return validatePath({
    leaf: link(leafOf),
    intermediates: between.map(link),
    anchor: link(anchor),
    usage: USAGE.codeSigning,
    times,
  })
}

/** The same chain with one certificate made otherwise. */
function withMiddle(change: Partial<CertificateInput>) {
  const other = issue({ name: 'middle', issuer: root, ...dates, extensions: AUTHORITY, ...change })
  const below = issue({ name: 'leaf', issuer: other, ...dates, extensions: LEAF })
  return ask(below, [other])
}
const withLeaf = (change: Partial<CertificateInput>) =>
  ask(issue({ name: 'leaf', issuer: middle, ...dates, extensions: LEAF, ...change }), [middle])

void t.test('a chain of authorities leads to its anchor, and to no other', async (t) => {
  t.equal((ask(leaf, [middle]) as { path: Link[] }).path.length, 3)
  t.match(ask(leaf, []), { outside: false }, 'an authority is missing')
  const twin = issue({ name: 'root', issuer: null, ...dates, extensions: AUTHORITY })
  t.match(ask(leaf, [middle], twin), { outside: false }, 'same name, another key')
  const self = issue({ name: 'leaf', issuer: null, ...dates, extensions: LEAF })
  t.match(ask(self, [middle]), { outside: false }, 'signed by itself')
})

void t.test(
  'every certificate of the chain must hold at every time; ends are inclusive',
  async (t) => {
    t.match(ask(leaf, [middle], root, [dates.from, dates.to]), { path: Array })
    t.match(ask(leaf, [middle], root, [dates.from - 1]), { outside: true })
    t.match(ask(leaf, [middle], root, [NOW, dates.to + 1]), { outside: true }, 'one time of two')
    t.match(withMiddle({ to: NOW - 1000 }), { outside: true }, 'an intermediate that is over')
    const old = issue({
      name: 'root',
      issuer: null,
      from: NOW - DAY,
      to: NOW - 1000,
      extensions: AUTHORITY,
    })
    const under = issue({ name: 'leaf', issuer: old, ...dates, extensions: LEAF })
    t.match(ask(under, [], old), { outside: true }, 'an anchor that is over')
  },
)

void t.test('only authorities issue, as far as they may', async (t) => {
  const refused = { outside: false, problem: String }
  t.match(withMiddle({ extensions: [keyUsage(0x06)] }), refused, 'no basic constraints')
  t.match(
    withMiddle({ extensions: [keyUsage(0x80), basicConstraints(null)] }),
    refused,
    'key usage',
  )
  t.match(withMiddle({ extensions: [...AUTHORITY, extendedKeyUsage(USAGE.timeStamping)] }), refused)
  t.match(withMiddle({ extensions: [...AUTHORITY, extendedKeyUsage(USAGE.codeSigning)] }), {
    path: Array,
  })
  t.match(
    withMiddle({ extensions: [...AUTHORITY, extension('1.2.3.4', true, encodeDer(TAG.sequence))] }),
    refused,
    'unknown critical',
  )
  t.match(
    withMiddle({
      extensions: [...AUTHORITY, extension('1.2.3.4', false, encodeDer(TAG.sequence))],
    }),
    { path: Array },
  )
  t.match(
    withMiddle({
      extensions: [...AUTHORITY, extension('2.5.29.30', false, encodeDer(TAG.sequence))],
    }),
    refused,
    'name constraints',
  )
  const short = issue({
    name: 'short',
    issuer: null,
    ...dates,
    extensions: [keyUsage(0x06), basicConstraints(0)],
  })
  const direct = issue({ name: 'leaf', issuer: short, ...dates, extensions: LEAF })
  t.match(ask(direct, [], short), { path: Array }, 'path length 0, leaf alone')
  const deeper = issue({ name: 'deeper', issuer: short, ...dates, extensions: AUTHORITY })
  const below = issue({ name: 'leaf', issuer: deeper, ...dates, extensions: LEAF })
  t.match(ask(below, [deeper], short), refused, 'path length exceeded')
})

void t.test('the leaf must be for this use', async (t) => {
  const refused = { outside: false, problem: String }
  t.match(withLeaf({ extensions: [keyUsage(0x80)] }), refused, 'no extended key usage')
  t.match(withLeaf({ extensions: [extendedKeyUsage(USAGE.timeStamping)] }), refused)
  t.match(withLeaf({ extensions: [extendedKeyUsage('2.5.29.37.0')] }), refused, 'any use')
  t.match(withLeaf({ extensions: [keyUsage(0x40), extendedKeyUsage(USAGE.codeSigning)] }), refused)
  t.match(
    withLeaf({ extensions: [...AUTHORITY, extendedKeyUsage(USAGE.codeSigning)] }),
    refused,
    'an authority',
  )
  const poison = extension('1.3.6.1.4.1.11129.2.4.3', false, Uint8Array.of(5, 0))
  t.match(withLeaf({ extensions: [...LEAF, poison] }), refused, 'a precertificate')
})

void t.test('certificates outside the profile are malformed', async (t) => {
  const bad = { code: 'KEY_INVALID' }
  const make = (change: Partial<CertificateInput>) => () =>
    link(issue({ name: 'leaf', issuer: middle, ...dates, extensions: LEAF, ...change }))
  t.throws(make({ extensions: [...LEAF, ...LEAF] }), bad, 'an extension twice')
  t.throws(make({ serial: Uint8Array.of(0) }), bad, 'serial 0')
  t.throws(make({ serial: Uint8Array.of(0xff) }), bad, 'negative serial')
  t.throws(make({ version: 1 }), bad, 'version 2')
  t.throws(make({ algorithm: '1.2.840.10045.4.1' }), bad, 'SHA-1')
  t.throws(make({ name: '', extensions: LEAF.slice(0, 2) }), bad, 'no name at all')
  const { der } = leaf
  t.throws(() => readProfile(parseCertificate(Buffer.concat([der, Buffer.of(0)]))), bad)
})

void t.test(
  'identities are read from alternative names and from the extensions of Fulcio',
  async (t) => {
    const fulcio = (number: number, value: Uint8Array) =>
      extension(`1.3.6.1.4.1.57264.1.${number}`, false, value)
    const text = (value: string) => encodeDer(TAG.utf8String, Buffer.from(value))
    const raw = (value: string) => Uint8Array.from(Buffer.from(value))
    const identity = (...extensions: readonly Uint8Array[]) =>
      readIdentity(link(issue({ name: 'leaf', issuer: middle, ...dates, extensions })).profile)
    const user = encodeDer(0xa0, text('user!corp.test'))
    const other = Buffer.concat([oid('1.3.6.1.4.1.57264.1.7'), user])
    t.strictSame(identity(altName(0xa0, other)).subjects, ['user!corp.test'])
    t.strictSame(identity(altName(0x86, raw('https://ci.test/a'))).subjects, ['https://ci.test/a'])
    t.strictSame(identity(altName(0x82, raw('host.test'))).subjects, ['host.test'])
    t.strictSame(
      identity(altName(0xa0, Buffer.concat([oid('1.2.3'), user]))).subjects,
      [],
      'another type',
    )
    t.throws(() => identity(altName(0x81, raw('a\0@corp.test'))), { code: 'KEY_INVALID' }, 'NUL')
    t.equal(
      identity(fulcio(8, text('https://new')), fulcio(1, raw('https://new'))).issuer,
      'https://new',
    )
    t.equal(identity(fulcio(1, raw('https://old'))).issuer, 'https://old')
    t.throws(() => identity(fulcio(8, text('https://a')), fulcio(1, raw('https://b'))), {
      code: 'KEY_INVALID',
    })
    t.throws(() => identity(fulcio(8, raw('https://a'))), { code: 'KEY_INVALID' }, 'not wrapped')
    t.match(identity(fulcio(2, raw('push')), fulcio(6, raw('refs/heads/main'))).workflow, {
      trigger: 'push',
      ref: 'refs/heads/main',
      sha: null,
    })
  },
)

void t.test('DER is read strictly and in bounded time', async (t) => {
  const bad = { code: 'KEY_INVALID' }
  for (const hex of [
    '',
    '30',
    '3080',
    '308100',
    '30820001ff',
    '3081017f',
    '3001',
    '300000',
    '1f8101',
    '30840000000100',
    '3085000000000100',
  ]) {
    t.throws(() => readDer(Buffer.from(hex, 'hex')), bad, hex)
  }
  let deep: Uint8Array = encodeDer(TAG.sequence)
  for (let level = 0; level < 5000; level++) deep = encodeDer(TAG.sequence, deep)
  t.throws(() => {
    checkDer(deep)
  }, bad)
  const many = encodeDer(
    TAG.sequence,
    new Uint8Array(100_000).map((_, at) => (at % 2 === 0 ? 5 : 0)),
  )
  t.throws(() => {
    checkDer(many)
  }, bad)
})
