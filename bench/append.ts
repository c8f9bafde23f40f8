// Appends per second of the log alone: durable commit, proof, checkpoint, signed timestamp. Usage: node bench/append.ts [SECONDS] [CONCURRENCY]
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, utf8 } from '../src/core/index.ts'
import { createDatabase, openLog } from '../src/log/index.ts'
import { testSigner } from '../test/support/signer.ts'

const seconds = Number(process.argv[2] ?? 5)
const concurrency = Number(process.argv[3] ?? 256)

const directory = mkdtempSync(join(process.env['AIRSEAL_BENCH_DIR'] ?? tmpdir(), 'airseal-append-'))
const path = join(directory, 'airseal.db')
const signer = testSigner()
createDatabase(path, {
  hostname: 'log.example',
  logPublicKeySpki: signer.publicKey.spki,
  now: systemClock(),
})
const log = await openLog({
  path,
  signer,
  clock: systemClock,
  onPoisoned: (error) => {
    throw error
  },
})

const filler = 'x'.repeat(1100)
const latencies: number[] = []
const start = performance.now()
const end = start + seconds * 1000

async function client(): Promise<void> {
  while (performance.now() < end) {
    const digest = randomBytes(32).toString('hex')
    const begin = performance.now()
    await log.append({
      body: utf8(`{"digest":"${digest}","filler":"${filler}"}`),
      searchKeys: [`sha256:${digest}`, 'key'],
    })
    latencies.push(performance.now() - begin)
  }
}

try {
  await Promise.all(Array.from({ length: concurrency }, client))
  const took = (performance.now() - start) / 1000
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (part: number): string => (sorted[Math.floor(sorted.length * part)] ?? NaN).toFixed(1)
  const { user, system } = process.cpuUsage()
  console.log(
    `${Math.round(sorted.length / took)} appends/s (${sorted.length} in ${took.toFixed(1)} s, ${concurrency} at a time), ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, CPU ${Math.round((user + system) / sorted.length)} µs each`,
  )
} finally {
  await log.close()
  rmSync(directory, { recursive: true, force: true })
}
