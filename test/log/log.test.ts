import t from 'tap'
import Database from 'better-sqlite3'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import {
  leafHash,
  parseCheckpoint,
  parseSignedNote,
  verifyConsistency,
} from '../../src/tlog/index.ts'
import { checkLog, createDatabase, openLog } from '../../src/log/index.ts'
import { openDatabase } from '../../src/log/database.ts'
import { faultOf, leaf, logSite, NOW } from '../support/log-site.ts'
import { testSigner } from '../support/signer.ts'

t.test('an empty log signs its head and knows no entry', async (t) => {
  const site = logSite(t.testdir())
  const log = await site.open()
  const { treeSize, rootHash, checkpoint, treeId } = await log.signedHead()
  t.equal(treeSize, 0)
  t.ok(treeId > 2n ** 53n && treeId < 2n ** 63n)
  t.equal(Buffer.from(rootHash).toString('hex').slice(0, 8), 'e3b0c442')
  t.equal(parseCheckpoint(parseSignedNote(checkpoint).body).origin, `log.example - ${treeId}`)
  t.equal(await log.entryByIndex(0), null)
  t.equal(await log.entryByIndex(-1), null)
  t.equal(await log.entryByIndex(2 ** 60), null)
  t.equal(await log.entryByLeafHash(new Uint8Array(32)), null)
  t.strictSame(await log.search('sha256:00', 10), [])
  await t.rejects(log.consistencyProof(1, 1), { code: 'REQUEST_INVALID' })
  await log.close()
  await t.rejects(log.append(leaf('late')), { code: 'SHUTTING_DOWN' })
  await t.rejects(
    log.entryByIndex(0).then(() => log.search('x', 1)),
    { code: 'SHUTTING_DOWN' },
  )
})

t.test(
  'entries keep index, time and bytes, and every receipt verifies, also after reopening',
  async (t) => {
    const site = logSite(t.testdir())
    let log = await site.open()
    const all = await Promise.all(
      Array.from({ length: 600 }, (_, n) => log.append(leaf(`${n}`, `sha256:${n}`, 'all'))),
    )
    all.forEach(({ entry, duplicate }, n) => {
      if (duplicate || entry.logIndex !== n || faultOf(entry, site.signer) !== null)
        t.fail(`entry ${n}`)
    })
    t.equal(all[0]?.entry.integratedTime, NOW / 1000)
    t.ok(new Set(all.map(({ entry }) => entry.proof.treeSize)).size < 10, 'batched')
    const before = await log.signedHead()
    await log.close()

    site.now += 60_000
    log = await site.open()
    const after = await log.signedHead()
    t.strictSame(Buffer.from(after.rootHash), Buffer.from(before.rootHash))
    for (const { entry } of all) {
      const read = await log.entryByIndex(entry.logIndex)
      if (read === null || faultOf(read, site.signer) !== null) t.fail(`entry ${entry.logIndex}`)
      t.equal(read?.integratedTime, entry.integratedTime)
      t.equal(read?.entryId, entry.entryId)
    }
    const again = await log.append(leaf('17', 'other'))
    t.ok(again.duplicate)
    t.equal(again.entry.logIndex, 17)
    t.equal(again.entry.integratedTime, NOW / 1000)
    t.equal(faultOf(again.entry, site.signer), null)
    const next = await log.append(leaf('600'))
    t.equal(next.entry.logIndex, 600)
    t.equal(next.entry.integratedTime, NOW / 1000 + 60)

    const found = await log.entryByLeafHash(leafHash(leaf('17').body))
    t.equal(found?.logIndex, 17)
    t.equal((await log.entryByLeafHash(leafHash(leaf('17').body), log.treeId))?.logIndex, 17)
    t.equal(await log.entryByLeafHash(leafHash(leaf('17').body), log.treeId + 1n), null)
    t.strictSame(await log.search('sha256:17', 10), [all[17]?.entry.entryId])
    t.strictSame(
      await log.search('all', 3),
      all.slice(0, 3).map(({ entry }) => entry.entryId),
    )
    t.strictSame(await log.search('SHA256:17', 3), [])

    for (const [first, last] of [
      [1, 600],
      [256, 257],
      [255, 601],
      [601, 601],
      [1, 1],
    ] as const) {
      const { hashes, rootHash } = await log.consistencyProof(first, last)
      t.equal(Buffer.compare(rootHash, (await log.signedHead()).rootHash), 0)
      if (last !== 601) continue
      t.ok(first === 601 || hashes.length > 0)
    }
    const { hashes, rootHash } = await log.consistencyProof(600, 601)
    t.ok(
      verifyConsistency({
        firstSize: 600,
        secondSize: 601,
        firstRoot: before.rootHash,
        secondRoot: rootHash,
        hashes,
      }),
    )
    for (const [first, last] of [
      [0, 1],
      [2, 1],
      [1, 602],
      [1.5, 2],
      [1, 2 ** 53],
    ] as const) {
      await t.rejects(log.consistencyProof(first, last), { code: 'REQUEST_INVALID' })
    }
    await log.close()
    t.match(await checkLog(site.path), { isSound: true, problems: [], entries: 601 })
  },
)

