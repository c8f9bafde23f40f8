import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { acquireDirectoryLock, checkLog, type LoggedEntry } from '../../src/log/index.ts'
import { faultOf, leaf, logSite, type LogSite } from '../support/log-site.ts'

const script = join(import.meta.dirname, 'child.ts')

/** What a child prints: an outcome, or a receipt with bytes in hex. */
interface Line {
  readonly code?: string
  readonly poisoned?: string
  readonly torn?: boolean
  readonly proof?: Omit<LoggedEntry['proof'], 'rootHash' | 'hashes'> & {
    rootHash: string
    hashes: string[]
  }
  readonly body?: string
  readonly signedEntryTimestamp?: string
}

interface Child {
  readonly process: ChildProcess
  readonly lines: Line[]
}

function start(args: readonly string[], shell?: string): Child {
  const command = shell === undefined ? process.execPath : 'bash'
  const all =
    shell === undefined
      ? [script, ...args]
      : ['-c', `${shell}; exec "$0" "$@"`, process.execPath, script, ...args]
  const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: Line[] = []
  createInterface({ input: child.stdout }).on('line', (line) => {
    // A killed child may leave half a line behind.
    try {
      lines.push(JSON.parse(line) as Line)
    } catch {
      lines.push({ torn: true })
    }
  })
  t.teardown(() => child.kill('SIGKILL'))
  return { process: child, lines }
}

async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 2000 && !condition(); n++) await sleep(5)
  if (!condition()) throw new Error('waited in vain')
}

function keyFile(site: LogSite, directory: string): string {
  const file = join(directory, 'log.pem')
  writeFileSync(file, site.signer.privateKey.export({ type: 'pkcs8', format: 'pem' }), {
    mode: 0o600,
  })
  return file
}

function receipts({ lines }: Child): LoggedEntry[] {
  const hex = (text = ''): Buffer => Buffer.from(text, 'hex')
  return lines.flatMap((line) => {
    const { proof, body, signedEntryTimestamp } = line
    if (proof === undefined) return []
    const entry: unknown = {
      ...line,
      body: hex(body),
      signedEntryTimestamp: hex(signedEntryTimestamp),
      proof: {
        ...proof,
        rootHash: hex(proof.rootHash),
        hashes: proof.hashes.map((hash) => hex(hash)),
      },
    }
    return [entry as LoggedEntry]
  })
}

t.test(
  'a second lock on a directory is refused, here, in another process and by another name',
  async (t) => {
    const directory = t.testdir({ data: {} })
    const data = join(directory, 'data')
    const alias = join(directory, 'alias')
    symlinkSync(data, alias)
    const release = acquireDirectoryLock(data)
    t.throws(() => acquireDirectoryLock(data), { code: 'DATA_LOCKED' })
    t.throws(() => acquireDirectoryLock(alias), { code: 'DATA_LOCKED' })
    const refused = start(['lock', alias])
    await once(refused.process, 'exit')
    t.strictSame(refused.lines, [{ code: 'DATA_LOCKED' }])
    release()
    release()

    const holder = start(['lock', data])
    await until(() => holder.lines.length > 0)
    t.strictSame(holder.lines, [{ code: 'HELD' }])
    t.throws(() => acquireDirectoryLock(data), { code: 'DATA_LOCKED' })
    holder.process.kill('SIGSTOP')
    t.throws(() => acquireDirectoryLock(data), { code: 'DATA_LOCKED' }, 'a stopped holder keeps it')
    holder.process.kill('SIGKILL')
    await once(holder.process, 'exit')
    acquireDirectoryLock(data)()
    t.throws(() => acquireDirectoryLock(join(directory, 'none')), { code: 'DATA_DIRECTORY' })
  },
)

