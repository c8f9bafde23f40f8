import { createHash, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AirsealError, canonicalJson, toHex, type Json } from '../../src/core/index.ts'
import { createRekor, logEntryText, schemaCodeOf } from '../../src/rekor/index.ts'
import {
  base64,
  changed,
  dsseOf,
  entryKey,
  envelopeOf,
  hashedrekordOf,
  intoto001Of,
} from '../support/entries.ts'
import { MemoryLog } from '../support/memory-log.ts'
import { realLog } from '../support/real-log.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const key = entryKey()
const other = entryKey()
const rsa = entryKey('rsa')
const fresh = () => createRekor({ log: new MemoryLog() })

t.test('intoto 0.0.1: accepted, and found beside dsse in one query as cosign 2 asks', async (t) => {
  const envelope = envelopeOf([key])
  const rekor = fresh()
  const { entryId, entry } = await rekor.submit(intoto001Of(key, envelope))
  t.match(
    Buffer.from(entry.body).toString(),
    /^\{"apiVersion":"0.0.1","kind":"intoto","spec":\{"content":\{"hash":\{[^}]+\},"payloadHash":\{[^}]+\}\},"publicKey":"/,
  )
  const found = await rekor.retrieve({
    entries: [dsseOf(envelope, [key]), intoto001Of(key, envelope)],
    entryUUIDs: null,
  })
  t.same(
    found.map((one) => one.entryId),
    [entryId],
  )
  await t.rejects(rekor.submit(intoto001Of(other, envelope)), {
    code: 'ENTRY_INVALID',
    message: /verifying signature/,
  })
  await t.rejects(rekor.submit(JSON.parse(Buffer.from(entry.body).toString()) as Json), {
    message: /missing envelope/,
  })
})

t.test('an entry sent twice is there once, and named the second time', async (t) => {
  const rekor = fresh()
  const first = await rekor.submit(hashedrekordOf(key, 'twice'))
  const entry = hashedrekordOf(key, 'at once')
  const both = await Promise.all([rekor.submit(entry), rekor.submit(entry)])
  t.same(both.map(({ status }) => status).sort(), [201, 409])
  t.equal(both[0].entryId, both[1].entryId)
  t.not(first.entryId, both[0].entryId)
})

t.test('the answer about an entry verifies: SET, index, proof', async (t) => {
  const log = new MemoryLog()
  const rekor = createRekor({ log })
  for (const text of ['a', 'b', 'c']) await rekor.submit(hashedrekordOf(key, text))
  const { entry, entryId } = await rekor.submit(hashedrekordOf(key, 'd'))
  const wire = JSON.parse(logEntryText(entry)) as Record<
    string,
    Record<string, unknown> & { verification: Record<string, unknown> }
  >
  const one = wire[entryId]
  t.same(Object.keys(one ?? {}), ['body', 'integratedTime', 'logID', 'logIndex', 'verification'])
  const promised = JSON.stringify({
    body: one?.['body'],
    integratedTime: one?.['integratedTime'],
    logID: one?.['logID'],
    logIndex: one?.['logIndex'],
  })
  const set = Buffer.from(String(one?.verification['signedEntryTimestamp']), 'base64')
  t.ok(verify('sha256', Buffer.from(promised), rekor.publicKey(null), set))
  t.match(one?.verification['inclusionProof'], {
    logIndex: 3,
    treeSize: 4,
    hashes: entry.proof.hashes.map(toHex),
  })
})

