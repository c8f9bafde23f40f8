import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { sha256Hex } from '../../src/core/index.ts'
import { openEvidenceDatabase } from '../../src/log/index.ts'

type Piece = Parameters<ReturnType<typeof openEvidenceDatabase>['keep']>[1][number]

const piece = (n: number, bytes = 10): Piece => ({
  id: sha256Hex(`piece ${n}`),
  format: n % 2 === 0 ? 'legacy' : 'bundle',
  kind: n % 2 === 0 ? 'signature' : null,
  payload: Buffer.alloc(bytes, n),
  annotations: { 'dev.example/ü': 'value' },
  source: 'seen',
  place: 'registry.test/team/app',
  seen: 1_764_000_000_000,
})
const digest = (n: number): string => `sha256:${sha256Hex(`image ${n}`)}`

async function file(t: { teardown(work: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-test-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'cache.db')
}

void t.test('pieces outlive the process, each once, in their order', async (t) => {
  const path = await file(t)
  const first = openEvidenceDatabase(path, 1_000_000)
  t.same(await first.pieces(digest(1)), [])
  await first.keep(digest(1), [piece(1), piece(2)])
  await first.keep(digest(1), [piece(2), piece(3)])
  await first.close()
  await t.rejects(first.pieces(digest(1)), { code: 'SHUTTING_DOWN' })
  const second = openEvidenceDatabase(path, 1_000_000)
  const found = await second.pieces(digest(1))
  t.same(
    found.map((one) => ({ ...one, payload: Buffer.from(one.payload) })),
    [piece(1), piece(2), piece(3)],
  )
  await second.close()
  t.equal((await stat(path)).mode & 0o777, 0o600)
})

void t.test('what was not asked about for longest leaves, as a whole', async (t) => {
  const cache = openEvidenceDatabase(await file(t), 20_000)
  t.teardown(() => cache.close())
  for (let n = 0; n < 10; n++)
    await cache.keep(digest(n), [piece(2 * n, 1500), piece(2 * n + 1, 1500)])
  const left = await Promise.all(Array.from({ length: 10 }, (_, n) => cache.pieces(digest(n))))
  const counts = left.map(({ length }) => length)
  t.equal(counts.at(-1), 2, 'the newest is there')
  t.equal(counts[0], 0, 'the oldest is gone')
  t.ok(
    counts.every((count) => count === 0 || count === 2),
    'never half of one',
  )
  // Larger than everything that may be kept: it stays until the next one comes.
  await cache.keep(digest(50), [piece(50, 50_000)])
  await cache.keep(digest(51), [piece(51, 10)])
  t.equal((await cache.pieces(digest(50))).length, 0)
  t.equal((await cache.pieces(digest(51))).length, 1)
})

void t.test('a file that is no such cache is replaced', async (t) => {
  const path = await file(t)
  await writeFile(path, 'not a database, though long enough to look like one'.repeat(100))
  const cache = openEvidenceDatabase(path, 1_000_000)
  t.same(await cache.pieces(digest(1)), [])
  await cache.keep(digest(1), [piece(1)])
  await cache.close()
  const Database = (await import('better-sqlite3')).default
  const db = new Database(path)
  db.pragma('user_version = 99')
  db.close()
  const newer = openEvidenceDatabase(path, 1_000_000)
  t.same(await newer.pieces(digest(1)), [], 'of another version nothing is read')
  await newer.close()
})

void t.test('a place that can’t be written to is a fault, not a crash', async (t) => {
  const cache = openEvidenceDatabase('/proc/airseal/cache.db', 1_000_000)
  await t.rejects(cache.keep(digest(1), [piece(1)]))
  await t.rejects(cache.pieces(digest(1)))
  await cache.close()
})
