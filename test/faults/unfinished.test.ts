import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import t from 'tap'
import { call, errorCodeOf } from '../support/call.ts'
import { startPlainRegistry, type PlainRegistry } from '../support/plain-registry.ts'
import { AIRSEAL, run, startSite, temporaryDirectory, type Site } from '../support/site.ts'
import { pushTiny, tinyLayout } from '../support/tiny-layout.ts'
import { allJobs, fsckFaults } from './inquest.ts'
import type { SignResult } from './oracle.ts'

t.setTimeout(300_000)

/** A registry that lets nobody write breaks the connection: what a registry looks like that goes away in the middle. */
function refuseWrites(registry: PlainRegistry): void {
  registry.intercept = (request) => {
    if (request.method === 'GET' || request.method === 'HEAD') return false
    request.socket.destroy()
    return true
  }
}

/** A data directory whose service gives up on a registry after a second. */
async function hastyDirectory(parent: string): Promise<string> {
  const data = join(parent, 'data')
  await mkdir(data, { mode: 0o700 })
  await writeFile(join(data, 'airseal.yaml'), 'registries:\n  timeoutMs: 1000\n')
  return data
}

async function logSize(site: Site): Promise<number> {
  const { json } = await call(`${site.url}/api/v1/log`)
  return (json as { treeSize: number }).treeSize
}

const resultsOf = (stdout: string): SignResult[] =>
  (JSON.parse(stdout) as { results: SignResult[] }).results

const indexes = (results: readonly SignResult[]): string[] =>
  results.flatMap(({ signatures }) => signatures.map((one) => `${one.format} ${one.logIndex}`))

interface JobRow {
  readonly identity: string
  readonly digest: string
  readonly document: string
  readonly created: number
  readonly updated: number
}

function withDatabase<T>(data: string, work: (db: Database.Database) => T): T {
  const db = new Database(join(data, 'airseal.db'))
  try {
    return work(db)
  } finally {
    db.close()
  }
}

const jobRows = (data: string): JobRow[] =>
  withDatabase(data, (db) => db.prepare<[], JobRow>('SELECT * FROM job ORDER BY id').all())

const withoutEntry = (document: string): string =>
  JSON.stringify({ ...(JSON.parse(document) as object), entry: null })

function insertSigned(
  data: string,
  { identity, digest, document, created, updated }: JobRow,
): void {
  withDatabase(data, (db) =>
    db
      .prepare(
        `INSERT INTO job (identity, digest, document, state, created, updated) VALUES (?, ?, ?, 'signed', ?, ?)`,
      )
      .run(identity, digest, withoutEntry(document), created, updated),
  )
}

function forgetEntries(data: string): void {
  withDatabase(data, (db) => {
    for (const { identity, document } of jobRows(data)) {
      db.prepare(`UPDATE job SET state = 'signed', document = ? WHERE identity = ?`).run(
        withoutEntry(document),
        identity,
      )
    }
  })
}

const signaturesOf = (data: string): unknown[] =>
  allJobs(data).map(({ document }) => (JSON.parse(document) as { content: unknown }).content)

await t.test('a push that fails leaves a durable entry, which the next start pushes', async (t) => {
  const directory = await temporaryDirectory(t)
  const registry = await startPlainRegistry()
  t.teardown(() => registry.stop())
  const [image = ''] = await pushTiny(`${registry.address}/team/app`, ['a'])
  const data = await hastyDirectory(directory)
  const site = await startSite(data)
  t.teardown(() => site.stop('SIGKILL'))

  refuseWrites(registry)
  const answer = await call(`${site.url}/v1/sign`, { body: { images: [image] } })
  t.equal(answer.status, 502)
  t.equal(errorCodeOf(answer), 'PUSH_PENDING')
  t.match(answer.text, /index 0/, 'it says where the entry is')
  t.equal(await logSize(site), 1, 'the first signature is logged; the next was not begun')
  const failed = await site.airseal(['sign', image])
  t.equal(failed.code, 3, 'the command ends with 3: run it again')
  t.match(failed.stderr, /PUSH_PENDING/)
  t.match(failed.stderr, /index 0/, 'by the same entry')
  t.equal(await logSize(site), 1, 'nothing was signed twice')
  t.equal((await site.stop()).code, 0)
  t.same(
    allJobs(data).map(({ state }) => state),
    ['logged'],
  )

  registry.intercept = null
  const next = await startSite(data)
  t.equal((await next.stop()).code, 0, 'a clean end waits for what is unfinished')
  t.match(next.printed(), /finished 1 signature/)
  t.same(
    allJobs(data).map(({ state }) => state),
    ['pushed'],
  )
  t.ok(
    [...registry.manifests.keys()].some((name) => name.endsWith('.sig')),
    'the signature is beside the image',
  )

  const signed = await run(AIRSEAL, ['sign', '--data', data, '--output', 'json', image])
  t.equal(signed.code, 0, signed.stderr)
  const [result] = resultsOf(signed.stdout)
  t.same(indexes(result ? [result] : []), ['legacy 0', 'bundle 1'])
  t.equal(result?.signatures[0]?.status, 'present')
  t.equal((await run(AIRSEAL, ['verify', '--data', data, image])).code, 0)
  t.same(await fsckFaults(data), [])
})

