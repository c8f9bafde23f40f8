import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks a second in /proc: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS = 100

interface ProcessFacts {
  readonly parent: number
  readonly cpuSeconds: number
  readonly residentMiB: number
}

/** What the kernel says of one process (proc(5), /proc/PID/stat); null when it is gone. */
function factsOf(pid: number): ProcessFacts | null {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return null
  }
  // The name in parentheses may hold blanks and parentheses itself; the fields after it do not.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (index: number): number => Number(fields[index - 3])
  return {
    parent: field(4),
    cpuSeconds: (field(14) + field(15)) / TICKS,
    residentMiB: (field(24) * 4096) / 2 ** 20,
  }
}

export interface Usage {
  /** User and system time of all the processes since they started, seconds. */
  readonly cpuSeconds: number
  readonly residentMiB: number
}

/** Usage of the processes `roots` and of all that descend from them. */
export function usageOf(roots: readonly number[]): Usage {
  const all = new Map<number, ProcessFacts>()
  for (const name of readdirSync('/proc')) {
    const pid = /^\d+$/.test(name) ? Number(name) : NaN
    const facts = Number.isNaN(pid) ? null : factsOf(pid)
    if (facts !== null) all.set(pid, facts)
  }
  const ours = new Set(roots)
  // A parent may have the higher number once pids have wrapped, so go over them until nothing is added.
  for (let before = -1; before !== ours.size;) {
    before = ours.size
    for (const [pid, facts] of all) if (ours.has(facts.parent)) ours.add(pid)
  }
  let cpuSeconds = 0
  let residentMiB = 0
  for (const pid of ours) {
    cpuSeconds += all.get(pid)?.cpuSeconds ?? 0
    residentMiB += all.get(pid)?.residentMiB ?? 0
  }
  return { cpuSeconds, residentMiB }
}

/** User and system time of this process, seconds. */
export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Time that all processors together were busy since boot, seconds (proc(5), /proc/stat). */
export function machineBusySeconds(): number {
  const line = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0] ?? ''
  const [user, nice, system, , , interrupt, soft] = line.split(/\s+/).slice(1).map(Number)
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0) + (interrupt ?? 0) + (soft ?? 0)) / TICKS
}

/** CPU of one P-256 verification by node:crypto over 1 KiB with a cached key, microseconds; the median of five rounds. */
export function verifyMicroseconds(): number {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const message = randomBytes(1024)
  const signature = sign('sha256', message, privateKey)
  const rounds: number[] = []
  for (let round = 0; round < 5; round++) {
    const start = process.cpuUsage()
    for (let n = 0; n < 300; n++) verify('sha256', message, publicKey, signature)
    const used = process.cpuUsage(start)
    rounds.push((used.user + used.system) / 300)
  }
  return rounds.sort((a, b) => a - b)[2] ?? NaN
}

/**
 * CPU that this machine needs right now for one P-256 verification plus one signature by node:crypto over 1 KiB, microseconds;
 * the median of five rounds. Machines, and one machine within minutes, differ in speed: a figure beside this one can be compared.
 */
export function ecdsaMicroseconds(): number {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const message = randomBytes(1024)
  const rounds: number[] = []
  for (let round = 0; round < 5; round++) {
    const start = process.cpuUsage()
    for (let n = 0; n < 200; n++) {
      const signature = sign('sha256', message, privateKey)
      if (!verify('sha256', message, publicKey, signature)) throw new Error('ECDSA is broken here')
    }
    const used = process.cpuUsage(start)
    rounds.push((used.user + used.system) / 200)
  }
  return rounds.sort((a, b) => a - b)[2] ?? NaN
}
