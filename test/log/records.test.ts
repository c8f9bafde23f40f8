import Database from 'better-sqlite3'
import t from 'tap'
import { checkLog } from '../../src/log/index.ts'
import { logSite, NOW } from '../support/log-site.ts'

const row = (action: string, time = NOW) => ({ time, caller: 'ci', action, detail: { n: 1 } })
const identity = 'ab'.repeat(32)
const digest = `sha256:${'cd'.repeat(32)}`

t.test('audit rows are chained, and come back as they were written', async (t) => {
  const site = logSite(t.testdir())
  let { records, close } = await site.open()
  t.strictSame(await records.verifyAudit(), { rows: 0, hash: '0'.repeat(64) })
  await records.audit({
    ...row('sign'),
    key: 'release',
    digest,
    detail: { tag: 'v1\n\u202e', list: [null] },
  })
  await Promise.all(Array.from({ length: 20 }, (_, n) => records.audit(row(`a${n}`, NOW - n))))
  const { rows, hash } = await records.verifyAudit()
  t.equal(rows, 21)
  const [first, second] = await records.auditRows(0, 2)
  t.match(first, {
    seq: 1,
    caller: 'ci',
    key: 'release',
    digest,
    detail: { tag: 'v1\n\u202e', list: [null] },
  })
  t.notOk('key' in second!)
  t.match(await records.auditRows(20, 100), [{ seq: 21, hash }])
  await close()
  ;({ records, close } = await site.open())
  t.strictSame(await records.verifyAudit(), { rows, hash })
  await close()
})

const TAMPERINGS: readonly (readonly [string, string])[] = [
  ['changed', "UPDATE audit SET caller = 'other' WHERE seq = 3"],
  ['removed', 'DELETE FROM audit WHERE seq = 3'],
  ['removed at the end', 'DELETE FROM audit WHERE seq >= 8'],
  ['given another time', 'UPDATE audit SET time = time + 1 WHERE seq = 3'],
  [
    'swapped',
    'UPDATE audit SET detail = (SELECT detail FROM audit a WHERE a.seq = 7 - audit.seq) WHERE seq IN (3, 4)',
  ],
]

for (const [what, sql] of TAMPERINGS) {
  t.test(`an audit row that was ${what} is found`, async (t) => {
    const site = logSite(t.testdir())
    const log = await site.open()
    for (let n = 0; n < 10; n++) await log.records.audit({ ...row('a'), detail: { n } })
    await log.close()
    site.tamper(sql)
    const again = await site.open()
    await t.rejects(again.records.verifyAudit(), { code: 'LOG_DAMAGED' })
    await again.close()
    t.match(await checkLog(site.path), { isSound: false })
  })
}

t.test('a job begins once for an identity, with its audit row or not at all', async (t) => {
  const site = logSite(t.testdir())
  const { records, close } = await site.open()
  const audit = row('sign')
  const results = await Promise.all(
    Array.from({ length: 5 }, (_, n) =>
      records.beginJob({ identity, digest, document: `{"n":${n}}`, audit }),
    ),
  )
  t.strictSame(
    results.map(({ existed }) => existed),
    [false, true, true, true, true],
  )
  for (const { job } of results)
    t.match(job, { id: 1, identity, digest, document: '{"n":0}', state: 'signed', created: NOW })
  t.equal((await records.verifyAudit()).rows, 1)

  const large = { ...audit, detail: { text: 'x'.repeat(70_000) } }
  await t.rejects(records.beginJob({ identity: 'other', document: '{}', audit: large }), {
    code: 'REQUEST_INVALID',
  })
  t.equal(await records.jobByIdentity('other'), null)

  // A job that could be begun but not written again, with its log entry in it, would be pending for ever.
  const longest = 'x'.repeat(16_777_216 - 65_536)
  await t.rejects(records.beginJob({ identity: 'other', document: `${longest}x`, audit }), {
    code: 'TOO_LARGE',
  })

  const { job } = await records.beginJob({ identity: 'second', document: '{}', audit })
  t.strictSame(
    (await records.unfinishedJobs(10)).map(({ id }) => id),
    [1, job.id],
  )
  t.strictSame(
    (await records.unfinishedJobs(1)).map(({ id }) => id),
    [1],
  )
  await records.updateJob(1, { state: 'pushed', document: '{"done":true}', time: NOW + 1 })
  t.strictSame(
    (await records.unfinishedJobs(10)).map(({ id }) => id),
    [job.id],
  )
  t.match(await records.jobByIdentity(identity), {
    state: 'pushed',
    document: '{"done":true}',
    updated: NOW + 1,
  })
  t.match(await records.jobsByDigest(digest), [{ id: 1 }])
  t.strictSame(await records.jobsByDigest('sha256:none'), [])
  await t.rejects(records.updateJob(99, { state: 'logged', document: '{}', time: NOW }), {
    code: 'NOT_FOUND',
  })
  t.strictSame(site.poisonings, [], 'a refused request stops nothing')
  await close()
})

