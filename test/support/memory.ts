// What a core dump of a running process would hold, without writing one: V8 reserves tens of gigabytes, of which few are in use.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

const PAGE = 4_096
/** Bytes read at a time; neighbours overlap, so that nothing hides on a border. */
const CHUNK = 4 * 1024 * 1024
const OVERLAP = 512
/** Bits 63 and 62 of a pagemap entry (admin-guide/mm/pagemap): present, or swapped out. */
const IN_USE = 0xc0

/** Every page in use of the writable memory of a process, in pieces. The process goes on meanwhile, unless it is stopped. */
export function* memoryOf(pid: number): Generator<Buffer> {
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, from, to, access] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? []
      if (from === undefined || to === undefined || access?.startsWith('rw') !== true) continue
      for (const [start, end] of pagesInUse(pagemap, parseInt(from, 16), parseInt(to, 16))) {
        yield* piecesOf(memory, start, end)
      }
    }
  } finally {
    closeSync(memory)
    closeSync(pagemap)
  }
}

/** Neighbouring pages in use, as ranges of addresses. */
function* pagesInUse(pagemap: number, from: number, to: number): Generator<[number, number]> {
  const entries = Buffer.alloc(64 * 1024)
  let start: number | null = null
  for (let address = from; address < to;) {
    const wanted = Math.min(entries.length, ((to - address) / PAGE) * 8)
    const size = readSync(pagemap, entries, 0, wanted, (address / PAGE) * 8)
    if (size < 8) return
    for (let at = 0; at + 8 <= size; at += 8, address += PAGE) {
      const isUsed = ((entries[at + 7] ?? 0) & IN_USE) !== 0
      if (isUsed) start ??= address
      else if (start !== null) {
        yield [start, address]
        start = null
      }
    }
  }
  if (start !== null) yield [start, to]
}

function* piecesOf(memory: number, start: number, end: number): Generator<Buffer> {
  for (let at = start; at < end; at += CHUNK - OVERLAP) {
    const piece = Buffer.alloc(Math.min(CHUNK, end - at))
    let size = 0
    try {
      size = readSync(memory, piece, 0, piece.length, at)
    } catch {
      // Pages that the kernel keeps for itself, and those that went meanwhile.
    }
    if (size > 0) yield piece.subarray(0, size)
  }
}