t.test(
  'fifty equal leaves at once become one entry, the others are duplicates of it',
  async (t) => {
    const site = logSite(t.testdir())
    const log = await site.open()
    const first = Array.from({ length: 25 }, () => log.append(leaf('same')))
    await new Promise((resolve) => setImmediate(resolve))
    const second = Array.from({ length: 25 }, () => log.append(leaf('same')))
    const results = await Promise.all([...first, ...second])
    t.equal(results.filter(({ duplicate }) => !duplicate).length, 1)
    for (const { entry } of results) {
      t.equal(entry.logIndex, 0)
      t.equal(faultOf(entry, site.signer), null)
      t.not(await log.entryByLeafHash(leafHash(entry.body)), null)
    }
    t.equal((await log.signedHead()).treeSize, 1)
    await log.close()
  },
)

t.test('two leaves that share 48 bits of their index key are told apart', async (t) => {
  const site = logSite(t.testdir())
  let log = await site.open()
  await log.append(leaf('a', 'key'))
  await log.close()
  // As if the leaf to come had the prefix of the one that is there.
  const prefix = Buffer.from(leafHash(leaf('b').body)).readUIntBE(0, 6)
  site.tamper('INSERT INTO lookup VALUES (?, 0)', prefix)
  log = await site.open()
  t.equal(await log.entryByLeafHash(leafHash(leaf('b').body)), null)
  t.match(await log.append(leaf('b')), { duplicate: false, entry: { logIndex: 1 } })
  await log.close()
})

t.test('the clock may step back a little, but the log never goes back in time', async (t) => {
  const site = logSite(t.testdir())
  let log = await site.open()
  const first = await log.append(leaf('1'))
  site.now -= 5_000
  t.equal((await log.append(leaf('2'))).entry.integratedTime, first.entry.integratedTime)
  site.now -= 1_000
  await t.rejects(log.append(leaf('3')), { code: 'LOG_CLOCK' })
  await log.close()
  log = await site.open()
  await t.rejects(log.append(leaf('3')), { code: 'LOG_CLOCK' })
  t.not(await log.entryByIndex(1), null)
  site.now += 7_000
  t.equal((await log.append(leaf('3'))).entry.integratedTime, NOW / 1000 + 1)
  await log.close()
  t.strictSame(site.poisonings, [])
})

t.test('without the key nothing is promised; the same append later finds the entry', async (t) => {
  const site = logSite(t.testdir())
  const log = await site.open()
  site.signer.isDown = true
  await t.rejects(log.append(leaf('1')), { code: 'KEY_UNAVAILABLE' })
  await t.rejects(log.entryByIndex(0), { code: 'KEY_UNAVAILABLE' })
  site.signer.isDown = false
  const { entry } = await log.append(leaf('1'))
  t.equal(entry.logIndex, 0)
  t.equal(faultOf(entry, site.signer), null)
  await log.close()
})

