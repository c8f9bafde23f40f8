import { createHash, verify } from 'node:crypto'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { toHex, utf8, type AirsealError } from '../../src/core/index.ts'
import { createDatabase, openLog, type LoggedEntry, type LogOptions } from '../../src/log/index.ts'
import {
  leafHash,
  parseCheckpoint,
  parseSignedNote,
  verifyInclusion,
} from '../../src/tlog/index.ts'
import { testSigner, type TestSigner } from './signer.ts'

/** 2026-11-24T00:00:00Z */
export const NOW = 1_795_478_400_000

export interface LogSite {
  readonly path: string
  readonly signer: TestSigner
  /** The clock, Unix ms; set it. */
  now: number
  readonly poisonings: AirsealError[]
  open(options?: Partial<LogOptions>): ReturnType<typeof openLog>
  /** Runs SQL on the closed file, append-only triggers removed first. */
  tamper(sql: string, ...values: unknown[]): void
}

/** A database with an empty tree in `directory`. */
export function logSite(directory: string, signer: TestSigner = testSigner()): LogSite {
  const path = join(directory, 'airseal.db')
  createDatabase(path, {
    hostname: 'log.example',
    logPublicKeySpki: signer.publicKey.spki,
    now: NOW,
  })
  const site: LogSite = {
    path,
    signer,
    now: NOW,
    poisonings: [],
    open: (options = {}) =>
      openLog({
        path,
        signer,
        clock: () => site.now,
        onPoisoned: (error) => site.poisonings.push(error),
        ...options,
      }),
    tamper(sql, ...values) {
      const db = new Database(path)
      const triggers = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .pluck()
        .all()
      for (const name of triggers) db.exec(`DROP TRIGGER ${String(name)}`)
      if (db.prepare(sql).run(...values).changes === 0) throw new Error('nothing was tampered with')
      db.close()
    },
  }
  return site
}

export const leaf = (text: string, ...searchKeys: string[]) => ({
  body: utf8(`{"leaf":"${text}"}`),
  searchKeys,
})

/** What is wrong with a receipt, by a reader of its own; null when everything holds. */
export function faultOf(entry: LoggedEntry, { publicKey }: TestSigner): string | null {
  const { index, treeSize, rootHash, hashes, checkpoint } = entry.proof
  const hash = leafHash(entry.body)
  if (!entry.entryId.endsWith(toHex(hash)) || entry.entryId.length !== 80) return 'entry id'
  if (!verifyInclusion({ index, treeSize, leafHash: hash, hashes, rootHash }))
    return 'inclusion proof'
  const { body, signatures } = parseSignedNote(checkpoint)
  const said = parseCheckpoint(body)
  if (said.size !== treeSize || toHex(said.rootHash) !== toHex(rootHash))
    return 'checkpoint of another tree'
  const treeId = BigInt(`0x${entry.entryId.slice(0, 16)}`)
  if (said.origin !== `log.example - ${treeId}` || signatures[0]?.name !== 'log.example')
    return 'origin'
  const hint = createHash('sha256').update(publicKey.spki).digest('hex')
  if (entry.logId !== hint || toHex(signatures[0].keyHint) !== hint.slice(0, 8)) return 'log id'
  if (!verify('sha256', utf8(body), publicKey.handle, signatures[0].signature))
    return 'checkpoint signature'
  const payload = JSON.stringify({
    body: Buffer.from(entry.body).toString('base64'),
    integratedTime: entry.integratedTime,
    logID: entry.logId,
    logIndex: entry.logIndex,
  })
  return verify('sha256', utf8(payload), publicKey.handle, entry.signedEntryTimestamp)
    ? null
    : 'timestamp'
}
