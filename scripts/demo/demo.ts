import { spawn, type ChildProcess } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { digestHex } from '../../src/core/index.ts'
import { buildImage } from './image.ts'

/** The whole job on a small image, narrated. Ends with 1 when anything turns out otherwise than told. */

const AIRSEAL = fileURLToPath(new URL('../../bin/airseal', import.meta.url))
const place = await mkdtemp(join(tmpdir(), 'airseal-demo-'))
const services: ChildProcess[] = []
let step = 0

function tell(text: string): void {
  process.stdout.write(`\n${++step}. ${text}\n`)
}

interface Outcome {
  readonly code: number | null
  readonly output: string
}

/** Runs a command as a person would, shows it, and checks its exit code and what it says. */
async function airseal(args: readonly string[], expected: number, says: RegExp): Promise<Outcome> {
  process.stdout.write(
    `   $ airseal ${args.map((arg) => arg.replace(`${place}/`, '')).join(' ')}\n`,
  )
  const outcome = await run(args)
  for (const line of outcome.output.trim().split('\n')) {
    const shown = line.replaceAll(`${place}/`, '')
    // Payloads and envelopes are long and say little to a reader; a refusal ends with its reason and is shown whole.
    const cut = /^[[{]/.test(shown) && shown.length > 160
    process.stdout.write(`     ${cut ? `${shown.slice(0, 159)}…` : shown}\n`)
  }
  process.stdout.write(`     (exit code ${outcome.code})\n`)
  if (outcome.code !== expected || !says.test(outcome.output)) {
    throw new Error(`expected exit code ${expected} and ${says}`)
  }
  return outcome
}

function run(args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(AIRSEAL, args, { cwd: place, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => {
      resolve({ code, output })
    })
  })
}

/** Starts the service and waits until it says that it serves. */
async function serve(data: string): Promise<ChildProcess> {
  const listen = `127.0.0.1:${await freePort()}`
  process.stdout.write(
    `   $ airseal serve --init --data ${relative(place, data)} --listen ${listen} &\n`,
  )
  const child = spawn(AIRSEAL, ['serve', '--init', '--data', data, '--listen', listen], {
    cwd: place,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  services.push(child)
  let output = ''
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes('airseal serves')) resolve()
    })
    child.on('close', () => {
      reject(new Error('the service ended'))
    })
  })
  return child
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) {
      resolve()
      return
    }
    child.on('close', () => {
      resolve()
    })
    child.kill('SIGTERM')
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
  })
}

async function demo(): Promise<void> {
  const data = join(place, 'appliance')
  const layout = join(place, 'image')

  tell('A small image for two platforms is built as an OCI layout, from files of this clone.')
  const digest = await buildImage(layout)
  const image = `oci:${layout}@${digest}`
  process.stdout.write(`   index ${digest}\n`)

  tell('The appliance makes its keys and its empty log, and starts.')
  const service = await serve(data)

  tell(
    'It signs the index and both platforms. Each signature is logged before it is stored beside the image.',
  )
  await airseal(['sign', '--data', data, '--recursive', '-a', 'build=1', image], 0, /log index 5/)

  tell('It verifies: signature, log entry, proof. Nothing is fetched from anywhere.')
  await airseal(
    ['verify', '--data', data, '-a', 'build=1', image],
    0,
    /bundle: log entry 1 is this signature's own/,
  )

  tell('An SBOM becomes a signed, logged attestation.')
  const sbom = join(place, 'sbom.json')
  await writeFile(
    sbom,
    JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', components: [] }),
  )
  await airseal(
    ['attest', '--data', data, '--type', 'cyclonedx', '--predicate', sbom, image],
    0,
    /log index 6/,
  )
  await airseal(['verify-attestation', '--data', data, '--type', 'cyclonedx', image], 0, /in-toto/)

  tell('Attack: one byte of the signed index is changed.')
  const tampered = join(place, 'tampered')
  await cp(layout, tampered, { recursive: true })
  const blob = join(tampered, 'blobs', 'sha256', digestHex(digest))
  const bytes = await readFile(blob)
  bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1
  await writeFile(blob, bytes)
  await airseal(['verify', '--data', data, `oci:${tampered}@${digest}`], 12, /CONTENT_MISMATCH/)

  tell('Attack: somebody else signs the image with a key and a log of their own.')
  const foreign = join(place, 'foreign')
  await buildImage(foreign)
  await airseal(['init', '--data', join(place, 'stranger')], 0, /Initialised/)
  await airseal(
    ['sign', '--data', join(place, 'stranger'), `oci:${foreign}@${digest}`],
    0,
    /log index 0/,
  )
  await airseal(['verify', '--data', data, `oci:${foreign}@${digest}`], 12, /KEY_MISMATCH/)

  tell('Attack: somebody with access to the disk removes an entry from the log.')
  await end(service)
  const database = new Database(join(data, 'airseal.db'))
  const triggers = database
    .prepare<[], { name: string }>("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    .all()
  for (const { name } of triggers) database.exec(`DROP TRIGGER "${name}"`)
  database.exec('DELETE FROM entry WHERE idx = 1')
  database.close()
  await airseal(['fsck', '--data', data], 3, /LOG_DAMAGED/)

  tell(
    'Verified without the log, by public key and trusted root alone, the untouched image is still good: the proofs travel with it.',
  )
  const files = join(data, 'public')
  await airseal(
    [
      'verify',
      '--key',
      join(files, 'cosign.pub'),
      '--trusted-root',
      join(files, 'trusted_root.json'),
      image,
    ],
    0,
    /Verification for/,
  )

  process.stdout.write(
    '\nDone: one image signed, logged and verified; three attacks refused, each with its reason.\n',
  )
}

try {
  await demo()
} catch (error) {
  process.stderr.write(
    `\nThe demo went wrong: ${error instanceof Error ? error.message : String(error)}\n`,
  )
  process.exitCode = 1
} finally {
  await Promise.all(services.map(end))
  await rm(place, { recursive: true, force: true })
}