t.test('a full queue refuses, and what waits is answered on closing', async (t) => {
  const site = logSite(t.testdir())
  const log = await site.open({ maxWaiting: 10 })
  const results = Promise.allSettled(Array.from({ length: 30 }, (_, n) => log.append(leaf(`${n}`))))
  await log.close()
  const states = (await results).map((result) =>
    result.status === 'fulfilled' ? 'ok' : (result.reason as { code: string }).code,
  )
  t.strictSame(states, [...Array<string>(10).fill('ok'), ...Array<string>(20).fill('OVERLOADED')])
  t.match(await checkLog(site.path), { isSound: true, entries: 10, checkpoints: 1 })
})

t.test('entries that no log takes are refused', async (t) => {
  const site = logSite(t.testdir())
  const log = await site.open()
  const body = leaf('x').body
  await t.rejects(log.append({ body: new Uint8Array(), searchKeys: [] }), { code: 'ENTRY_INVALID' })
  await t.rejects(log.append({ body, searchKeys: Array<string>(65).fill('k') }), {
    code: 'ENTRY_INVALID',
  })
  t.match(await log.append({ body, searchKeys: ['k', 'k'] }), { entry: { logIndex: 0 } })
  t.equal((await log.search('k', 10)).length, 1)
  await log.close()
})

t.test('creating never overwrites and refuses unusable names and keys', async (t) => {
  const directory = t.testdir()
  const site = logSite(directory)
  const options = {
    hostname: 'log.example',
    logPublicKeySpki: site.signer.publicKey.spki,
    now: NOW,
  }
  t.throws(() => createDatabase(site.path, options), { code: 'DATA_DIRECTORY' })
  for (const hostname of ['', 'a b', 'a+b', 'http://a', 'a:80', 'a\nb', '-', 'a'.repeat(300)]) {
    t.throws(
      () => createDatabase(join(directory, 'new.db'), { ...options, hostname }),
      { code: 'CONFIG_INVALID' },
      hostname,
    )
  }
  t.throws(
    () =>
      createDatabase(join(directory, 'new.db'), {
        ...options,
        logPublicKeySpki: new Uint8Array(9),
      }),
    { code: 'KEY_INVALID' },
  )
  t.throws(() => createDatabase(join(directory, 'none', 'new.db'), options), { code: 'STORAGE' })
  t.equal(statSync(site.path).mode & 0o777, 0o600)
})

t.test('what is not the database of this key is refused at opening', async (t) => {
  const directory = t.testdir({
    'text.db': 'not a database, but long enough to be looked at'.repeat(50),
  })
  const site = logSite(directory)
  const log = await site.open()
  await log.append(leaf('1'))
  await log.close()
  await t.rejects(site.open({ signer: testSigner() }), { code: 'DATA_DIRECTORY' })
  await t.rejects(site.open({ path: join(directory, 'none.db') }), { code: 'DATA_DIRECTORY' })
  await t.rejects(site.open({ path: join(directory, 'text.db') }), { code: 'LOG_DAMAGED' })
  const other = new Database(join(directory, 'other.db'))
  other.exec('CREATE TABLE x (y)')
  other.close()
  await t.rejects(site.open({ path: join(directory, 'other.db') }), { code: 'DATA_DIRECTORY' })
  const db = new Database(site.path)
  db.pragma('user_version = 3')
  db.close()
  await t.rejects(site.open(), { code: 'DATA_DIRECTORY' })
})