t.test('retrieve: order, limits, and what is not there', async (t) => {
  const rekor = fresh()
  t.same(
    await rekor.retrieve({ entries: [hashedrekordOf(key, 'none')] }),
    [],
    'an empty log has nothing',
  )
  t.same(await rekor.retrieve({}), [])
  const ids: string[] = []
  for (const text of ['a', 'b', 'c', 'd'])
    ids.push((await rekor.submit(hashedrekordOf(key, text))).entryId)
  const [a = '', b = '', c = '', d = ''] = ids
  const query = {
    logIndexes: [3, 99, 0],
    entries: [hashedrekordOf(rsa, 'x')],
    entryUUIDs: [c.slice(16), b.toUpperCase(), `${'0'.repeat(15)}1${a.slice(16)}`],
  }
  t.same(
    (await rekor.retrieve(query)).map(({ entryId }) => entryId),
    [b, c, d, a],
    'full ids, leaf hashes, entries, indexes',
  )
  const schema = async (body: Json): Promise<unknown> => {
    const error: unknown = await rekor.retrieve(body).catch((thrown: unknown) => thrown)
    return error instanceof AirsealError ? [schemaCodeOf(error), error.message] : error
  }
  t.same(await schema({ logIndexes: Array(12).fill(0) }), [
    611,
    'logIndexes in body should have at most 10 items',
  ])
  t.same(await schema({ logIndexes: Array(6).fill(0), entryUUIDs: Array(5).fill(a) }), [
    422,
    'more than max allowed 10 entries in request',
  ])
  t.match(await schema({ entryUUIDs: ['xyz'] }), [605])
  t.match(await schema({ logIndexes: [-1] }), [609])
  t.match(await schema({ logIndexes: [1.5] }), [601])
  t.match(await schema(null), [602])
  await t.rejects(rekor.retrieve({ entryUUIDs: ['0'.repeat(80)] }), {
    code: 'REQUEST_INVALID',
    message: `invalid entryID ${'0'.repeat(80)}`,
  })
  await t.rejects(
    rekor.retrieve({
      entries: [
        changed(
          hashedrekordOf(key, 'a'),
          ['spec', 'signature', 'publicKey', 'content'],
          other.content,
        ),
      ],
    }),
    { code: 'ENTRY_INVALID', message: /^verifying signature/ },
    'signatures are verified here too, and the words are plain',
  )
})

t.test('search: by digest, key, name and statement, joined by or / and', async (t) => {
  const rekor = fresh()
  const record = await rekor.submit(hashedrekordOf(key, 'found'))
  const envelope = await rekor.submit(dsseOf(envelopeOf([key]), [key]))
  const hash = createHash('sha256').update('found').digest('hex')
  const publicKey = { format: 'x509', content: key.content }
  const search = (body: Json) => rekor.searchIndex(body)
  t.same(await search({ hash }), [record.entryId])
  t.same(await search({ hash: `sha256:${hash.toUpperCase()}` }), [record.entryId])
  t.same(
    await search({ publicKey }),
    [record.entryId, envelope.entryId],
    'a key finds entries of every kind',
  )
  t.same(await search({ hash: createHash('sha256').update(key.pem).digest('hex') }), [
    record.entryId,
    envelope.entryId,
  ])
  t.same(
    await search({ hash: `sha256:${'ab'.repeat(32)}` }),
    [envelope.entryId],
    'a subject of the statement',
  )
  t.same(await search({ hash: 'cd'.repeat(20) }), [envelope.entryId], 'a material of the statement')
  t.same(await search({ hash, publicKey, operator: 'and' }), [record.entryId])
  t.same(await search({ hash, publicKey }), [record.entryId, envelope.entryId])
  t.same(await search({}), [])
  t.same(await search({ email: 'nobody@example.test' }), [])
  await t.rejects(search({ hash: `sha384:${'0'.repeat(96)}` }), { code: 'ENTRY_SCHEMA' })
  await t.rejects(search({ publicKey: { format: 'pgp', content: '' } }), {
    message: /PKI format requested is not supported/,
  })
  await t.rejects(search({ publicKey: { format: 'x509', content: 'AAAA' } }), {
    message: /could not be parsed/,
  })
})

t.test(
  'a name in a certificate finds its entries, whatever its letter case',
  NEEDS_VECTORS,
  async (t) => {
    const directory = join(vectorsDirectory() ?? '', 'rekor-v1')
    const rekor = fresh()
    const ids: Record<string, string> = {}
    for (const name of ['hashedrekord-two-index-kinds', 'dsse']) {
      const proposed = JSON.parse(
        readFileSync(join(directory, `entries/${name}.proposed.json`), 'utf8'),
      ) as Json
      ids[name] = (await rekor.submit(proposed)).entryId
    }
    t.same(await rekor.searchIndex({ email: 'Brian@dehamer.com' }), [ids['dsse']])
    const uri =
      'https://github.com/Sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main'
    t.same(await rekor.searchIndex({ subject: uri }), [ids['hashedrekord-two-index-kinds']])
  },
)