await t.test(
  'a registry that stays away does not stop the service, and loses nothing',
  async (t) => {
    const directory = await temporaryDirectory(t)
    const registry = await startPlainRegistry()
    t.teardown(() => registry.stop())
    const [image = ''] = await pushTiny(`${registry.address}/team/app`, ['a'])
    const [other = ''] = await tinyLayout(join(directory, 'layout'), ['b'])
    const data = await hastyDirectory(directory)
    const first = await startSite(data)
    t.teardown(() => first.stop('SIGKILL'))
    refuseWrites(registry)
    t.equal(
      errorCodeOf(await call(`${first.url}/v1/sign`, { body: { images: [image] } })),
      'PUSH_PENDING',
    )
    await first.stop('SIGKILL')
    await registry.stop()

    const second = await startSite(data)
    t.teardown(() => second.stop('SIGKILL'))
    const signed = await second.airseal(['sign', other])
    t.equal(signed.code, 0, signed.stderr)
    t.equal((await second.stop()).code, 0)
    t.match(second.printed(), /still waits/)
    t.same(
      allJobs(data).map(({ state }) => state),
      ['logged', 'pushed', 'pushed'],
    )

    await registry.restart()
    registry.intercept = null
    const third = await startSite(data)
    t.equal((await third.stop()).code, 0)
    t.same(
      allJobs(data).map(({ state }) => state),
      ['pushed', 'pushed', 'pushed'],
    )
  },
)

await t.test(
  'what was signed but not logged is logged and pushed by the next start, as it was signed',
  async (t) => {
    const directory = await temporaryDirectory(t)
    const layout = join(directory, 'layout')
    const [image = ''] = await tinyLayout(layout, ['a'])
    const data = join(directory, 'data')
    t.equal((await run(AIRSEAL, ['init', '--data', data])).code, 0)
    // The directory before, and after, of which the crash kept the job alone.
    const before = join(directory, 'before')
    await cp(data, before, { recursive: true, preserveTimestamps: true })
    await cp(layout, join(directory, 'layout-before'), { recursive: true })
    const signed = await run(AIRSEAL, ['sign', '--data', data, '--output', 'json', image])
    t.equal(signed.code, 0, signed.stderr)
    const made = jobRows(data)
    for (const row of made) insertSigned(before, row)
    await rm(layout, { recursive: true })
    await cp(join(directory, 'layout-before'), layout, { recursive: true })

    const site = await startSite(before)
    t.equal((await site.stop()).code, 0)
    t.same(
      allJobs(before).map(({ state }) => state),
      ['pushed', 'pushed'],
    )
    t.same(signaturesOf(before), signaturesOf(data), 'nothing was signed anew')
    t.equal((await run(AIRSEAL, ['verify', '--data', before, image])).code, 0)
    const again = await run(AIRSEAL, ['sign', '--data', before, '--output', 'json', image])
    t.same(
      resultsOf(again.stdout).flatMap(({ signatures }) => signatures.map(({ status }) => status)),
      ['present', 'present'],
    )
    t.same(await fsckFaults(before), [])
  },
)

await t.test(
  'what was logged, without the job knowing, is found again and not logged twice',
  async (t) => {
    const directory = await temporaryDirectory(t)
    const layout = join(directory, 'layout')
    const [image = ''] = await tinyLayout(layout, ['a'])
    await cp(layout, join(directory, 'layout-before'), { recursive: true })
    const data = join(directory, 'data')
    t.equal((await run(AIRSEAL, ['init', '--data', data])).code, 0)
    const signed = await run(AIRSEAL, ['sign', '--data', data, '--output', 'json', image])
    forgetEntries(data)
    await rm(layout, { recursive: true })
    await cp(join(directory, 'layout-before'), layout, { recursive: true })

    // A command without a service finishes what was left, as a service does.
    const again = await run(AIRSEAL, ['sign', '--data', data, '--output', 'json', image])
    t.equal(again.code, 0, again.stderr)
    t.same(indexes(resultsOf(again.stdout)), indexes(resultsOf(signed.stdout)))
    const site = await startSite(data)
    t.equal(await logSize(site), 2, 'two entries, as before')
    await site.stop()
    t.equal((await run(AIRSEAL, ['verify', '--data', data, image])).code, 0)
  },
)
