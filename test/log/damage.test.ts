import t from 'tap'
import Database from 'better-sqlite3'
import { checkLog } from '../../src/log/index.ts'
import { leafHash } from '../../src/tlog/index.ts'
import { faultOf, leaf, logSite, type LogSite } from '../support/log-site.ts'

/** A closed log of 600 entries: two full tiles and a ragged edge. */
async function filled(directory: string): Promise<LogSite> {
  const site = logSite(directory)
  const log = await site.open()
  await Promise.all(Array.from({ length: 600 }, (_, n) => log.append(leaf(`${n}`, `k${n}`))))
  await log.close()
  return site
}

/** The code with which opening or the reading of all entries ends; null when all is served, and then rightly. */
async function codeOf(site: LogSite): Promise<string | null> {
  let log
  try {
    log = await site.open()
  } catch (error) {
    return (error as { code: string }).code
  }
  try {
    for (let index = 0; index < 600; index++) {
      const entry = await log.entryByIndex(index)
      if (
        entry === null ||
        Buffer.compare(entry.body, leaf(`${index}`).body) !== 0 ||
        faultOf(entry, site.signer) !== null
      ) {
        return 'WRONG ANSWER'
      }
    }
    return null
  } catch (error) {
    return (error as { code: string }).code
  } finally {
    await log.close()
  }
}

const FLIPS: readonly [string, string, ...unknown[]][] = [
  [
    'a bit of a body',
    'UPDATE entry SET body = CAST(replace(body, \'"7"\', \'"6"\') AS BLOB) WHERE idx = 7',
  ],
  [
    'a body and its hash',
    'UPDATE entry SET body = ?, hash = ? WHERE idx = 7',
    leaf('x').body,
    leafHash(leaf('x').body),
  ],
  [
    'a body and its hash at the ragged edge',
    'UPDATE entry SET body = ?, hash = ? WHERE idx = 599',
    leaf('x').body,
    leafHash(leaf('x').body),
  ],
  ['a stored hash', 'UPDATE entry SET hash = zeroblob(32) WHERE idx = 300'],
  ['the time of an entry', 'UPDATE entry SET time = time + 1 WHERE idx = 300'],
  ['the search keys of an entry', 'UPDATE entry SET keys = zeroblob(32) WHERE idx = 300'],
  ['a tile', 'UPDATE tile SET hashes = zeroblob(8192) WHERE level = 0 AND idx = 1'],
  ['a missing tile', 'DELETE FROM tile WHERE idx = 0'],
  ['a deleted entry', 'DELETE FROM entry WHERE idx = 100'],
  ['the newest entry deleted', 'DELETE FROM entry WHERE idx = 599'],
  [
    'two entries swapped',
    'UPDATE entry SET body = (SELECT body FROM entry e WHERE e.idx = 11 - entry.idx) WHERE idx IN (5, 6)',
  ],
  ['the root of the head', 'UPDATE tree SET root = zeroblob(32)'],
  ['the size of the head', 'UPDATE tree SET size = 599'],
  [
    'the root of the newest checkpoint',
    'UPDATE checkpoint SET root = zeroblob(32) WHERE size = 600',
  ],
  [
    'the text of the newest checkpoint',
    "UPDATE checkpoint SET note = replace(note, 'log.example', 'log.exampla') WHERE size = 600",
  ],
  ['a checkpoint beyond the tree', 'UPDATE checkpoint SET size = 700 WHERE size = 600'],
]

for (const [what, sql, ...values] of FLIPS) {
  t.test(`${what} is found when it is read and by the full check, never answered`, async (t) => {
    const site = await filled(t.testdir())
    site.tamper(sql, ...values)
    const { isSound, problems } = await checkLog(site.path)
    t.notOk(isSound)
    t.not(problems.length, 0)
    t.equal(await codeOf(site), 'LOG_DAMAGED')
  })
}

t.test('a sound log passes, and the check says how far it is', async (t) => {
  const site = await filled(t.testdir())
  const check = await checkLog(site.path)
  t.match(check, { isSound: true, problems: [], entries: 600 })
  t.equal(await codeOf(site), null)
})

t.test('an index row that is gone is found by the full check', async (t) => {
  const site = await filled(t.testdir())
  site.tamper(
    'DELETE FROM lookup WHERE h = ?',
    Buffer.from(leafHash(leaf('7').body)).readUIntBE(0, 6),
  )
  t.match(await checkLog(site.path), { isSound: false, problems: ['entry 7 is not in the index'] })
})

t.test('the deleted entry is neither appended again nor searched past', async (t) => {
  const site = await filled(t.testdir())
  site.tamper('DELETE FROM entry WHERE idx = 100')
  const log = await site.open()
  t.teardown(() => log.close().catch(() => undefined))
  await t.rejects(log.entryByLeafHash(leafHash(leaf('100').body)), { code: 'LOG_DAMAGED' })
  await t.rejects(log.search('k100', 10), { code: 'LOG_DAMAGED' })
  await t.rejects(log.append(leaf('100')), { code: 'LOG_DAMAGED' })
  t.match(site.poisonings, [{ code: 'LOG_DAMAGED' }])
})

t.test('a tile that was changed yields no consistency proof', async (t) => {
  const site = await filled(t.testdir())
  site.tamper('UPDATE tile SET hashes = (SELECT hashes FROM tile WHERE idx = 1) WHERE idx = 0')
  const log = await site.open().catch((error: unknown) => error as Error & { code: string })
  if ('code' in log) {
    t.equal(log.code, 'LOG_DAMAGED')
    return
  }
  await t.rejects(log.consistencyProof(100, 600), { code: 'LOG_DAMAGED' })
  await log.close()
})

t.test('an older copy of the head below a signed checkpoint is refused', async (t) => {
  const site = await filled(t.testdir())
  const db = new Database(site.path)
  const root = db.prepare('SELECT root FROM checkpoint ORDER BY size LIMIT 1').pluck().get()
  const size = db.prepare('SELECT size FROM checkpoint ORDER BY size LIMIT 1').pluck().get()
  db.close()
  site.tamper('DELETE FROM entry WHERE idx >= ?', size)
  site.tamper('UPDATE tree SET size = ?, root = ?', size, root)
  await t.rejects(site.open(), { code: 'LOG_DAMAGED' })
})