t.test('single entries, log information, key and proof', async (t) => {
  const log = new MemoryLog()
  const rekor = createRekor({ log })
  t.match(await rekor.logInfo(), {
    treeSize: 0,
    treeID: '1193050959916656506',
    rootHash: /^e3b0c442/,
    signedTreeHead: /47DEQpj8HBSa/,
  })
  for (const text of ['a', 'b', 'c']) await rekor.submit(hashedrekordOf(key, text))
  const entry = await rekor.entryByIndex('1')
  const id = entry?.entryId ?? ''
  t.equal((await rekor.entryById(id))?.logIndex, 1)
  t.equal((await rekor.entryById(id.slice(16).toUpperCase()))?.entryId, id)
  t.equal(await rekor.entryById(`${'0'.repeat(15)}1${id.slice(16)}`), null, 'another tree')
  for (const [text, code] of [
    [null, 602],
    ['', 602],
    ['x', 601],
    ['-1', 609],
    ['1.5', 601],
  ] as const) {
    const error: unknown = await rekor.entryByIndex(text).catch((thrown: unknown) => thrown)
    t.equal(error instanceof AirsealError && schemaCodeOf(error), code, String(text))
  }
  t.equal(await rekor.entryByIndex('99'), null)
  t.equal(await rekor.entryByIndex('9999999999999999999'), null)
  await t.rejects(rekor.entryById('xyz'), {
    code: 'ENTRY_SCHEMA',
    message: /entryUUID in path should match/,
  })
  await t.rejects(rekor.entryById(`f${'0'.repeat(79)}`), {
    message: /validation error: f0+ is not a valid TreeID/,
  })
  await t.rejects(rekor.entryById('0'.repeat(80)), { code: 'REQUEST_INVALID' })
  t.throws(() => rekor.publicKey('5'), { message: 'Bad Request' })
  t.equal(rekor.publicKey('1193050959916656506'), log.publicKeyPem)
  const proof = (firstSize: string | null, lastSize: string | null, treeId: string | null = null) =>
    rekor.consistencyProof({ firstSize, lastSize, treeId })
  t.same((await proof(null, '3')).hashes.length, 2)
  t.same((await proof('2', '2')).hashes, [])
  t.equal(
    (await proof('1', '2')).rootHash,
    (await rekor.logInfo()).rootHash,
    'the current root, not that of lastSize',
  )
  await t.rejects(proof('3', '2'), { message: 'firstSize(3) must be less than lastSize(2)' })
  await t.rejects(proof('1', '9'), {
    message: 'the tree size requested(9) was greater than what is currently observable(3)',
  })
  await t.rejects(proof('1', '2', '99999999999999999999'), { message: /invalid tree ID specified/ })
  await t.rejects(proof('1', '2', '7'), { message: 'no log range found for tree ID 7' })
  await t.rejects(proof('1', '2', 'x'), { code: 'ENTRY_SCHEMA' })
  await t.rejects(proof('0', '2'), { code: 'ENTRY_SCHEMA' })
  await t.rejects(proof('1', null), {
    code: 'ENTRY_SCHEMA',
    message: 'lastSize in query is required',
  })
})

t.test('over the log itself: every answer as over the one in memory', async (t) => {
  const log = await realLog(t)
  const rekor = createRekor({ log })
  t.match(await rekor.logInfo(), { treeSize: 0, rootHash: /^e3b0c442/, treeID: String(log.treeId) })
  const entries = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((text) => hashedrekordOf(key, text))
  const envelope = envelopeOf([key])
  const submitted = await Promise.all(
    [...entries, ...entries, dsseOf(envelope, [key])].map((entry) => rekor.submit(entry)),
  )
  t.equal(submitted.filter(({ status }) => status === 201).length, 9)
  t.equal(new Set(submitted.map(({ entryId }) => entryId)).size, 9)
  const duplicate = submitted.find(({ status }) => status === 409)
  t.equal((await rekor.entryById(duplicate?.entryId ?? ''))?.entryId, duplicate?.entryId)
  const found = await rekor.retrieve({
    entries: [entries[0] ?? null, dsseOf(envelope, [key])],
    logIndexes: [8, 9],
  })
  t.equal(found.length, 3)
  for (const entry of found) {
    const promised = canonicalJson({
      body: base64(entry.body),
      integratedTime: entry.integratedTime,
      logID: entry.logId,
      logIndex: entry.logIndex,
    })
    t.ok(verify('sha256', Buffer.from(promised), log.publicKeyPem, entry.signedEntryTimestamp))
  }
  t.equal(
    (await rekor.searchIndex({ publicKey: { format: 'x509', content: key.content } })).length,
    9,
  )
  t.same(await rekor.searchIndex({ hash: 'ab'.repeat(32) }), [submitted.at(-1)?.entryId])
  t.equal((await rekor.logInfo()).treeSize, 9)
  t.equal(
    (await rekor.consistencyProof({ firstSize: '3', lastSize: '9', treeId: null })).hashes.length >
      0,
    true,
  )
  t.equal(await rekor.entryByIndex('9'), null)
  t.equal(await rekor.entryById('0'.repeat(64)), null)
})