t.test('after a kill every receipt that was given holds, and the log goes on', async (t) => {
  const directory = t.testdir()
  const site = logSite(directory)
  const key = keyFile(site, directory)
  const all: LoggedEntry[] = []
  for (const pause of [5, 40, 90, 160]) {
    const child = start(['append', site.path, key, '1000000', '200'])
    await until(() => child.lines.length > 8)
    await sleep(pause)
    child.process.kill('SIGKILL')
    await once(child.process, 'close')
    all.push(...receipts(child))
  }
  t.ok(all.length > 32)
  site.now = Date.now()
  const log = await site.open()
  for (const given of all) {
    const read = await log.entryByIndex(given.logIndex)
    const isSame = read?.entryId === given.entryId && read.integratedTime === given.integratedTime
    if (!isSame || faultOf(given, site.signer) !== null) t.fail(`entry ${given.logIndex}`)
    const again = await log.append({ body: given.body, searchKeys: [] })
    if (!again.duplicate || again.entry.logIndex !== given.logIndex)
      t.fail(`entry ${given.logIndex} again`)
  }
  const last = await log.append(leaf('after'))
  t.ok(last.entry.logIndex >= all.length)
  await log.close()
  t.match(await checkLog(site.path), { isSound: true, problems: [] })
})

t.test(
  'the first failing write stops the writer: everything is refused and the owner is told',
  async (t) => {
    const directory = t.testdir()
    const site = logSite(directory)
    // A file size limit makes write(2) fail with EFBIG, which SQLite reports as an I/O error. The test runner's
    // hooks in children would end the process at its signal instead.
    const child = start(
      ['append', site.path, keyFile(site, directory), '100000', '2000'],
      'unset NODE_OPTIONS; ulimit -f 2000',
    )
    const [code] = await once(child.process, 'close')
    t.equal(code, 7)
    t.match(child.lines.at(-1), { code: 'STORAGE' })
    t.match(
      child.lines.find((line) => 'poisoned' in line),
      { poisoned: 'STORAGE' },
    )
    const all = receipts(child)
    t.ok(all.length > 100)
    t.match(await checkLog(site.path), { isSound: true })
    site.now = Date.now()
    const log = await site.open()
    for (const given of all) {
      if ((await log.entryByIndex(given.logIndex))?.entryId !== given.entryId)
        t.fail(`entry ${given.logIndex}`)
    }
    await log.close()
  },
)

t.test(
  'a full disk refuses with STORAGE_FULL, reads go on, and space makes it work again',
  async (t) => {
    // Not a fixture of the test: those are removed while this is still mounted.
    const mount = mkdtempSync(join(tmpdir(), 'airseal-disk-'))
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'airseal-test', mount])
    if (status !== 0) {
      rmdirSync(mount)
      t.pass('not run: a small file system may not be mounted here', { skip: 'needs mount' })
      return
    }
    t.teardown(() => {
      spawnSync('umount', [mount])
      rmdirSync(mount)
    })
    const ballast = join(mount, 'ballast')
    const directory = join(mount, 'data')
    mkdirSync(directory)
    writeFileSync(ballast, Buffer.alloc(2_000_000))
    const site = logSite(directory)
    const log = await site.open()
    const given: LoggedEntry[] = []
    let refused = 0
    for (let n = 0; n < 5000 && refused < 3; n++) {
      try {
        given.push((await log.append(leaf(`${n} ${'x'.repeat(2000)}`))).entry)
      } catch (error) {
        t.equal((error as { code: string }).code, 'STORAGE_FULL')
        refused += 1
      }
    }
    t.equal(refused, 3)
    t.not(await log.entryByIndex(0), null)
    writeFileSync(ballast, '')
    const { entry } = await log.append(leaf('after'))
    t.equal(entry.logIndex, given.length)
    t.strictSame(site.poisonings, [])
    await log.close()
    t.match(await checkLog(site.path), { isSound: true, entries: given.length + 1 })
    for (const one of given) if (faultOf(one, site.signer) !== null) t.fail(`entry ${one.logIndex}`)
  },
)