t.test(
  'every connection has the durable profile, also on a file that was opened before',
  async (t) => {
    const site = logSite(t.testdir())
    for (let round = 0; round < 2; round++) {
      const db = openDatabase(site.path)
      t.equal(db.pragma('synchronous', { simple: true }), 2n)
      t.equal(db.pragma('journal_mode', { simple: true }), 'wal')
      t.equal(db.pragma('page_size', { simple: true }), 8192n)
      t.equal(db.pragma('trusted_schema', { simple: true }), 0n)
      t.equal(db.pragma('mmap_size', { simple: true }), 0n)
      t.equal(db.pragma('cell_size_check', { simple: true }), 1n)
      t.equal(db.pragma('wal_autocheckpoint', { simple: true }), 200n)
      db.close()
    }
  },
)

t.test('the tables of the log only grow', async (t) => {
  const site = logSite(t.testdir())
  const log = await site.open()
  await Promise.all(Array.from({ length: 256 }, (_, n) => log.append(leaf(`${n}`))))
  await log.records.audit({ time: NOW, caller: 'c', action: 'a', detail: {} })
  await log.close()
  const db = new Database(site.path)
  for (const table of ['entry', 'tile', 'checkpoint', 'audit']) {
    const [column] = db
      .prepare(`SELECT name FROM pragma_table_info('${table}')`)
      .pluck()
      .all() as string[]
    t.throws(
      () => db.exec(`UPDATE ${table} SET ${column} = ${column}`),
      { code: 'SQLITE_CONSTRAINT_TRIGGER' },
      table,
    )
    t.throws(() => db.exec(`DELETE FROM ${table}`), { code: 'SQLITE_CONSTRAINT_TRIGGER' }, table)
  }
  db.close()
})

t.test('a writer that was overtaken by another is stopped', async (t) => {
  const site = logSite(t.testdir())
  const old = await site.open()
  await old.append(leaf('1'))
  const fresh = await openLog({
    path: site.path,
    signer: site.signer,
    clock: () => site.now,
    onPoisoned: () => t.fail(),
  })
  await t.rejects(old.append(leaf('2')), { code: 'LOG_CONFLICT' })
  t.match(site.poisonings, [{ code: 'LOG_CONFLICT' }])
  await t.rejects(old.append(leaf('3')), { code: 'STORAGE' })
  t.match(await fresh.append(leaf('2')), { duplicate: false, entry: { logIndex: 1 } })
  await old.close()
  await fresh.close()
  t.match(await checkLog(site.path), { isSound: true, entries: 2 })
})

t.test(
  'entries are found, and found again, whether their index rows are written yet or not',
  async (t) => {
    const site = logSite(t.testdir())
    let log = await site.open()
    const leaves = Array.from({ length: 1300 }, (_, n) => leaf(`i${n}`, `key ${n % 7}`, 'all'))
    const check = async (upTo: number): Promise<void> => {
      for (const n of [0, 1, 511, 512, 513, 1023, 1024, 1299].filter((n) => n < upTo)) {
        const hash = leafHash(leaves[n]!.body)
        t.match(await log.entryByLeafHash(hash), { logIndex: n })
        t.match(await log.append(leaves[n]!), { duplicate: true, entry: { logIndex: n } })
      }
      const all = await log.search('all', 2000)
      t.equal(all.length, upTo)
      t.equal(new Set(all).size, upTo)
      t.equal((await log.search('key 3', 2000)).length, Math.ceil((upTo - 3) / 7))
    }
    for (const upTo of [100, 600, 1300]) {
      const from = upTo === 100 ? 0 : upTo === 600 ? 100 : 600
      await Promise.all(leaves.slice(from, upTo).map((one) => log.append(one)))
      await check(upTo)
    }
    await log.close()
    t.match(await checkLog(site.path), { isSound: true, entries: 1300 })
    // As a process that was killed leaves it: the newest rows are not in the table.
    site.tamper('DELETE FROM lookup WHERE idx >= 1000')
    const db = new Database(site.path)
    db.exec('UPDATE tree SET indexed = 1000')
    db.close()
    t.match(await checkLog(site.path), { isSound: true, entries: 1300 })
    log = await site.open()
    await check(1300)
    await log.close()
    t.match(await checkLog(site.path), { isSound: true, entries: 1300 })
  },
)
