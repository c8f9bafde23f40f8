import { closeSync, openSync, writeSync } from 'node:fs'
import { lstat, readdir, readFile, readlink, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { AirsealError } from '../core/index.ts'
import { delay, serialised } from './concurrency.ts'
import { readRegular, storage, TEMPORARY } from './layout-files.ts'

const NAME = '.airseal.lock'
/** Milliseconds. */
const PATIENCE = 30_000
const ABANDONED = 10_000
/** Bytes of the lock file. */
const MAX_LOCK = 4_096

/**
 * Runs `work` while no other process of airseal changes the layout. The lock is a file that names its holder; one left behind by a
 * process that has ended on this machine is removed, one of another machine never is, since nobody can tell from here.
 * @throws AirsealError REGISTRY_CONTENTION after 30 seconds, LAYOUT_INVALID when the lock is no regular file, STORAGE
 */
export async function withLayoutLock<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const path = join(directory, NAME)
  // In turn within this process first, so that it does not compete with itself for the file.
  return serialised(`lock ${path}`, async () => {
    await acquire(path)
    try {
      return await work()
    } finally {
      await unlink(path).catch(() => undefined)
    }
  })
}

async function acquire(path: string): Promise<void> {
  const mine = JSON.stringify({
    host: await here(),
    pid: process.pid,
    started: await startOf(process.pid),
    nonce: randomBytes(8).toString('hex'),
  })
  const deadline = performance.now() + PATIENCE
  while (!createWith(path, mine)) {
    if (await removeStale(path)) {
      await sweep(dirname(path))
      continue
    }
    if (performance.now() > deadline) {
      throw new AirsealError(
        'REGISTRY_CONTENTION',
        `${path} is held by another process; if none runs, remove the file`,
      )
    }
    await delay(5 + Math.random() * 20)
  }
}

/** Removes what a holder that was killed was about to put beside the lock: nobody else writes there. */
async function sweep(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => [])
  const left = names.filter((name) => TEMPORARY.test(name))
  await Promise.all(left.map((name) => unlink(join(directory, name)).catch(() => undefined)))
}

/** False when the file is there. */
function createWith(path: string, text: string): boolean {
  try {
    // In one go, not in three trips to the thread pool: a process that is killed in between leaves an empty lock, for which the next one
    // has to wait, since nobody knows whose it is.
    const file = openSync(path, 'wx', 0o644)
    try {
      writeSync(file, text)
    } finally {
      closeSync(file)
    }
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw storage(path, cause)
  }
}

/**
 * Removes the lock when its holder has ended. Only one process may judge and remove at a time (a second file sees to it): otherwise two
 * could judge the same lock, and the slower one remove the lock that the faster one has taken since.
 */
async function removeStale(path: string): Promise<boolean> {
  if (!(await isStale(path))) return false
  const breaker = `${path}.breaker`
  if (!createWith(breaker, '')) {
    const age = await lstat(breaker).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    )
    if (age > ABANDONED) await unlink(breaker).catch(() => undefined)
    return false
  }
  try {
    if (!(await isStale(path))) return false
    await unlink(path)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return true
    throw storage(path, cause)
  } finally {
    await unlink(breaker).catch(() => undefined)
  }
}

async function isStale(path: string): Promise<boolean> {
  // The layout may come from anywhere: a pipe here would block a thread for ever, a link to a device fill the memory.
  const bytes = await readRegular(path, MAX_LOCK)
  if (bytes === null) return false // Gone meanwhile.
  const holder = parseHolder(Buffer.from(bytes).toString())
  if (holder === undefined) {
    // Empty between its making and its writing; for longer only when the machine went down there.
    const age = await lstat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    )
    return age > ABANDONED
  }
  if (holder.host !== (await here())) return false
  return (await startOf(holder.pid)) !== holder.started
}

function parseHolder(text: string): { host: string; pid: number; started: string } | undefined {
  const found = /^\{"host":"([^"]{1,255})","pid":([0-9]{1,10}),"started":"([0-9]{0,32})",/.exec(
    text,
  )
  if (found?.[1] === undefined || found[3] === undefined) return undefined
  return { host: found[1], pid: Number(found[2]), started: found[3] }
}

/** This machine and its space of process numbers: containers may share the one without the other. */
async function here(): Promise<string> {
  const space = await readlink('/proc/self/ns/pid').catch(() => '')
  return `${hostname()} ${space}`
}

/** When the process started (field 22 of /proc/PID/stat, clock ticks since boot), which tells it from a later one of the same number; empty when there is none. */
async function startOf(pid: number): Promise<string> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