t.test('settings are kept', async (t) => {
  const site = logSite(t.testdir())
  let { records, close } = await site.open()
  t.equal(await records.setting('createdAt'), new Date(NOW).toISOString())
  t.equal(await records.setting('none'), null)
  await records.setSetting('publicUrl', 'http://a')
  await records.setSetting('publicUrl', 'http://b')
  await close()
  ;({ records, close } = await site.open())
  t.equal(await records.setting('publicUrl'), 'http://b')
  await close()
})

t.test('a document changes only from the revision that its writer saw', async (t) => {
  const site = logSite(t.testdir())
  let { records, close } = await site.open()
  const put = (name: string, expected: number | null, text: string) =>
    records.putDocument({ kind: 'key', name, expected, text, audit: row('put') })
  t.equal(await records.document('key', 'a'), null)
  t.match(await put('a', null, 'one'), { kind: 'key', name: 'a', revision: 1, text: 'one' })
  await t.rejects(put('a', null, 'two'), { code: 'CONFLICT' })
  await t.rejects(put('a', 2, 'two'), { code: 'CONFLICT' })
  await t.rejects(put('b', 1, 'two'), { code: 'CONFLICT' })
  t.match(await put('a', 1, 'two'), { revision: 2 })
  await put('b', null, 'three')
  await t.rejects(put('c', null, 'x'.repeat(16_777_217)), { code: 'TOO_LARGE' })
  // All or nothing, with one audit row.
  const changes = [
    { kind: 'key', name: 'c', expected: null, text: 'four' },
    { kind: 'key', name: 'a', expected: 1, text: 'five' },
  ]
  const { rows } = await records.verifyAudit()
  await t.rejects(records.putDocuments(changes, row('put')), { code: 'CONFLICT' })
  t.equal(rows, 3, 'refused changes leave no audit row')
  t.match(await records.verifyAudit(), { rows })
  await close()
  ;({ records, close } = await site.open())
  t.match(await records.documents('key'), [
    { name: 'a', text: 'two', revision: 2 },
    { name: 'b', text: 'three' },
  ])
  t.equal((await records.documents('key')).length, 2)
  t.match(await records.documents('key', { after: 'a' }), [{ name: 'b' }])
  t.equal((await records.documents('key', { limit: 1 })).length, 1)
  t.strictSame(await records.documents('policy'), [])
  await close()
})

t.test('a data directory of the first schema is brought up when it is opened', async (t) => {
  const site = logSite(t.testdir())
  await (await site.open()).close()
  const db = new Database(site.path)
  db.exec('DROP TABLE document; ALTER TABLE tree DROP COLUMN indexed; PRAGMA user_version = 1')
  db.close()
  const { records, close } = await site.open()
  t.strictSame(await records.documents('key'), [])
  await records.putDocument({ kind: 'key', name: 'a', expected: null, text: '', audit: row('p') })
  await close()
})
