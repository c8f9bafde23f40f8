import { createPublicKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { call } from '../support/call.ts'
import { AIRSEAL, run } from '../support/site.ts'
import { receiptOf, type Oracle, type Receipt } from './oracle.ts'
import type { MortalService } from './service.ts'
import { allRoots, leafHash, readNote, rootOfPath, timestampHolds } from './tree.ts'

/** What was found; `faults` is empty when every promise was kept. */
export interface Inquest {
  readonly faults: readonly string[]
  readonly entries: number
  readonly receipts: number
  readonly checkpoints: number
  readonly images: number
  /** Proposals that got no answer: how many of them are in the log, and how many are not. */
  readonly unanswered: { readonly logged: number; readonly absent: number }
}

/** Reads the whole log through the API, at the end of a campaign. */
async function readLog(url: string, size: number): Promise<Receipt[]> {
  const entries: Receipt[] = []
  while (entries.length < size) {
    const first = entries.length
    const logIndexes = Array.from({ length: Math.min(10, size - first) }, (_, at) => first + at)
    const { json } = await call(`${url}/api/v1/log/entries/retrieve`, { body: { logIndexes } })
    if (!Array.isArray(json) || json.length !== logIndexes.length) {
      throw new Error(`entries ${first}… of ${size} are not all there`)
    }
    for (const one of json) entries.push(receiptOf(one))
  }
  return entries
}

/**
 * Compares what the service holds at the end with everything that it ever answered. The service must run, with nothing left to do.
 * Promises by their numbers: P1 no receipt is lost, P2 all checkpoints are of one history, P4 unknown is 0 or 1, P5 an index never moves.
 */
export async function holdInquest(
  service: MortalService,
  oracle: Oracle,
  resend: (proposal: string) => Promise<{ status: number }>,
): Promise<Inquest> {
  const faults: string[] = []
  const logKey = createPublicKey(await readFile(join(service.data, 'public', 'rekor.pub')))
  const info = (await call(`${service.url}/api/v1/log`)).json as { signedTreeHead: string }
  const head = readNote(info.signedTreeHead, logKey)
  const log = await readLog(service.url, head.size)
  const roots = allRoots(log.map(({ body }) => leafHash(Buffer.from(body, 'base64'))))
  if (roots[head.size] !== head.root) faults.push('the entries do not give the root of the head')

  log.forEach((entry, at) => {
    if (entry.logIndex !== at) faults.push(`entry ${at} says it is ${entry.logIndex}`)
    const before = log[at - 1]?.integratedTime ?? 0
    if (entry.integratedTime < before) faults.push(`entry ${at} is older than the one before it`)
  })
  const bodies = new Set(log.map(({ body }) => body))
  if (bodies.size !== log.length)
    faults.push(`${log.length - bodies.size} entries are in the log twice`)

  const receipts = oracle.all('receipt').map(({ entry }) => entry)
  for (const receipt of [...receipts, ...log])
    faults.push(...receiptFaults(receipt, log, roots, logKey))
  const notes = [...oracle.all('checkpoint').map(({ note }) => note)]
  for (const note of notes) faults.push(...noteFaults(note, head.origin, roots, logKey))

  faults.push(...signedFaults(oracle, log))
  const begun = begunFormats(service.data)
  const images = new Set(oracle.all('sign-sent').map(({ image }) => image))
  for (const image of images) {
    const digest = image.slice(image.lastIndexOf('sha256:'))
    faults.push(...(await imageFaults(service, image, begun.get(digest) ?? [])))
  }
  const unanswered = await askAgain(oracle, receipts, bodies, resend, faults)
  return {
    faults,
    entries: log.length,
    receipts: receipts.length,
    checkpoints: notes.length,
    images: images.size,
    unanswered,
  }
}

/** P1, P5: the receipt verifies, leads to a root of this history, and the log has the same bytes at its place. */
function receiptFaults(
  receipt: Receipt,
  log: readonly Receipt[],
  roots: readonly string[],
  logKey: KeyObject,
): string[] {
  const { logIndex, body, verification, entryId } = receipt
  const name = `receipt ${logIndex}`
  const { inclusionProof: proof } = verification
  const leaf = leafHash(Buffer.from(body, 'base64'))
  const faults: string[] = []
  if (!timestampHolds(receipt, logKey)) faults.push(`${name}: its timestamp does not hold`)
  const root = rootOfPath(leaf, proof.logIndex, proof.treeSize, proof.hashes)
  if (root !== proof.rootHash) faults.push(`${name}: its proof leads elsewhere`)
  if (root !== roots[proof.treeSize]) faults.push(`${name}: its root is not of this history`)
  const noted = readNote(proof.checkpoint, logKey)
  if (noted.size !== proof.treeSize || noted.root !== root)
    faults.push(`${name}: another checkpoint`)
  const there = log[logIndex]
  if (there?.body !== body || there.integratedTime !== receipt.integratedTime) {
    faults.push(`${name}: the log has something else there`)
  }
  if (there?.entryId !== entryId || !entryId.endsWith(leaf.toString('hex'))) {
    faults.push(`${name}: another name`)
  }
  return faults
}

/** P2: signed, of this log, and of this history. */
function noteFaults(
  note: string,
  origin: string,
  roots: readonly string[],
  logKey: KeyObject,
): string[] {
  const head = readNote(note, logKey)
  const right = head.origin === origin && roots[head.size] === head.root
  return right ? [] : [`checkpoint ${head.size} (${head.root}) is of another history`]
}

/** What `sign` promised is in the log under that index, and was the same each time. */
function signedFaults(oracle: Oracle, log: readonly Receipt[]): string[] {
  const faults: string[] = []
  const promised = new Map<string, number>()
  for (const { result } of oracle.all('signed')) {
    const formats = result.signatures.map(({ format }) => format).sort()
    if (formats.join() !== 'bundle,legacy')
      faults.push(`${result.image}: signed as ${formats.join()}`)
    for (const { format, logIndex, entryId, integratedTime } of result.signatures) {
      const there = log[logIndex]
      if (there?.entryId !== entryId || there.integratedTime !== integratedTime) {
        faults.push(`${result.image}: its ${format} entry ${logIndex} is not in the log`)
      }
      const before = promised.get(`${result.image} ${format}`) ?? logIndex
      if (before !== logIndex)
        faults.push(`${result.image}: signed as ${before} and as ${logIndex}`)
      promised.set(`${result.image} ${format}`, logIndex)
    }
  }
  return faults
}

/**
 * Both formats are beside the image and hold, once each: half of it would be a half-pushed job. An image whose request came to nothing at
 * all may have none.
 */
async function imageFaults(
  service: MortalService,
  image: string,
  wanted: readonly string[],
): Promise<string[]> {
  const { json } = await call('http://localhost/v1/verify', {
    socketPath: service.socketPath,
    body: { images: [image] },
  })
  const [result] = (json as { results: VerifyResult[] }).results
  const held = (result?.evidence ?? []).filter(({ outcome }) => outcome === 'verified')
  const formats = held.map(({ format }) => format).sort()
  if (formats.join() === wanted.join()) return []
  return [
    `${image} has [${formats.join()}], wanted [${wanted.join()}] (${String(result?.reason)}: ${String(result?.message)})`,
  ]
}

interface VerifyResult {
  readonly reason: string | null
  readonly message: string
  readonly evidence: readonly { readonly outcome: string; readonly format: string }[]
}

/** By digest, the formats for which jobs were begun: those must be there. */
function begunFormats(data: string): ReadonlyMap<string, readonly string[]> {
  const formats = new Map<string, string[]>()
  for (const { digest, document } of allJobs(data)) {
    const { artifacts } = JSON.parse(document) as { artifacts: string[] }
    const named = artifacts.map((kind) => (kind === 'sig' ? 'legacy' : kind))
    formats.set(digest, [...(formats.get(digest) ?? []), ...named].sort())
  }
  return formats
}

interface StoredJob {
  readonly digest: string
  readonly document: string
  readonly state: string
}

/** Jobs as they are stored. */
export function allJobs(data: string): StoredJob[] {
  const db = new Database(join(data, 'airseal.db'), { readonly: true })
  try {
    return db.prepare<[], StoredJob>('SELECT digest, document, state FROM job').all()
  } finally {
    db.close()
  }
}

/** P4: a proposal without answer is in the log 0 or 1 times, and sending it again finds it or adds it, once. */
async function askAgain(
  oracle: Oracle,
  receipts: readonly Receipt[],
  bodies: ReadonlySet<string>,
  resend: (proposal: string) => Promise<{ status: number }>,
  faults: string[],
): Promise<Inquest['unanswered']> {
  const answered = signaturesIn(receipts.map(({ body }) => body))
  const logged = signaturesIn(bodies)
  const unanswered = { logged: 0, absent: 0 }
  for (const proposal of new Set(oracle.all('proposed').map(({ proposal }) => proposal))) {
    const signature = signatureOf(proposal)
    if (answered.has(signature)) continue
    const there = logged.has(signature)
    unanswered[there ? 'logged' : 'absent']++
    const { status } = await resend(proposal)
    const wanted = there ? 409 : 201
    if (status !== wanted) faults.push(`a proposal sent again gave ${status}, not ${wanted}`)
  }
  return unanswered
}

function signatureOf(proposal: string): string {
  const { spec } = JSON.parse(proposal) as { spec: { signature: { content: string } } }
  return spec.signature.content
}

/** Those of the hashedrekord entries among base64 bodies. */
function signaturesIn(bodies: Iterable<string>): ReadonlySet<string> {
  const texts = [...bodies].map((body) => Buffer.from(body, 'base64').toString())
  return new Set(texts.filter((text) => text.includes('"hashedrekord"')).map(signatureOf))
}

/** `airseal fsck` on a directory. @returns its faults */
export async function fsckFaults(data: string): Promise<string[]> {
  const { code, stderr } = await run(AIRSEAL, ['fsck', '--data', data])
  return code === 0 ? [] : [`fsck ended with ${String(code)}: ${stderr}`]
}
