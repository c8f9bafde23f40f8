import { createHash, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AirsealError, type Json, type JsonObject } from '../../src/core/index.ts'
import { createRekor, schemaCodeOf } from '../../src/rekor/index.ts'
import {
  base64,
  changed,
  dsseOf,
  entryKey,
  envelopeOf,
  envelopeSignature,
  hashedrekordOf,
  intoto002Of,
  STATEMENT,
  type EntryKey,
} from '../support/entries.ts'
import { MemoryLog } from '../support/memory-log.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const key = entryKey()
const other = entryKey()
const rsa = entryKey('rsa')
const fresh = () => createRekor({ log: new MemoryLog() })
const bodyText = async (entry: Json): Promise<string> =>
  Buffer.from((await fresh().canonicalEntry(entry)).body).toString()

t.test('real entries of the public log are rebuilt byte for byte', NEEDS_VECTORS, async (t) => {
  interface Vector {
    readonly name: string
    readonly proposedEntry: string
    readonly canonicalBody: string
    readonly leafHash: string
  }
  const directory = join(vectorsDirectory() ?? '', 'rekor-v1')
  const index = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8')) as {
    vectors: Vector[]
  }
  for (const vector of index.vectors) {
    const proposed = JSON.parse(readFileSync(join(directory, vector.proposedEntry), 'utf8')) as Json
    const rekor = fresh()
    const { status, entryId, entry } = await rekor.submit(proposed)
    t.equal(status, 201, vector.name)
    t.equal(Buffer.from(entry.body).toString(), vector.canonicalBody)
    t.equal(entryId.slice(16), vector.leafHash)
    const again = JSON.parse(vector.canonicalBody) as JsonObject
    const found = await rekor.retrieve({ entries: [again] })
    t.equal(found[0]?.entryId, entryId, 'the canonical form finds it again')
    t.same(found[0]?.body, entry.body)
  }
})

t.test('hashedrekord takes each key with the hash of its own size, and no other', async (t) => {
  for (const [kind, algorithm] of [
    ['P-256', 'sha256'],
    ['P-384', 'sha384'],
    ['P-521', 'sha512'],
    ['rsa', 'sha256'],
  ] as const) {
    await t.resolves(
      fresh().canonicalEntry(hashedrekordOf(entryKey(kind), 'x', algorithm)),
      `${kind} ${algorithm}`,
    )
  }
  for (const [kind, algorithm] of [
    ['P-256', 'sha512'],
    ['P-384', 'sha256'],
    ['rsa', 'sha512'],
    ['rsa-1024', 'sha256'],
  ] as const) {
    await t.rejects(
      fresh().submit(hashedrekordOf(entryKey(kind), 'x', algorithm)),
      {
        code: 'ENTRY_INVALID',
        message: /^error processing entry: entry algorithms are not allowed/,
      },
      `${kind} ${algorithm}`,
    )
  }
})

t.test('an Ed25519ph signature is accepted with sha512', async (t) => {
  const { ed25519ph } = await import('@noble/curves/ed25519.js')
  const { secretKey, publicKey } = ed25519ph.keygen()
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), publicKey])
  const pem = `-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`
  const entry = {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: {
        hash: { algorithm: 'sha512', value: createHash('sha512').update('x').digest('hex') },
      },
      signature: {
        content: base64(ed25519ph.sign(Buffer.from('x'), secretKey)),
        publicKey: { content: base64(pem) },
      },
    },
  }
  await t.resolves(fresh().canonicalEntry(entry))
})

t.test('hashedrekord: quirks of the canonical form', async (t) => {
  const entry = hashedrekordOf(key, 'quirk')
  const bare = changed(entry, ['spec', 'signature', 'publicKey', 'content'], base64(key.pem.trim()))
  t.equal(
    await bodyText(bare),
    await bodyText(entry),
    'a PEM without its last newline is the same entry',
  )
  const hash = createHash('sha256').update('quirk').digest('hex').toUpperCase()
  const upper = changed(entry, ['spec', 'data', 'hash', 'value'], hash)
  t.match(await bodyText(upper), hash, 'the letter case of the digest is kept')
  const { searchKeys } = await fresh().canonicalEntry(upper)
  t.ok(searchKeys.includes(`sha256:${hash.toLowerCase()}`), 'but not in the search key')
  const p1363 = sign('sha256', Buffer.from('quirk'), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  await t.resolves(
    fresh().canonicalEntry(changed(entry, ['spec', 'signature', 'content'], base64(p1363))),
    'r ‖ s of full width verifies',
  )
  await t.resolves(
    fresh().canonicalEntry({
      ...entry,
      unknown: 1,
      spec: { ...(entry['spec'] as JsonObject), more: null },
    }),
    'unknown members are passed over',
  )
})

t.test('what is wrong with an entry is refused with its reason', async (t) => {
  const good = hashedrekordOf(key, 'x')
  const signature = ['spec', 'signature', 'content']
  const publicKey = ['spec', 'signature', 'publicKey', 'content']
  const hash = ['spec', 'data', 'hash']
  const pss = '-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----\n'
  const cases: [string, Json, RegExp][] = [
    ['another text', changed(good, [...hash, 'value'], '00'.repeat(32)), /verifying signature/],
    ['another key', changed(good, publicKey, other.content), /verifying signature/],
    ['another kind of key', changed(good, publicKey, rsa.content), /verifying signature/],
    ['no base64', changed(good, signature, 'A=='), /base64/],
    ['base64 with hidden bits', changed(good, signature, 'AB=='), /base64/],
    ['an empty signature', changed(good, signature, ''), /empty/],
    [
      'sha1',
      changed(good, hash, { algorithm: 'sha1', value: '00'.repeat(20) }),
      /should be one of/,
    ],
    ['a short digest', changed(good, [...hash, 'value'], '00'), /not a sha256/],
    ['a number', changed(good, [...hash, 'value'], 5), /must be a string/],
    ['no key', changed(good, ['spec', 'signature', 'publicKey'], null), /publicKey is required/],
    ['a key that is no PEM', changed(good, publicKey, base64('hello')), /failure decoding PEM/],
    ['another PEM', changed(good, publicKey, base64(pss)), /cannot handle type RSA PUBLIC KEY/],
    ['two keys', changed(good, publicKey, base64(key.pem + key.pem)), /cannot handle type/],
    ['text between', changed(good, publicKey, base64(`x\n${key.pem}`)), /failure decoding PEM/],
    [
      'a huge PEM',
      changed(good, publicKey, base64(' '.repeat(70_000) + key.pem)),
      /more than 65536/,
    ],
    [
      'another version',
      { ...good, apiVersion: '0.0.2' },
      /does not support inserting entries of version '0.0.2'/,
    ],
    [
      'another kind',
      { ...good, kind: 'rekord' },
      /^error processing entry: entry kind 'rekord' is not enabled for submission on this server$/,
    ],
  ]
  for (const [name, entry, message] of cases) {
    await t.rejects(fresh().submit(entry), { code: 'ENTRY_INVALID', message }, name)
  }
})

t.test('outer members are checked against the schema, with its inner codes', async (t) => {
  const good = hashedrekordOf(key, 'x')
  const cases: [number, Json][] = [
    [602, null],
    [601, []],
    [601, 'text'],
    [422, { ...good, kind: 'nonsense' }],
    [422, { ...good, kind: '__proto__' }],
    [422, { ...good, kind: null }],
    [602, { ...good, apiVersion: null }],
    [601, { ...good, apiVersion: 1 }],
    [605, { ...good, apiVersion: 'one' }],
    [602, { ...good, spec: null }],
    [601, { ...good, spec: [] }],
  ]
  for (const [code, entry] of cases) {
    const error: unknown = await fresh()
      .submit(entry)
      .catch((thrown: unknown) => thrown)
    t.ok(
      error instanceof AirsealError &&
        error.code === 'ENTRY_SCHEMA' &&
        schemaCodeOf(error) === code,
      `${code} ${JSON.stringify(entry).slice(0, 60)}`,
    )
  }
})

t.test('dsse: which keys must cover which signatures', async (t) => {
  const E = entryKey()
  const R = rsa
  const accepted: [EntryKey[], EntryKey[], number][] = [
    [[E], [E], 1],
    [[E], [E, E], 1],
    [[E, R], [E, E, R], 2],
    [[E, R], [R, E], 2],
    [[E], [E, R], 1],
  ]
  for (const [signers, verifiers, stored] of accepted) {
    const body = JSON.parse(await bodyText(dsseOf(envelopeOf(signers), verifiers))) as {
      spec: { signatures: { signature: string }[] }
    }
    const signatures = body.spec.signatures.map(({ signature }) => signature)
    t.equal(signatures.length, stored)
    t.same(signatures, [...signatures].sort(), 'sorted by signature')
  }
  const refused: [EntryKey[], EntryKey[], RegExp][] = [
    [
      [E],
      [R],
      /could not verify envelope: accepted signatures do not match threshold, Found: 0, Expected 1/,
    ],
    [[E, R], [R, R], /all signatures must have a key that verifies it/],
    [[E, R], [E], /all signatures must have a key that verifies it/],
    [[], [E], /DSSE envelope must contain 1 or more signatures/],
    [[E], [], /at least 1/],
  ]
  for (const [signers, verifiers, message] of refused) {
    await t.rejects(fresh().submit(dsseOf(envelopeOf(signers), verifiers)), {
      code: 'ENTRY_INVALID',
      message,
    })
  }
})

t.test('dsse: forms, encodings and bad envelopes', async (t) => {
  const envelope = envelopeOf([key])
  const url = JSON.stringify(
    Object.fromEntries(
      Object.entries(JSON.parse(envelope) as Record<string, Json>).map(([name, value]) =>
        name === 'payload'
          ? [name, (value as string).replaceAll('+', '-').replaceAll('/', '_')]
          : [name, value],
      ),
    ),
  )
  await t.resolves(fresh().canonicalEntry(dsseOf(url, [key])), 'URL alphabet')
  t.not(
    await bodyText(dsseOf(` ${envelope}`, [key])),
    await bodyText(dsseOf(envelope, [key])),
    'the exact text is hashed',
  )
  const p384 = entryKey('P-384')
  await t.resolves(
    fresh().canonicalEntry(dsseOf(envelopeOf([p384]), [p384])),
    'SHA-256 whatever the curve',
  )
  const sha384 = {
    ...(JSON.parse(envelope) as JsonObject),
    signatures: [{ sig: envelopeSignature(p384, JSON.stringify(STATEMENT), 'sha384') }],
  }
  await t.rejects(fresh().submit(dsseOf(JSON.stringify(sha384), [p384])), { code: 'ENTRY_INVALID' })
  const ed = entryKey('ed25519')
  await t.resolves(fresh().canonicalEntry(dsseOf(envelopeOf([ed]), [ed])), 'Ed25519 is pure here')
  const proposed = dsseOf(envelope, [key])
  const nulls = changed(proposed, ['spec'], {
    ...(proposed['spec'] as JsonObject),
    signatures: null,
    envelopeHash: null,
    payloadHash: null,
  })
  await t.resolves(fresh().canonicalEntry(nulls), 'null is absent')
  const stored = JSON.parse(await bodyText(proposed)) as JsonObject
  await t.rejects(fresh().submit(stored), {
    code: 'ENTRY_INVALID',
    message: /missing proposed content/,
  })
  const both = changed(proposed, ['spec'], {
    ...(proposed['spec'] as JsonObject),
    ...(stored['spec'] as JsonObject),
  })
  await t.rejects(fresh().submit(both), { message: /must be present but not both/ })
  await t.rejects(fresh().submit(changed(proposed, ['spec'], {})), {
    message: /must be present but not both/,
  })
  for (const bad of [
    '',
    'null',
    '[]',
    '{',
    '{"payload":"","payload":""}',
    '{"payloadType":"x","signatures":[{"sig":"AA=="}]}',
  ]) {
    await t.rejects(fresh().submit(dsseOf(bad, [key])), { code: 'ENTRY_INVALID' }, bad)
  }
  const many = dsseOf(envelopeOf(Array.from({ length: 17 }, () => key)), [key])
  await t.rejects(fresh().submit(many), { code: 'ENTRY_INVALID', message: /more than 16/ })
})

t.test('intoto 0.0.2: checked, and stored with what the client sent', async (t) => {
  const entry = intoto002Of(key)
  const text = await bodyText(entry)
  t.match(
    text,
    `"hash":{"algorithm":"sha256","value":"${'11'.repeat(32)}"}`,
    "the hash is the client's own",
  )
  t.notMatch(text, '"payload":', 'the payload is dropped')
  t.match(text, `"publicKey":"${key.content}"`)
  const content = ['spec', 'content']
  // It is stored: fourteen megabytes of it would come back ten times for one query of a hundred bytes.
  await t.rejects(
    fresh().submit(changed(entry, [...content, 'envelope', 'payloadType'], 'x'.repeat(1025))),
    { code: 'ENTRY_INVALID', message: /payloadType has more than 1024 characters/ },
  )
  await t.rejects(fresh().submit(changed(entry, [...content, 'hash'], null)), {
    code: 'ENTRY_INVALID',
    message: /hash is required/,
  })
  await t.rejects(
    fresh().submit(changed(entry, [...content, 'envelope', 'payload'], base64(base64('other')))),
    { message: /verifying signature/ },
  )
  await t.rejects(fresh().submit(JSON.parse(text) as Json), { message: /missing envelope payload/ })
  const rekor = fresh()
  const { entryId } = await rekor.submit(entry)
  t.equal((await rekor.retrieve({ entries: [JSON.parse(text) as Json] }))[0]?.entryId, entryId)
})

t.test(
  'a pure Ed25519 signature is refused for a digest, and the text says which form is wanted',
  async (t) => {
    const ed = entryKey('ed25519')
    const entry = changed(
      changed(
        hashedrekordOf(key, 'x', 'sha512'),
        ['spec', 'signature', 'publicKey', 'content'],
        ed.content,
      ),
      ['spec', 'signature', 'content'],
      base64(sign(null, Buffer.from('x'), ed.privateKey)),
    )
    await t.rejects(fresh().submit(entry), { code: 'ENTRY_INVALID', message: /Ed25519ph/ })
  },
)
